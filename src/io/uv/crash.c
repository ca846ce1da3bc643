/* The last words of a process: see process_crash_report in io.h.
 *
 * All of it runs inside a signal handler, on a stack of its own, in a process whose memory
 * may be broken. So it allocates nothing, takes no lock, formats by hand, and every part
 * is a stage of its own: a fault in one of them comes back into the handler, which goes on
 * with the next stage. Only the first thread that crashes reports; others wait for the end.
 *
 * A stack is walked by `backtrace`, which loads its unwinder at its first call; that call
 * is made here at the installation. Addresses are told as file+offset by `_dl_find_object`,
 * which may be asked in a signal handler (glibc 2.35), so that
 * `addr2line -fipe FILE OFFSET` names the line.
 */
#include "io/uv/uv_private.h"

#include "base/alloc.h"

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* which reports crashes itself */
#else
#define SANITIZED 0
#endif

/* Enough for the registers that a signal saves (with AVX-512 some 3.5 kB) and for the
 * unwinder. */
#define ALTERNATE_STACK ((size_t)64 << 10)
#define FRAMES_MAX 64
#define PATH_BYTES 512
#define BUILD_ID_BYTES 32

struct crash_signal {
    int number;
    const char *name;
};

static const struct crash_signal crash_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"},   {SIGFPE, "SIGFPE"},
    {SIGABRT, "SIGABRT"}, {SIGSYS, "SIGSYS"}, {SIGTRAP, "SIGTRAP"},
};

enum stage { STAGE_HEAD, STAGE_REGISTERS, STAGE_STACK, STAGE_TAIL, STAGE_END };

/* One a process, as signal handlers are. Written at boot, but for `reporter`, `stage` and
 * what belongs to the one report. */
static struct {
    struct crash_report report;
    char program[64], folder[PATH_BYTES - 64];
    uint8_t build_id[BUILD_ID_BYTES];
    size_t build_id_len;
    atomic_int reporter; /* thread id; 0: none yet */
    volatile sig_atomic_t stage;
    int outputs[2]; /* standard error and the file; -1: none */
    size_t used;
    char buffer[1024];
} crash;

/* ---- output --------------------------------------------------------------------- */

static void flush(void)
{
    for (size_t i = 0; i < ARRAY_LEN(crash.outputs); i++) {
        size_t sent = 0;
        while (crash.outputs[i] >= 0 && sent < crash.used) {
            ssize_t n = write(crash.outputs[i], crash.buffer + sent, crash.used - sent);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
    }
    crash.used = 0;
}

static void put_bytes(struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (crash.used == sizeof(crash.buffer))
            flush();
        crash.buffer[crash.used++] = (char)bytes.ptr[i];
    }
}

static void put(const char *text)
{
    put_bytes(span_cstr(text));
}

static void put_number(uint64_t value, unsigned base, int digits_min)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0 || n < digits_min);
    while (n > 0)
        put_bytes(span_of(&digits[--n], 1));
}

static void put_hex(uint64_t value, int digits_min)
{
    put("0x");
    put_number(value, 16, digits_min);
}

static void put_decimal(uint64_t value)
{
    put_number(value, 10, 1);
}

/* RFC 3339, to the second. By arithmetic: gmtime_r may take a lock. Days to a date after
 * H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. */
static void put_time(time_t seconds)
{
    int64_t days = seconds / 86400 + 719468;
    uint64_t of_era = (uint64_t)(days % 146097);
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153, second = (uint64_t)(seconds % 86400);
    year += 400 * (uint64_t)(days / 146097) + (month >= 10);
    const uint64_t parts[] = {month < 10 ? month + 3 : month - 9,
                              of_year - (153 * month + 2) / 5 + 1, second / 3600, second / 60 % 60,
                              second % 60};
    put_number(year, 10, 4);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        put_bytes(span_of(&"--T::"[i], 1));
        put_number(parts[i], 10, 2);
    }
    put("Z");
}

/* ---- stages --------------------------------------------------------------------- */

