"""CPU a request where the answer is always the same."""

from contextlib import ExitStack

import callgrind
from lib import DIGITS, Row, ask, per_request

TITLE = "A fixed answer over keep-alive"
NOTE = (
    "`GET /v2` (JSON) and `GET /v2/health/live` (no body) of `weir serve --loops 1`, 32 "
    "connections from wrk, which is pinned to another core than the server or to the same. Go "
    "by one core: across two, waking the load hides what the servers cost themselves, and a "
    "ratio to the floor below 1 says so. The floor is bench/floor_epoll.c with the very same "
    "bytes as answer; nginx's `return 200` sends the same body. User and system CPU time of the "
    "server, medians over interleaved rounds."
)
FLOOR_AIM, NGINX_AIM = 1.2, 1.0
READY = "/v2/health/ready"


def _pair(bench, stack, weir, path):
    """The servers of one path: {name: server}."""
    answer = ask(weir.port, path)
    body = answer.partition(b"\r\n\r\n")[2]
    floor = stack.enter_context(bench.floor(answer))
    nginx = stack.enter_context(bench.nginx(body))
    servers = {"weir": weir, "floor": floor, "nginx": nginx}
    for server in servers.values():
        server.ready(path)
        bench.load(server, path, seconds=1)
    return servers, answer


def _counted(bench, path, answer):
    body = answer.partition(b"\r\n\r\n")[2]
    argv_of = lambda p: bench.weir_argv(p, DIGITS / "model", "--loops", 1)  # noqa: E731
    weir = callgrind.server(bench, f"weir {path}", argv_of, path, ready=READY)
    floor = callgrind.server(bench, "floor", lambda p: bench.floor_argv(p, answer, 0), path)
    nginx = callgrind.server(bench, "nginx", lambda p: bench.nginx_argv(p, body, False), path)
    for name, other in (("bare epoll", floor), ("nginx", nginx)):
        yield Row(f"instructions, {path}", f"{weir:,.0f}", name, f"{other:,.0f}", weir / other)


def _rows(path, layout, ns):
    what, weir = f"CPU, {path}, {layout}", ns[layout, "weir"]
    floor = per_request(what, weir, "bare epoll", ns[layout, "floor"], aim="at most 1.2")
    floor.met = floor.ratio <= FLOOR_AIM
    nginx = per_request(what, weir, "nginx", ns[layout, "nginx"], aim="below 1")
    nginx.met = nginx.ratio < NGINX_AIM
    return floor, nginx


def run(bench):
    rows, counted = [], []
    for path in ("/v2", "/v2/health/live"):
        with ExitStack() as stack:
            weir = stack.enter_context(bench.weir("--loops", 1, core=bench.server_core))
            weir.ready(READY)
            servers, answer = _pair(bench, stack, weir, path)
            takes = {
                (layout, name): lambda s=server, c=core: bench.load(s, path, core=c)
                for layout, core in bench.layouts().items()
                for name, server in servers.items()
            }
            ns = bench.each_round(f"fixed {path}", takes)
        rows.extend(row for layout in bench.layouts() for row in _rows(path, layout, ns))
        if bench.callgrind:
            counted.extend(_counted(bench, path, answer))
    return rows + counted
