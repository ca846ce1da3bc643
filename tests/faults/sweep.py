#!/usr/bin/env python3
"""Each system call and each allocation of the real program fails in turn.

    tests/faults/sweep.py [SCENARIO...]     every point; prints a table

preload.c counts what the program calls and fails one of them. A scenario is first run
without a fault, which tells how often each call is made; then each of these calls fails,
with each error that the kernel could give for it. Afterwards: whatever was answered is
right, or an error, or the connection has ended; the next request is answered right, the
counters and the number of descriptors are what they were, and the program ends well.
"""

import contextlib
import errno
import re
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from program import CALLS, KINDS, OWNERS, SHORT, Program, Wrong, slot_key
from scenarios import SCENARIOS, Drain, FirstTls, Start

# ---- what may fail, and how ----

DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# By (owner, call, kind), "*" for any. The first that fits holds.
FAULTS = [
    (("*", "memory", "*"), (errno.ENOMEM,)),
    (
        ("libuv", "read", "socket"),
        (errno.EINTR, errno.EAGAIN, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOMEM, SHORT),
    ),
    # Its own pipes and eventfds, which are never empty, full or broken when it uses them; it
    # aborts at the rest (src/unix/async.c:146,198, src/unix/signal.c:104 to 161, 448).
    (("libuv", "read", "other"), (errno.EINTR,)),
    (("weir", "read", "*"), (errno.EINTR, errno.EIO, SHORT)),
    (
        ("libuv", "write", "socket"),
        (errno.EINTR, errno.EAGAIN, errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS, SHORT),
    ),
    (
        ("libuv", "writev", "socket"),
        (errno.EINTR, errno.EAGAIN, errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS, SHORT),
    ),
    (("libuv", "write", "other"), (errno.EINTR,)),
    (
        ("weir", "write", "other"),
        (errno.EINTR, errno.EAGAIN, errno.ENOSPC, errno.EIO, errno.EPIPE, SHORT),
    ),
    (("weir", "sendto", "*"), (errno.EINTR, errno.EAGAIN, errno.ECONNREFUSED, errno.ENOBUFS)),
    (
        ("weir", "accept4", "*"),
        (errno.EINTR, errno.EAGAIN, errno.ECONNABORTED, errno.EPERM, errno.ENOBUFS, errno.ENOMEM)
        + DESCRIPTORS,
    ),
    (("weir", "socket", "*"), (errno.ENOBUFS, errno.EAFNOSUPPORT, *DESCRIPTORS)),
    (("weir", "bind", "*"), (errno.EADDRINUSE, errno.EACCES, errno.ENOMEM)),
    (("weir", "listen", "*"), (errno.EADDRINUSE,)),
    (("*", "setsockopt", "*"), (errno.ENOBUFS, errno.ENOPROTOOPT)),
    (("*", "getsockopt", "*"), (errno.ENOBUFS,)),
    (("*", "getsockname", "*"), (errno.ENOBUFS,)),
    (("*", "getpeername", "*"), (errno.ENOBUFS, errno.ENOTCONN)),
    (("*", "shutdown", "*"), (errno.ENOTCONN,)),
    (("weir", "epoll_ctl", "*"), (errno.ENOMEM, errno.ENOSPC)),
    (("libuv", "epoll_wait", "*"), (errno.EINTR,)),
    (("libuv", "epoll_pwait", "*"), (errno.EINTR,)),
    (("libuv", "epoll_create1", "*"), (errno.ENOMEM, *DESCRIPTORS)),
    (("*", "eventfd", "*"), (errno.ENOMEM, *DESCRIPTORS)),
    (("*", "pipe2", "*"), DESCRIPTORS),
    (("weir", "poll", "*"), (errno.EINTR, errno.ENOMEM)),
    (("libuv", "ioctl", "*"), (errno.EINTR, errno.EIO)),
    (("*", "fcntl", "*"), (errno.EMFILE,)),
    (("c-ares", "send", "*"), (errno.EAGAIN, errno.ECONNREFUSED, errno.ENOBUFS)),
    (("c-ares", "recv", "*"), (errno.EAGAIN, errno.ECONNRESET)),
    (("c-ares", "recvfrom", "*"), (errno.EAGAIN, errno.ECONNREFUSED)),
    (("c-ares", "connect", "*"), (errno.ENETUNREACH, errno.EADDRNOTAVAIL)),
    (("c-ares", "socket", "*"), (errno.EAFNOSUPPORT, *DESCRIPTORS)),
    (("*", "fopen", "*"), (errno.EACCES, errno.ENOMEM, *DESCRIPTORS)),
    (("openssl", "getrandom", "*"), (errno.EINTR, errno.ENOSYS, errno.EIO)),
    (("openssl", "stat", "*"), (errno.EACCES, errno.ENOMEM)),
    (("openssl", "madvise", "*"), (errno.ENOMEM,)),
    (("openssl", "mprotect", "*"), (errno.ENOMEM,)),
    (("*", "mmap", "*"), (errno.ENOMEM,)),
    (("weir", "sigaltstack", "*"), (errno.ENOMEM,)),
    (("*", "open", "*"), (errno.EINTR, errno.EACCES, errno.EIO, errno.ENOMEM, *DESCRIPTORS)),
    (("*", "close", "*"), (errno.EINTR, errno.EIO)),
    (("weir", "stat", "*"), (errno.EACCES, errno.EIO, errno.ENOMEM)),
    (("weir", "fstat", "*"), (errno.EIO, errno.ENOMEM)),
    (("weir", "lstat", "*"), (errno.EACCES, errno.ENOMEM)),
    (("weir", "chmod", "*"), (errno.EIO, errno.EROFS)),
    (("weir", "fchmod", "*"), (errno.EIO,)),
    (("weir", "unlink", "*"), (errno.EACCES, errno.EIO)),
    (("weir", "opendir", "*"), (errno.EACCES, errno.ENOMEM, *DESCRIPTORS)),
    (("weir", "readdir", "*"), (errno.EIO,)),
    (("weir", "readlink", "*"), (errno.EACCES, errno.EIO)),
    (("weir", "getrandom", "*"), (errno.EINTR, SHORT)),
    (("weir", "getrlimit", "*"), (errno.EPERM,)),
    (("weir", "setrlimit", "*"), (errno.EPERM,)),
    (("*", "pthread_create", "*"), (errno.EAGAIN,)),
    (("weir", "sched_getaffinity", "*"), (errno.EPERM,)),
]

