"""CPU a request and a handshake over TLS 1.3."""

import re
import subprocess
from contextlib import ExitStack

import callgrind
from lib import DIGITS, Client, Failed, Row, median, per_request, request_bytes

TITLE = "A fixed answer over TLS"
NOTE = (
    "`GET /v2` of `weir serve --loops 1` and the same body from nginx's `return 200`, both over "
    "TLS 1.3 with TLS_AES_128_GCM_SHA256, X25519 and the same certificate (ECDSA P-256). "
    "Requests: 32 keep-alive connections from wrk. Handshakes: bench/handshakes.c, one "
    "connection after the other, each with one request; resumed ones take up the session of "
    "the connection before by its ticket. User and system CPU time of the server, medians over "
    "interleaved rounds."
)
PATH, READY = "/v2", "/v2/health/ready"
REQUEST_AIM = 1.0


def _certificate(bench):
    cert, key = bench.folder / "tls.pem", bench.folder / "tls.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    cert.chmod(0o644)
    return cert, key


def _handshakes(bench, server, kind):
    """CPU nanoseconds of the server a connection."""
    before = server.cpu_ns()
    out = subprocess.run(
        ["taskset", "-c", str(bench.load_core), bench.tool("bench-handshakes"), str(server.port),
         PATH, str(bench.seconds), kind],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    used = server.cpu_ns() - before
    count, resumed, seconds = re.match(r"(\d+) \w+, (\d+) resumed, (\S+)", out).groups()
    if int(count) < 10 or (int(resumed) > 0) != (kind == "resumed"):
        raise Failed(f"handshakes with {server.name} went wrong: {out}")
    _handshakes.rates.setdefault((server.name, kind), []).append(int(count) / float(seconds))
    return used / int(count)


def _counted(bench, pair, body):
    options = ("--loops", 1, "--tls-certificate", pair[0], "--tls-key", pair[1])
    argv_of = lambda p: bench.weir_argv(p, DIGITS / "model", *options)  # noqa: E731
    nginx_of = lambda p: bench.nginx_argv(p, body, False, tls=pair)  # noqa: E731
    weir = callgrind.server(bench, f"weir {PATH}", argv_of, PATH, ready=READY, tls=True)
    nginx = callgrind.server(bench, "nginx", nginx_of, PATH, tls=True)
    yield Row(f"instructions, {PATH}", f"{weir:,.0f}", "nginx", f"{nginx:,.0f}", weir / nginx)


def run(bench):
    _handshakes.rates = {}
    pair = _certificate(bench)
    rows = []
    with ExitStack() as stack:
        weir = stack.enter_context(bench.weir("--loops", 1, core=bench.server_core, tls=pair))
        weir.ready(READY)
        with Client(weir.port, tls=True) as client:
            body = client.ask(request_bytes(PATH)).partition(b"\r\n\r\n")[2]
        nginx = stack.enter_context(bench.nginx(body, tls=pair))
        servers = {"weir": weir, "nginx": nginx}
        for server in servers.values():
            server.ready(PATH)
            bench.load(server, PATH, seconds=1)
        takes = {
            (layout, name): lambda s=server, c=core: bench.load(s, PATH, core=c)
            for layout, core in bench.layouts().items()
            for name, server in servers.items()
        }
        for kind in ("full", "resumed"):
            for name, server in servers.items():
                takes[kind, name] = lambda s=server, k=kind: _handshakes(bench, s, k)
        ns = bench.each_round("tls", takes)
    for layout in bench.layouts():
        what = f"CPU, {PATH}, {layout}"
        row = per_request(what, ns[layout, "weir"], "nginx", ns[layout, "nginx"], aim="at most 1")
        row.met = row.ratio <= REQUEST_AIM
        rows.append(row)
    for kind in ("full", "resumed"):
        what = f"CPU, a connection with a {kind} handshake"
        rows.append(per_request(what, ns[kind, "weir"], "nginx", ns[kind, "nginx"]))
        rate = {name: median(_handshakes.rates[name, kind]) for name in servers}
        rows.append(
            Row(f"{kind} handshakes a second, one client", f"{rate['weir']:.0f}", "nginx",
                f"{rate['nginx']:.0f}", rate["weir"] / rate["nginx"])
        )  # fmt: skip
    if bench.callgrind:
        rows.extend(_counted(bench, pair, body))
    return rows
