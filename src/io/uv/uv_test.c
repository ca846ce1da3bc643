/* What only the production implementation promises: descriptors, socket files, the
 * kernel's files, inherited listeners. What changes a whole process runs in a child. */
#include "base/test_cmocka.h"
#include "io/uv/uv.h"
#include "io/uv/uv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct process *make(int loops)
{
    struct io_uv_options options = {.loops = loops};
    struct process *process = NULL;
    struct diag diag = {0};
    result r = uv_process_new(&options, &process, &diag);
    assert_int_equal(r.code, ERR_NONE);
    return process;
}

static struct io_address address_of(const char *text)
{
    struct io_address address;
    result r = io_address_parse(span_cstr(text), &address, NULL);
    assert_int_equal(r.code, ERR_NONE);
    return address;
}

/* Runs `f` in a child; true if it returned true. */
static bool in_child(bool (*f)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(f() ? 0 : 1);
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- listeners --------------------------------------------------------------------- */

struct counting {
    struct process *process;
    struct listener *listener;
    int accepted, want, held[64];
    bool close, nodelay;
    struct io_timer end;
};

static void count_accept(void *arg, struct listener *listener, struct io_detached detached)
{
    struct counting *c = arg;
    int on = 0;
    socklen_t len = sizeof(on);
    getsockopt(iouv_detached_fd(detached), IPPROTO_TCP, TCP_NODELAY, &on, &len);
    c->nodelay = on != 0;
    if (c->close)
        detached_close(c->process, detached);
    else
        c->held[c->accepted % 64] = iouv_detached_fd(detached);
    if (++c->accepted == c->want)
        process_stop(c->process);
}

static void give_up(struct io_timer *timer)
{
    process_stop(CONTAINER_OF(timer, struct counting, end)->process);
}

static int connect_blocking(const struct io_address *address)
{
    static const int families[] = {[IO_INET] = AF_INET, [IO_INET6] = AF_INET6, [IO_UNIX] = AF_UNIX};
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(address, &to);
    int fd = socket(families[address->family], SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void run_counting(struct counting *c, int want)
{
    struct loop *loop = process_loop(c->process, 0);
    c->want = want;
    c->end.fired = give_up;
    timer_start(loop, &c->end, process_clock(c->process) + 10 * IO_SEC);
    process_run(c->process);
}

static void accepted_connections_do_not_wait_for_full_segments(void **state)
{
    struct counting c = {.process = make(1), .close = true};
    struct io_address address = address_of("127.0.0.1:0");
    result r = listener_open(process_loop(c.process, 0), &address, NULL, count_accept, &c,
                             &c.listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_address(c.listener, &address);
    int fd = connect_blocking(&address);
    assert_true(fd >= 0);
    run_counting(&c, 1);
    assert_int_equal(c.accepted, 1);
    assert_true(c.nodelay);
    close(fd);
    process_free(c.process);
}

static bool has_ipv6(void)
{
    struct io_address loopback = address_of("[::1]:0");
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(&loopback, &to);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool works = fd >= 0 && bind(fd, (struct sockaddr *)&to, len) == 0;
    if (fd >= 0)
        close(fd);
    return works;
}

static void a_port_without_a_host_answers_ipv4_and_ipv6(void **state)
{
    struct counting c = {.process = make(1), .close = true};
    struct io_address any = address_of(":0"), bound;
    result r =
        listener_open(process_loop(c.process, 0), &any, NULL, count_accept, &c, &c.listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_address(c.listener, &bound);
    struct io_address four = address_of("127.0.0.1:0"), six = address_of("[::1]:0");
    four.port = six.port = bound.port;
    int fd4 = connect_blocking(&four), fd6 = connect_blocking(&six);
    assert_true(fd4 >= 0);
    assert_true(fd6 >= 0 || !has_ipv6());
    run_counting(&c, fd6 >= 0 ? 2 : 1);
    assert_int_equal(c.accepted, fd6 >= 0 ? 2 : 1);
    close(fd4);
    if (fd6 >= 0)
        close(fd6);
    process_free(c.process);
}

static void a_literal_ipv6_address_is_not_reached_by_ipv4(void **state)
{
    if (!has_ipv6())
        skip();
    struct process *process = make(1);
    struct listener *listener;
    struct io_address address = address_of("[::1]:0");
    result r = listener_open(process_loop(process, 0), &address, NULL, NULL, NULL, &listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_address(listener, &address);
    assert_int_equal(address.ip[15], 1);
    struct io_address four = address_of("127.0.0.1:0");
    four.port = address.port;
    assert_int_equal(connect_blocking(&four), -1);
    process_free(process);
}

static void shards_share_an_address_only_if_all_ask_for_it(void **state)
{
    struct process *process = make(1);
    struct loop *loop = process_loop(process, 0);
    struct listener *listeners[3];
    struct listen_options shard = {.shard = true};
    struct io_address address = address_of("127.0.0.1:0");
    result r = listener_open(loop, &address, &shard, NULL, NULL, &listeners[0], NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_address(listeners[0], &address);
    r = listener_open(loop, &address, &shard, NULL, NULL, &listeners[1], NULL);
    assert_int_equal(r.code, ERR_NONE);
    r = listener_open(loop, &address, NULL, NULL, NULL, &listeners[2], NULL);
    assert_int_equal(r.code, ERR_ADDRESS_IN_USE);
    process_free(process);
}

/* Of this run: another one may be under way. */
static char socket_path[60], abstract_name[60];

static struct io_address socket_address(void)
{
    struct io_address address = {.family = IO_UNIX};
    snprintf(address.path, sizeof(address.path), "%s", socket_path);
    return address;
}

/* A socket file that nobody listens on any more. */
static void make_stale(void)
{
    struct io_address address = socket_address();
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(&address, &to);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(socket_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, len), 0);
    close(fd);
}

static void a_stale_socket_file_is_replaced_and_gets_its_mode(void **state)
{
    struct process *process = make(1);
    struct listener *listener;
    struct io_address address = socket_address();
    unsigned modes[] = {0, 0666};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct listen_options options = {.unix_mode = modes[i]};
        struct stat info;
        make_stale();
        result r = listener_open(process_loop(process, 0), &address, &options, NULL, NULL,
                                 &listener, NULL);
        assert_int_equal(r.code, ERR_NONE);
        assert_int_equal(stat(socket_path, &info), 0);
        assert_int_equal(info.st_mode & 0777, modes[i] ? modes[i] : 0600);
        int fd = connect_blocking(&address);
        assert_true(fd >= 0);
        close(fd);
        listener_close(listener);
        assert_int_equal(access(socket_path, F_OK), -1);
    }
    process_free(process);
}

static void what_is_no_socket_is_not_replaced(void **state)
{
    struct process *process = make(1);
    struct listener *listener;
    struct io_address address = socket_address();
    unlink(socket_path);
    close(open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    result r = listener_open(process_loop(process, 0), &address, NULL, NULL, NULL, &listener, NULL);
    assert_int_equal(r.code, ERR_ADDRESS_IN_USE);
    assert_int_equal(access(socket_path, F_OK), 0);
    unlink(socket_path);
    process_free(process);
}

static void a_path_that_another_has_taken_over_is_left_to_him(void **state)
{
    struct process *process = make(1);
    struct listener *listener;
    struct io_address address = socket_address();
    unlink(socket_path);
    result r = listener_open(process_loop(process, 0), &address, NULL, NULL, NULL, &listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    make_stale(); /* another one's, at the same path */
    listener_close(listener);
    assert_int_equal(access(socket_path, F_OK), 0);
    unlink(socket_path);
    process_free(process);
}

static bool drops_and_goes_on(void)
{
    struct counting c = {.process = make(1)};
    struct loop *loop = process_loop(c.process, 0);
    struct io_address address = address_of("127.0.0.1:0");
    result r = listener_open(loop, &address, NULL, count_accept, &c, &c.listener, NULL);
    ASSERT(is(r, ERR_NONE));
    listener_address(c.listener, &address);
    int callers[10];
    for (size_t i = 0; i < ARRAY_LEN(callers); i++)
        callers[i] = connect_blocking(&address);
    /* Room for four more descriptors. */
    int next = dup(0);
    close(next);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)next + 4;
    setrlimit(RLIMIT_NOFILE, &limit);
    c.end.fired = give_up;
    timer_start(loop, &c.end, process_clock(c.process) + 300 * IO_MS);
    process_run(c.process);
    char byte;
    bool first_open = recv(callers[0], &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
    bool last_closed = recv(callers[9], &byte, 1, 0) == 0;
    bool good = c.accepted == 4 && listener_dropped(c.listener) == 6 && first_open && last_closed;
    for (int i = 0; i < c.accepted; i++)
        close(c.held[i]);
    int late = connect_blocking(&address); /* the listening socket is as it was */
    good = good && late >= 0;
    process_free(c.process);
    return good;
}

static void when_descriptors_run_out_callers_are_closed_and_accepting_goes_on(void **state)
{
    assert_true(in_child(drops_and_goes_on));
}

static int listening_socket(void)
{
    struct io_address address = address_of("127.0.0.1:0");
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(&address, &to);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT(bind(fd, (struct sockaddr *)&to, len) == 0 && listen(fd, 10) == 0);
    return fd;
}

static void set_listen_env(int pid)
{
    char text[20];
    snprintf(text, sizeof(text), "%d", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "grpc:rest:file", 1);
}

static bool takes_inherited(void)
{
    int a = fcntl(listening_socket(), F_DUPFD, 20), b = fcntl(listening_socket(), F_DUPFD, 20);
    int plain = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 20);
    dup2(a, 3);
    dup2(b, 4);
    dup2(plain, 5);
    struct sockaddr_in bound = {0};
    socklen_t len = sizeof(bound);
    getsockname(b, (struct sockaddr *)&bound, &len);
    close(a), close(b), close(plain);
    set_listen_env((int)getpid());
    struct counting c = {.process = make(1), .close = true};
    bool good = !getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES");
    good = good && (fcntl(4, F_GETFD) & FD_CLOEXEC) && (fcntl(4, F_GETFL) & O_NONBLOCK);
    struct io_address other = address_of("127.0.0.1:0"), address;
    struct listen_options named = {.name = "rest"};
    struct loop *loop = process_loop(c.process, 0);
    result r = listener_open(loop, &other, &named, count_accept, &c, &c.listener, NULL);
    if (failed(r))
        return false;
    listener_address(c.listener, &address);
    good = good && address.port == ntohs(bound.sin_port);
    /* The name is used up; one that is not known, or is no listener, is bound. */
    const char *names[] = {"rest", "none", "file"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct listener *listener;
        struct listen_options again = {.name = names[i]};
        r = listener_open(loop, &other, &again, NULL, NULL, &listener, NULL);
        struct io_address fresh;
        if (failed(r))
            return false;
        listener_address(listener, &fresh);
        good = good && fresh.port != address.port;
    }
    int fd = connect_blocking(&address);
    run_counting(&c, 1);
    good = good && fd >= 0 && c.accepted == 1;
    process_free(c.process);
    return good;
}

static void a_listener_is_inherited_by_its_name(void **state)
{
    assert_true(in_child(takes_inherited));
}

static bool ignores_anothers(void)
{
    dup2(fcntl(listening_socket(), F_DUPFD, 20), 3);
    set_listen_env((int)getpid() + 1);
    struct process *process = make(1);
    bool good = iouv_process(process)->inherited_count == 0 && !getenv("LISTEN_FDS");
    process_free(process);
    return good && fcntl(3, F_GETFD) == 0;
}

static void listeners_meant_for_another_process_are_left_alone(void **state)
{
    assert_true(in_child(ignores_anothers));
}

/* ---- threads and loops -------------------------------------------------------------- */

struct looked {
    struct io_work work;
    struct process *process;
    char name[16];
    bool blocked;
};

static void look(struct io_work *work)
{
    struct looked *l = CONTAINER_OF(work, struct looked, work);
    sigset_t set;
    pthread_getname_np(pthread_self(), l->name, sizeof(l->name));
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    l->blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGHUP);
    process_stop(l->process);
}

static void workers_have_names_and_take_no_signals(void **state)
{
    static const char *const names[] = {"weir-cpu0", "weir-file0", "weir-log0"};
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        struct io_uv_options options = {.loops = 1, .compute_threads = 1, .file_threads = 1};
        struct looked l = {.work.run = look};
        result r = uv_process_new(&options, &l.process, NULL);
        assert_int_equal(r.code, ERR_NONE);
        work_submit(l.process, (enum io_work_kind)kind, &l.work);
        process_run(l.process);
        assert_string_equal(l.name, names[kind]);
        assert_true(l.blocked);
        process_free(l.process);
    }
}

static bool grows(void)
{
    struct io_uv_options options = {.loops = 2, .connections_max = 900};
    struct process *process = NULL;
    result r = uv_process_new(&options, &process, NULL);
    bool good = is(r, ERR_NONE);
    for (int i = 0; i < 2 && good; i++)
        good = iouv_loop(process_loop(process, i))->uv.nwatchers >= 900;
    struct process_usage usage;
    process_usage(process, &usage);
    good = good && usage.descriptors_max >= 900;
    process_free(process);
    return good;
}

static void the_table_of_descriptors_is_grown_at_the_start(void **state)
{
    assert_true(in_child(grows));
}

/* ---- datagrams and files -------------------------------------------------------------- */

static void a_datagram_reaches_a_socket_by_path_or_abstract_name(void **state)
{
    const char *const paths[] = {socket_path, abstract_name};
    struct process *process = make(1);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct io_address address = {.family = IO_UNIX};
        struct sockaddr_storage to;
        char got[20];
        snprintf(address.path, sizeof(address.path), "%s", paths[i]);
        socklen_t len = iouv_sockaddr_of(&address, &to);
        unlink(socket_path);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&to, len), 0);
        assert_int_equal(process_datagram(process, paths[i], SPAN("READY=1")).code, ERR_NONE);
        assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 7);
        assert_memory_equal(got, "READY=1", 7);
        close(fd);
        unlink(socket_path);
    }
    assert_int_equal(process_datagram(process, socket_path, SPAN("x")).code, ERR_NOT_FOUND);
    assert_int_equal(process_datagram(process, "", SPAN("x")).code, ERR_ARGUMENT);
    process_free(process);
}

