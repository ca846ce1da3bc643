"""Calls and words that are banned, and results that are dropped."""

import re

from .tree import is_test, line_of

EVERYWHERE = ()
OUTSIDE_ALLOC = ("src/base/alloc.c",)
OUTSIDE_IO = ("src/io/",)
# What a program prints goes through the log; the commands, the boot before there
# is a log, and what ends the process are the exceptions.
OUTSIDE_PRINTERS = ("src/io/", "src/cmd/", "src/run/", "src/base/alloc.c", "src/base/result.c")

# names, folders where they are allowed, whether tests and backends may, what to do instead
BANNED = [
    (
        "strcpy stpcpy strcat strncpy strncat sprintf vsprintf gets strtok",
        EVERYWHERE,
        False,
        "it knows no limit; use struct text (base/text.h), snprintf or memcpy with a checked length",
    ),
    (
        "atoi atol atoll atof",
        EVERYWHERE,
        False,
        "it hides errors; use base/number.h, in tests strtol",
    ),
    (
        "strtol strtoul strtoll strtoull strtod strtof sscanf",
        ("src/base/number",),
        True,
        "its errors and its locale are easily missed; use base/number.h",
    ),
    ("alloca", EVERYWHERE, False, "the stack has no error; use the arena"),
    ("setjmp longjmp sigsetjmp siglongjmp", EVERYWHERE, False, "clean-up would be skipped; return a result"),
    (
        "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf"
        " posix_memalign aligned_alloc memalign",
        OUTSIDE_ALLOC,
        True,
        "use the arena, a pool, a slab, or mem_alloc and mem_free (base/alloc.h)",
    ),
    (
        "socket bind listen accept accept4 connect send sendto sendmsg recv recvfrom recvmsg"
        " setsockopt getsockopt getaddrinfo getnameinfo gethostbyname shutdown epoll_create1"
        " epoll_wait epoll_ctl poll select eventfd timerfd_create",
        OUTSIDE_IO,
        True,
        "sockets are io's; use stream_ and listener_ (io/io.h)",
    ),
    (
        "open openat creat fopen freopen fdopen fclose fread fgets fseek opendir readdir closedir"
        " stat fstat lstat access unlink remove rename mkdir rmdir read write pread pwrite readv"
        " writev close lseek fsync fdatasync ftruncate mmap munmap ioctl fcntl dup dup2 pipe pipe2"
        " realpath getcwd chdir flock mkstemp tmpfile",
        OUTSIDE_IO,
        True,
        "files are io's; use file_ (io/io.h)",
    ),
    (
        "printf vprintf puts putchar fprintf vfprintf fputs fputc fwrite perror fflush",
        OUTSIDE_PRINTERS,
        True,
        "libraries return errors and print nothing; roles log (obs/log.h), commands print",
    ),
    (
        "time clock clock_gettime gettimeofday nanosleep clock_nanosleep usleep sleep localtime"
        " localtime_r mktime ftime",
        OUTSIDE_IO,
        True,
        "the clock is io's; use loop_now, process_clock or process_wall (io/io.h)",
    ),
    (
        "rand srand rand_r random srandom drand48 lrand48 getrandom getentropy arc4random",
        OUTSIDE_IO,
        True,
        "randomness is io's, so that a run can be replayed; use process_random (io/io.h)",
    ),
    (
        "fork vfork execv execve execvp execl execlp posix_spawn posix_spawnp system popen waitpid"
        " wait4 kill signal sigaction raise sigprocmask prctl",
        OUTSIDE_IO,
        True,
        "processes and signals are io's; use io/io.h",
    ),
    (
        "getenv secure_getenv setenv putenv unsetenv sysconf getpid sched_getaffinity getrlimit setrlimit",
        (*OUTSIDE_IO, "src/cmd/"),
        True,
        "the environment is io's; use process_env and its like (io/io.h)",
    ),
    ("exit _exit quick_exit atexit", ("src/io/", "src/cmd/"), True, "only main ends the process; return a result"),
]

# Patterns rather than names.
BANNED_PATTERNS = [
    (r"\bpthread_\w+|\bthrd_\w+|\bmtx_\w+|\bcnd_\w+|\bsem_(?:init|wait|post)\b", OUTSIDE_IO, True,
     "threads are io's; use io_work, io_lock or loop_post (io/io.h)"),
    (r"\b(?:_Thread_local|__thread|thread_local)\b", OUTSIDE_IO, False,
     "no thread-locals above io; hang it from struct loop's own part of the module"),
]  # fmt: skip

# C11 atomics: io, obs, the run slots, and three files of base.
ATOMIC_PLACES = ("src/io/", "src/obs/", "src/model/slots.", "src/base/ring.", "src/base/ref.", "src/base/quota.")
ATOMICS = re.compile(
    r"\b_Atomic\b|\batomic_\w+|\b__atomic_\w+|\b__sync_\w+|\bmemory_order_\w+|<stdatomic\.h>"
)


