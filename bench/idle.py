"""What ten thousand connections cost that nobody uses."""

import resource
import time

from lib import Client, Failed, Row, memory_kb, median, progress, request_bytes

TITLE = "Idle connections"
NOTE = (
    "10,000 keep-alive connections, each after one `GET /v2/health/live`, then three idle "
    "seconds; what the process's PSS has grown by since a hundred connections had come and "
    "gone, a connection. The kernel's own memory for a socket is not in it."
)
CONNECTIONS = 10_000
AIM_BYTES = 5000
SETTLE_SECONDS = 3
PATH = "/v2/health/live"


def _descriptors():
    wanted = CONNECTIONS + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failed(f"needs {wanted} file descriptors; the limit is {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connect(port, count, request):
    clients = []
    for _ in range(count):
        clients.append(Client(port))
        clients[-1].ask(request)
    return clients


def _round(bench):
    request = request_bytes(PATH)
    with bench.weir("--loops", 1) as weir:
        weir.ready(PATH)
        for client in _connect(weir.port, 100, request):
            client.socket.close()
        time.sleep(SETTLE_SECONDS)
        before, _ = memory_kb(weir.pid())
        clients = _connect(weir.port, CONNECTIONS, request)
        try:
            time.sleep(SETTLE_SECONDS)
            after, _ = memory_kb(weir.pid())
            clients[0].ask(request)
            clients[-1].ask(request)
        finally:
            for client in clients:
                client.socket.close()
    return (after - before) * 1024 / CONNECTIONS


def run(bench):
    _descriptors()
    taken = []
    for i in range(bench.rounds):
        taken.append(_round(bench))
        progress(f"idle: round {i + 1} of {bench.rounds}: {taken[-1]:.0f} bytes a connection")
    value = median(taken)
    return [
        Row("memory of an idle connection", f"{value:.0f} bytes", "-", "-", None,
            "under 5 kB", value < AIM_BYTES, {"bytes": taken})
    ]  # fmt: skip