static void files_of_the_kernel_are_read_whatever_size_they_tell(void **state)
{
    struct process *process = make(1);
    struct file_info info;
    struct text text;
    assert_int_equal(file_stat(process, "/proc/self/status", &info, NULL).code, ERR_NONE);
    assert_int_equal(info.size, 0);
    text_init(&text, 1 << 20);
    assert_int_equal(file_read(process, "/proc/self/status", &text, NULL).code, ERR_NONE);
    assert_non_null(strstr(text_cstr(&text), "\nPid:\t"));
    text_release(&text);
    text_init(&text, 10);
    assert_int_equal(file_read(process, "/proc/self/status", &text, NULL).code, ERR_TOO_LARGE);
    assert_int_equal(text.len, 0);
    assert_int_equal(file_read(process, "/dev/zero", &text, NULL).code, ERR_TOO_LARGE);
    assert_int_equal(file_read(process, "/tmp", &text, NULL).code, ERR_IO);
    assert_int_equal(file_stat(process, "/dev/zero", &info, NULL).code, ERR_NONE);
    assert_int_equal(info.kind, FILE_OTHER);
    text_release(&text);
    process_free(process);
}

static void *drain(void *arg)
{
    int fd = *(int *)arg;
    static char buffer[4096];
    size_t total = 0;
    ssize_t n;
    usleep(20000);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        total += (size_t)n;
    return (void *)total;
}