# Counted but not failed: (owner, call, kind, which of them). docs/reliability.md tells them
# to people.
EXCEPTIONS = [
    (
        ("libuv", "epoll_ctl", "*", "*"),
        "src/unix/epoll.c:166,172 abort; Weir has added each connection before, so that only a "
        "change is left, which cannot fail for want of anything",
    ),
    (
        ("libfyaml", "memory", "*", "*"),
        "no hook, and not all of its allocations are checked: 0.7.12 ends by SIGSEGV at some",
    ),
    (
        ("libuv", "pipe2", "*", 1),
        "src/unix/signal.c:104 aborts; Weir has made and closed a pipe just before",
    ),
    (("libuv", "sigaction", "*", "*"), "cannot fail for a valid signal (sigaction(2))"),
    (("weir", "sigaction", "*", "*"), "the same; the signals of the crash report"),
]


# OpenSSL makes hundreds of allocations for a handshake and thousands for a certificate: where
# there are more than so many, each so manieth fails.
MEMORY_POINTS_MAX = 500


def fitting(table, key):
    for pattern, value in table:
        if all(p in ("*", k) for p, k in zip(pattern, key, strict=True)):
            return value
    return None


# ---- sweeps ----


def points_of(deltas, memory_max=MEMORY_POINTS_MAX):
    """[(slot, nth, error, on)] of what was counted; fails for what nobody thought of."""
    points = []
    for slot, count in enumerate(deltas):
        key = slot_key(slot)
        which = [n for n in range(1, count + 1) if not fitting(EXCEPTIONS, (*key, n))]
        errors = fitting(FAULTS, key)
        if key[1] == "memory":
            which = which[:: len(which) // memory_max + 1]
        if which and errors is None:
            raise Wrong(f"{' '.join(key)} is called, and neither failed nor an exception")
        points += [(slot, nth, error, False) for error in errors or () for nth in which]
        if key[1] == "memory":
            points += [(slot, nth, errors[0], True) for nth in which]
        if which and key[1] == "accept4":
            points += [(slot, 1, error, True) for error in DESCRIPTORS]
    return points


# How long descriptors are short; callers wait so long, and longer than a listener rests.
SHORTAGE = 0.25


def lifted(program, point):
    """Lifts a shortage of descriptors by and by, while the callers wait."""
    if not point[3] or point[2] not in DESCRIPTORS:
        return contextlib.nullcontext()
    timer = threading.Timer(SHORTAGE, program.control.disarm)
    timer.start()
    return contextlib.closing(SimpleNamespace(close=timer.join))


class Tally:
    """Per call: points reached, and how many of them did no harm."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.points = {}
        self.missed = 0
        self.wrong = []

    def note(self, point, hits, wrong=None):
        slot, nth, error, on = point
        owner, call, kind = slot_key(slot)
        if not hits:
            self.missed += 1
            return
        name = {"memory": "for good" if on else "once"}.get(call, call)
        counts = self.points.setdefault(name, [0, 0])
        counts[0] += wrong is None
        counts[1] += 1
        if wrong is not None:
            what = "a short count" if error == SHORT else errno.errorcode[error]
            which = f"{owner} {call} {kind} {nth}{' and on' if on else ''}"
            self.wrong.append(f"{self.scenario}: {which}, {what}: {wrong}")

    def lines(self):
        cells = [f"{name} {good} of {all_}" for name, (good, all_) in sorted(self.points.items())]
        memory = [cell for cell in cells if cell.startswith(("once ", "for good "))]
        calls = [cell for cell in cells if cell not in memory]
        yield f"{self.scenario:20} allocations: {', '.join(reversed(memory))}"
        yield f"{'':20} calls: {', '.join(calls)}"
        for wrong in self.wrong:
            yield f"  WRONG {wrong}"


def delta(program, scenario):
    """What one run without a fault calls: the middle one of three, since time adds to some."""
    runs = []
    for _ in range(3):
        before = program.control.counts()
        result = scenario.run(program)
        program.control.settle()
        after = program.control.counts()
        scenario.judge(program, result, True)
        runs.append([b - a for a, b in zip(before, after, strict=True)])
    return [sorted(counts)[1] for counts in zip(*runs, strict=True)]


def sweep_running(scenario, folder, share):
    """Points within one running program."""
    tally = Tally(scenario.name)
    program = None
    try:

        def fresh():
            made = Program(folder, tls=scenario.tls)
            if not made.wait_ready():
                raise Wrong(f"no start: {made.text()}")
            scenario.begin(made)
            for _ in range(3):
                scenario.judge(made, scenario.run(made), True)
            return made, made.warm()

        program, before = fresh()
        for point in share(points_of(delta(program, scenario))):
            try:
                hits = 0
                for _ in range(3):  # where time decides how often it is called
                    program.control.arm(*point)
                    with lifted(program, point):
                        result = scenario.run(program)
                        program.control.settle()
                    hits = program.control.disarm()
                    scenario.judge(program, result, hits == 0)
                    program.check(before)
                    if hits:
                        break
                tally.note(point, hits)
            except (Wrong, OSError) as wrong:
                program.control.disarm()
                tally.note(point, 1, wrong)
                program.close()
                program, before = fresh()
        program.end()
    finally:
        if program:
            program.close()
    return tally


def started(program, point):
    """Whether it becomes ready. Where all fails for good that may be after the end of that."""
    if point[3]:
        try:
            return program.wait_ready(0.2)
        except Wrong:
            program.control.disarm()
    return program.wait_ready()


def start_point(folder, point):
    """A start with one fault. Gives whether it came to it."""
    program = Program(folder, fault=point)
    try:
        if started(program, point):
            hits = program.control.disarm()
            program.check(program.warm())
            program.end()
            return hits
        code = program.ended(expected=None)
        text = program.text()
        by_memory = code == -signal.SIGABRT and "out of memory" in text
        if not by_memory and (code <= 0 or not re.search(r"^weir.*: \S", text, re.MULTILINE)):
            # A message may also be the log's, where the log is there already.
            logged = program.log.exists() and '"level":"error"' in program.log.read_text()
            if code <= 0 or not logged:
                raise Wrong(f"ended with {code} and said: {text[-1500:]!r}")
        return program.control.disarm()
    finally:
        program.close()


def drain_point(folder, point):
    program = Program(folder)
    try:
        if not program.wait_ready():
            raise Wrong("no start")
        program.warm()
        program.control.arm(*point)
        Drain().run(program)
        code = program.ended(expected=None)
        if code not in (0, 3):
            raise Wrong(f"ended with {code}: {program.text()[-2000:]}")
        return program.control.disarm()
    finally:
        program.close()


def first_tls_point(folder, point):
    # OpenSSL, at its start, loses some bytes when memory fails.
    program = Program(folder, forgives="libcrypto.so")
    try:
        if not program.wait_ready():
            raise Wrong("no start")
        program.warm()
        program.control.arm(*point)
        FirstTls().run(program)
        program.control.settle()
        hits = program.control.disarm()
        FirstTls().judge(program)
        program.end()
        return hits
    finally:
        program.close()


def lived(scenario, folder):
    """What a life without a fault calls: from the start, or in the scenario."""
    program = Program(folder)
    try:
        if not program.wait_ready():
            raise Wrong(f"no start: {program.text()}")
        if isinstance(scenario, Start):
            counts = program.control.counts()
            program.end()
            return counts
        program.control.settle()
        before = program.control.counts()
        scenario.run(program)
        if isinstance(scenario, Drain):
            program.ended()
        program.control.settle()
        after = program.control.counts()
        return [b - a for a, b in zip(before, after, strict=True)]
    finally:
        program.close()


def sweep_lives(scenario, folder, share):
    """Points that take a process each."""
    one, memory_max = LIVES[type(scenario)]
    tally = Tally(scenario.name)
    for point in share(points_of(lived(scenario, folder), memory_max)):
        try:
            tally.note(point, one(folder, point))
        except (Wrong, OSError) as wrong:
            tally.note(point, 1, wrong)
    return tally


# What takes a process for each point, and how many of its allocations fail.
LIVES = {
    Start: (start_point, MEMORY_POINTS_MAX),
    Drain: (drain_point, MEMORY_POINTS_MAX),
    FirstTls: (first_tls_point, 100),
}


def sweep(scenario, share=lambda points: points):
    with tempfile.TemporaryDirectory(prefix="weir-faults-") as folder:
        return (sweep_lives if type(scenario) in LIVES else sweep_running)(scenario, Path(folder), share)


def main():
    wanted = sys.argv[1:]
    wrong = 0
    for scenario in SCENARIOS:
        if wanted and not any(scenario.name.startswith(w) for w in wanted):
            continue
        began = time.monotonic()
        tally = sweep(scenario)
        wrong += len(tally.wrong)
        print(*tally.lines(), sep="\n", flush=True)
        print(f"{'':20} {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