/* A second file beside standard error, when there is a folder for it. */
static void open_file(time_t now)
{
    crash.outputs[0] = STDERR_FILENO;
    crash.outputs[1] = -1;
    if (!crash.folder[0])
        return;
    put(crash.folder);
    put("/weir-crash-");
    put_decimal((uint64_t)now);
    put("-");
    put_decimal((uint64_t)getpid());
    put(".txt");
    crash.buffer[crash.used] = '\0'; /* the buffer is longer than any path here */
    crash.outputs[1] = open(crash.buffer, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    crash.used = 0;
}

static const char *signal_name(int number)
{
    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++)
        if (crash_signals[i].number == number)
            return crash_signals[i].name;
    return "a signal";
}

static void put_head(int number, const siginfo_t *info)
{
    struct timespec now = {0};
    char thread[16] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    open_file(now.tv_sec);
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    put("\n");
    put(crash.program);
    put(" crashed: ");
    put(signal_name(number));
    const char *assertion = weir_assert_text();
    if (number == SIGABRT && assertion) {
        put(", assertion failed: ");
        put(assertion);
    } else if (info->si_code <= 0) { /* sigaction(2): no fault, somebody sent it */
        put(info->si_pid == getpid() ? ", sent by itself, process " : ", sent by process ");
        put_decimal((uint64_t)info->si_pid);
    } else {
        put(" at address ");
        put_hex((uintptr_t)info->si_addr, 1);
    }
    put("\ntime      ");
    put_time(now.tv_sec);
    put("\nprocess   ");
    put_decimal((uint64_t)getpid());
    put(", thread ");
    put(thread);
    put("\nbuild id  ");
    for (size_t i = 0; i < crash.build_id_len; i++)
        put_number(crash.build_id[i], 16, 2);
    put("\n");
    flush();
}

static void put_registers(const ucontext_t *context)
{
#if defined(__x86_64__)
    static const struct {
        const char *name;
        int index;
    } registers[] = {
        {"rip", REG_RIP}, {"rsp", REG_RSP}, {"rbp", REG_RBP}, {"rax", REG_RAX}, {"rbx", REG_RBX},
        {"rcx", REG_RCX}, {"rdx", REG_RDX}, {"rsi", REG_RSI}, {"rdi", REG_RDI}, {"r8 ", REG_R8},
        {"r9 ", REG_R9},  {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12}, {"r13", REG_R13},
        {"r14", REG_R14}, {"r15", REG_R15}, {"efl", REG_EFL},
    };
    for (size_t i = 0; i < ARRAY_LEN(registers); i++) {
        put(i % 3 == 0 ? "\n  " : "  ");
        put(registers[i].name);
        put(" ");
        put_hex((uint64_t)context->uc_mcontext.gregs[registers[i].index], 16);
    }
#elif defined(__aarch64__)
    put("\n  pc ");
    put_hex(context->uc_mcontext.pc, 16);
    put("  sp ");
    put_hex(context->uc_mcontext.sp, 16);
    for (unsigned i = 0; i < 31; i++) {
        put(i % 3 == 0 ? "\n  x" : "  x");
        put_number(i, 10, 2);
        put(" ");
        put_hex(context->uc_mcontext.regs[i], 16);
    }
#endif
    put("\n");
    flush();
}

static void put_frame(int number, void *address)
{
    struct dl_find_object object;
    put("\n  #");
    put_decimal((uint64_t)number);
    put(number < 10 ? "   " : "  ");
    if (_dl_find_object(address, &object) == 0) {
        const char *file = object.dlfo_link_map->l_name;
        put(file && *file ? file : "weir");
        put("+");
        put_hex((uintptr_t)address - object.dlfo_link_map->l_addr, 1);
    } else {
        put_hex((uintptr_t)address, 1);
    }
}

/* Where the signal came. The frames before it are this handler's. */
static void *interrupted_at(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)context->uc_mcontext.pc;
#else
    return NULL;
#endif
}