static void appending_waits_for_a_slow_pipe(void **state)
{
    static uint8_t block[300000];
    int ends[2];
    char path[40];
    struct file *file;
    pthread_t reader;
    void *total;
    struct process *process = make(1);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    fcntl(ends[0], F_SETFL, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
    assert_int_equal(file_append_open(process, path, &file, NULL).code, ERR_NONE);
    fcntl(((struct iouv_file *)file)->fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    assert_int_equal(file_append(file, span_of(block, sizeof(block))).code, ERR_NONE);
    file_close(file);
    close(ends[1]);
    pthread_join(reader, &total);
    assert_int_equal((size_t)total, sizeof(block));
    close(ends[0]);
    process_free(process);
}

int main(void)
{
    snprintf(socket_path, sizeof(socket_path), "/tmp/weir-io-uv-%d.sock", (int)getpid());
    snprintf(abstract_name, sizeof(abstract_name), "@weir-io-uv-%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_connections_do_not_wait_for_full_segments),
        cmocka_unit_test(a_port_without_a_host_answers_ipv4_and_ipv6),
        cmocka_unit_test(a_literal_ipv6_address_is_not_reached_by_ipv4),
        cmocka_unit_test(shards_share_an_address_only_if_all_ask_for_it),
        cmocka_unit_test(a_stale_socket_file_is_replaced_and_gets_its_mode),
        cmocka_unit_test(what_is_no_socket_is_not_replaced),
        cmocka_unit_test(a_path_that_another_has_taken_over_is_left_to_him),
        cmocka_unit_test(when_descriptors_run_out_callers_are_closed_and_accepting_goes_on),
        cmocka_unit_test(a_listener_is_inherited_by_its_name),
        cmocka_unit_test(listeners_meant_for_another_process_are_left_alone),
        cmocka_unit_test(workers_have_names_and_take_no_signals),
        cmocka_unit_test(the_table_of_descriptors_is_grown_at_the_start),
        cmocka_unit_test(a_datagram_reaches_a_socket_by_path_or_abstract_name),
        cmocka_unit_test(files_of_the_kernel_are_read_whatever_size_they_tell),
        cmocka_unit_test(appending_waits_for_a_slow_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
