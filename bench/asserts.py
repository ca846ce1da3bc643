"""What the assertions that stay on in production cost."""

import subprocess
from contextlib import ExitStack

import callgrind
from lib import DIGITS, ROOT, Row, Server, free_port, per_request, progress

TITLE = "Live assertions"
NOTE = (
    "The same sources built with and without assertions (`-Dassertions=false`, for this alone), "
    "`GET /v2` and a prediction of digits over one core, 32 connections from wrk; user and system "
    "CPU time of the server, medians over interleaved rounds, and instructions by callgrind."
)
AIM = 1.02
READY = "/v2/health/ready"
REQUESTS = (("/v2", None), ("/v1/models/digits:predict", DIGITS / "samples/seven.json"))


def _without(bench):
    """The program built without assertions, beside the other one's plug-ins."""
    progress("asserts: building without assertions")
    folder = bench.folder / "no-assertions"
    for argv in (
        ["tools/build", folder, "plain", "none"],
        ["meson", "configure", folder, "-Dassertions=false"],
        ["ninja", "-C", folder, "weir"],
    ):
        subprocess.run([str(a) for a in argv], cwd=ROOT, check=True, capture_output=True, timeout=900)
    (folder / "weir").rename(bench.folder / "weir-no-assertions")
    return bench.folder / "weir-no-assertions"


def _argv(bench, program):
    return lambda port: [
        program, *bench.weir_argv(port, DIGITS / "model", "--loops", 1)[1:]
    ]  # fmt: skip


def run(bench):
    programs = {"with": bench.folder / "weir", "without": _without(bench)}
    rows, counted = [], []
    for path, file in REQUESTS:
        body = file.read_bytes() if file else None
        with ExitStack() as stack:
            takes = {}
            script = bench.script(body) if body else None
            for name, program in programs.items():
                port = free_port()
                log = bench.folder / f"asserts-{port}.log"
                server = Server(name, _argv(bench, program)(port), port, log, bench.server_core)
                stack.enter_context(server).ready(READY)
                bench.load(server, path, script, seconds=1)
                takes[name] = lambda s=server: bench.load(s, path, script, core=bench.server_core)
            ns = bench.each_round(f"asserts {path}", takes)
        row = per_request(
            f"CPU, {path}", ns["with"], "without assertions", ns["without"], aim="at most 1.02"
        )
        row.met = row.ratio <= AIM
        rows.append(row)
        if bench.callgrind:
            ours, theirs = (
                callgrind.server(bench, f"{name} {path}", _argv(bench, program), path, body, READY)
                for name, program in programs.items()
            )
            counted.append(
                Row(f"instructions, {path}", f"{ours:,.0f}", "without assertions",
                    f"{theirs:,.0f}", ours / theirs)
            )  # fmt: skip
    return rows + counted