def call_pattern(names):
    # A call: not a member (`ops->open(`), not a part of a longer name.
    return re.compile(r"(?<![\w.])(?<!->)(" + "|".join(names.split()) + r")\s*\(")


CALLS = [(call_pattern(names), *rest) for names, *rest in BANNED] + [
    (re.compile(pattern), *rest) for pattern, *rest in BANNED_PATTERNS
]


def exempt(path, places, tests_may):
    if path.startswith(places or ("\0",)):
        return True
    return tests_may and (is_test(path) or path.startswith(("backends/", "examples/")))


def calls(tree):
    """Banned calls: unbounded strings, raw malloc, and the outside world outside src/io."""
    for path in tree.c_files:
        code = tree.code(path)
        for pattern, places, tests_may, instead in CALLS:
            if exempt(path, places, tests_may):
                continue
            for found in pattern.finditer(code):
                name = found[found.lastindex or 0]
                # `name(` after a type name declares or defines one of our own.
                line = line_of(code, found.start())
                if not tree.exceptions.allow("calls", f"{path}:{name}"):
                    yield path, line, f"{name} is banned here; {instead}"


def atomics(tree):
    """C11 atomics stay in io, obs, the run slots and base's ring, ref and quota."""
    for path in tree.c_files:
        if path.startswith(ATOMIC_PLACES) or is_test(path) or path.startswith("backends/"):
            continue
        code = tree.code(path)
        found = list(ATOMICS.finditer(code))
        if found and not tree.exceptions.allow("atomics", path):
            words = ", ".join(sorted({f[0] for f in found})[:3])
            yield path, line_of(code, found[0].start()), (
                f"{words}: atomics stay in io, obs, model/slots and base's ring, ref and quota;"
                " count or share through these"
            )


# A declaration or definition: what stands before the type tells whether it is the file's own.
RETURNS_RESULT = re.compile(r"(static\s+(?:inline\s+)?)?(?<![\w*])result\s+(\w+)\s*\(")
STATIC_OTHER = re.compile(r"^static\s+(?!(?:inline\s+)?result\b)[\w\s*]*?\b(\w+)\s*\(", re.MULTILINE)


def results(tree):
    """No result is dropped: not by a bare call, not by (void), not by an ignore without its reason."""
    everywhere, own = {"result_of_nothing"}, {}
    for path in tree.c_files:
        for static, name in RETURNS_RESULT.findall(tree.code(path)):
            if static and path.endswith(".c"):
                own.setdefault(path, set()).add(name)
            else:
                everywhere.add(name)
    everywhere.discard("ignore")
    instead = "test it, pass it on with TRY, or ignore(...) it and say why beside it"
    for path in tree.c_files:
        code = tree.code(path)
        names = (everywhere - set(STATIC_OTHER.findall(code))) | own.get(path, set())
        some = "|".join(sorted(names))
        for found in re.finditer(r"\(\s*void\s*\)\s*(" + some + r")\s*\(", code):
            yield path, line_of(code, found.start()), f"the result of {found[1]} is cast away; {instead}"
        for found in re.finditer(r"(?:[;{}]|\belse\b|\bdo\b)\s*(" + some + r")\s*\(", code):
            if ends_statement(code, found.start(1)):
                line = line_of(code, found.start(1))
                yield path, line, f"the result of {found[1]} is not looked at; {instead}"
        if path.startswith("src/base/result.") or is_test(path):
            continue
        lines = tree.text(path).splitlines()
        for number, line in enumerate(code.splitlines(), 1):
            # diag_fail only gives back the code that it was given.
            dropped = re.search(r"(?<![\w.>])ignore\s*\((?!\s*diag_fail)", line)
            if dropped and not has_comment(lines, code.splitlines(), number):
                yield path, number, "ignore(...) without its reason; write a comment beside it"


def ends_statement(code, start):
    """Whether the call that begins at `start` is a whole statement: `name(...);`."""
    depth = 0
    for at in range(code.index("(", start), len(code)):
        if code[at] == "(":
            depth += 1
        elif code[at] == ")":
            depth -= 1
            if depth == 0:
                return code[at + 1 :].lstrip().startswith(";")
    return False


def has_comment(lines, bare, number):
    """A comment on the line itself, or above it with no other statement between."""
    for at in range(number - 1, max(number - 9, -1), -1):
        code = bare[at].rstrip()
        if lines[at].rstrip() != code and re.search(r"/[*/]|\*/", lines[at]):
            return True
        if at < number - 1 and code.endswith((";", "}")) and "ignore" not in code:
            return False
    return False
