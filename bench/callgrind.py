"""Instructions a request under valgrind's callgrind: a figure that does not depend on how
busy the machine is. What a server spends between two dumps, over the requests between
them; its start is not in it."""

import re
import subprocess

from lib import Client, Failed, Server, free_port, progress, request_bytes

WARM_UP = 300
REQUESTS = 2000
DUMP_SECONDS = 60


def _argv(out, argv):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *argv]


def _total(out):
    found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)
    if not found or int(found[1]) == 0:
        raise Failed("callgrind counted nothing")
    return int(found[1])


def _dump(process):
    """Writes what was counted since the last dump to OUT.1, OUT.2 and so on."""
    subprocess.run(
        ["callgrind_control", "--dump", str(process.pid)],
        check=True, capture_output=True, timeout=DUMP_SECONDS,
    )  # fmt: skip


def server(bench, what, argv_of, path, body=None, ready=None, tls=False):
    """Instructions a request of the server that `argv_of(port)` starts; it has started when
    `ready` answers, or else the request itself."""
    progress(f"callgrind: {what}")
    port = free_port()
    out = bench.folder / f"callgrind-{port}"
    request = request_bytes(path, body)
    argv = _argv(out, argv_of(port))
    with Server("callgrind", argv, port, bench.folder / f"callgrind-{port}.log", tls=tls) as process:
        process.ready(*((ready, None) if ready else (path, body)))
        with Client(port, tls=tls) as client:
            for _ in range(WARM_UP):
                client.ask(request)
            _dump(process.process)
            for _ in range(REQUESTS):
                client.ask(request)
            _dump(process.process)
            # The connection's end wakes a server that had looked for its signal already.
            process.process.terminate()
    return _total(out.with_name(out.name + ".2")) / REQUESTS


def program(bench, what, argv_of):
    """Instructions a run of a program that is told how often to run, in its `measured`."""
    progress(f"callgrind: {what}")
    out = bench.folder / f"callgrind-{what.replace(' ', '-')}"
    argv = _argv(out, argv_of(REQUESTS))
    argv.insert(2, "--toggle-collect=measured*")
    subprocess.run([str(a) for a in argv], check=True, capture_output=True, timeout=300)
    return _total(out) / REQUESTS