static void put_stack(const ucontext_t *context)
{
    void *frames[FRAMES_MAX], *here = interrupted_at(context);
    int n = backtrace(frames, FRAMES_MAX), first = 0;
    while (first < n && frames[first] != here)
        first++;
    if (first == n)
        first = 0;
    put("\nstack, innermost first (addr2line -fipe FILE OFFSET):");
    /* The others are where a call returns to, which may be behind its function's end. */
    for (int i = first; i < n; i++)
        put_frame(i - first, frames[i] == here ? here : (char *)frames[i] - 1);
    put("\n");
    flush();
}

static void put_tail(void)
{
    if (!crash.report.tail)
        return;
    put("\nlast log lines:\n");
    crash.report.tail(crash.report.arg, put_bytes);
    flush();
}

static void put_end(void)
{
    put("\nend of the crash report\n");
    flush();
}

/* ---- the handler ---------------------------------------------------------------- */

/* The kernel's default does the rest: it ends the process, with a core where one is wanted. */
NORETURN static void die(int number)
{
    signal(number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

static void crashed(int number, siginfo_t *info, void *context)
{
    int self = (int)syscall(SYS_gettid), nobody = 0;
    /* Relaxed: a number alone, and only its owner goes on. */
    if (!atomic_compare_exchange_strong_explicit(&crash.reporter, &nobody, self,
                                                 memory_order_relaxed, memory_order_relaxed) &&
        nobody != self) {
        for (;;)
            pause();
    }
    while (crash.stage <= STAGE_END) {
        switch ((enum stage)crash.stage++) {
        case STAGE_HEAD:
            put_head(number, info);
            break;
        case STAGE_REGISTERS:
            put_registers(context);
            break;
        case STAGE_STACK:
            put_stack(context);
            break;
        case STAGE_TAIL:
            put_tail();
            break;
        case STAGE_END:
            put_end();
            break;
        }
    }
    die(number);
}

/* ---- installation --------------------------------------------------------------- */

/* The program itself is the first object (dl_iterate_phdr(3)). */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        const uint8_t *at = (const uint8_t *)(info->dlpi_addr + header->p_vaddr);
        const uint8_t *end = at + header->p_memsz;
        while (header->p_type == PT_NOTE && (size_t)(end - at) > sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof(note));
            const uint8_t *value = at + sizeof(note) + (note.n_namesz + 3u) / 4 * 4;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= BUILD_ID_BYTES) {
                memcpy(crash.build_id, value, note.n_descsz);
                crash.build_id_len = note.n_descsz;
                return 1;
            }
            at = value + (note.n_descsz + 3u) / 4 * 4;
        }
    }
    return 1;
}

void *iouv_crash_stack(void)
{
    if (SANITIZED)
        return NULL;
    stack_t stack = {.ss_sp = mem_alloc(ALTERNATE_STACK), .ss_size = ALTERNATE_STACK};
    if (!stack.ss_sp)
        return NULL; /* then a crash of this thread is told on the stack it has */
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++)
        sigaddset(&set, crash_signals[i].number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    sigaltstack(&stack, NULL);
    return stack.ss_sp;
}

void iouv_crash_stack_end(void *stack)
{
    if (!stack)
        return;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    mem_free(stack);
}

void iouv_crash_report(struct process *base, const struct crash_report *report)
{
    struct iouv_process *process = iouv_process(base);
    if (SANITIZED)
        return;
    struct sigaction action = {.sa_sigaction = crashed,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    void *unused[1];
    if (report) {
        crash.report = *report;
        snprintf(crash.program, sizeof(crash.program), "%s", report->program);
        snprintf(crash.folder, sizeof(crash.folder), "%s", report->folder ? report->folder : "");
        dl_iterate_phdr(find_build_id, NULL);
        (void)backtrace(unused, 1);
        if (!process->crash_stack)
            process->crash_stack = iouv_crash_stack();
    } else {
        action = (struct sigaction){.sa_handler = SIG_DFL};
    }
    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++)
        sigaction(crash_signals[i].number, &action, NULL);
}
