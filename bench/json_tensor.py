"""A tensor of two million floats as JSON: its cost, and who waits for it."""

import random
import re
import struct
import subprocess
import time
from contextlib import ExitStack

from lib import ROOT, Client, Failed, Row, median, progress, request_bytes

TITLE = "JSON of two million floats"
NOTE = (
    "Reading and writing by bench/json_tensor.c, against yyjson's own reader (and a walk over "
    "its values) and writer on the same text, rounds interleaved. Then end to end: the model "
    "returns its input, and another connection of the same loop asks for `/v2/health/live` "
    "every millisecond from before the request is sent until its answer is there; the same "
    "without the request shows what an idle machine adds. The control asks a second process, the "
    "bare epoll server, which has nothing else to do, while Weir answers such a request: what "
    "waits there waits for a core, not for a loop."
)
ELEMENTS = 2_000_000
LINE = re.compile(r"^(.+?) +weir +([\d.]+) ms +yyjson +([\d.]+) ms +ratio +([\d.]+)$", re.M)
WAIT_AIM_US = 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MODEL = ROOT / "tests/fixtures/models/identity_fp32.onnx"


def _against_yyjson(bench):
    progress("json: against yyjson")
    out = subprocess.run(
        ["taskset", "-c", str(bench.server_core), bench.tool("bench-json-tensor"), str(ELEMENTS),
         str(2 * bench.rounds + 1)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = LINE.findall(out)
    if not found:
        raise Failed(f"bench-json-tensor printed no comparison: {out[-300:]}")
    for what, ours, theirs, _ in found:
        ratio = float(ours) / float(theirs)
        yield Row(what, f"{ours} ms", "yyjson", f"{theirs} ms", ratio, "at most 1", ratio <= 1)


def _bodies():
    source = random.Random(1)
    exact = (source.uniform(-1, 1) for _ in range(ELEMENTS))
    floats = (struct.unpack("f", struct.pack("f", value))[0] for value in exact)
    texts = [f"{value:.9g}" for value in floats]
    flat = ",".join(texts)
    rows = ",".join(f"[{a},{b}]" for a, b in zip(texts[::2], texts[1::2]))
    shape = f"[{ELEMENTS // 2},2]"
    yield "v1", "/v1/models/m:predict", f'{{"instances":[{rows}]}}'.encode()
    yield "v2", "/v2/models/m/infer", (
        f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":[{flat}]}}]}}'
    ).encode()


class _Pings:
    """bench/ping.c beside something else."""

    def __init__(self, bench, port):
        self.process = subprocess.Popen(
            [bench.tool("bench-ping"), str(port), "/v2/health/live", "1000"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self):
        """Median, 99th percentile and longest, in microseconds."""
        out, _ = self.process.communicate(timeout=60)
        if self.process.returncode:
            raise Failed("bench-ping failed")
        return tuple(float(word) for word in out.split()[1:])


def _round(bench, weir, control, client, request):
    pings = _Pings(bench, weir.port)
    before, cpu = time.monotonic(), weir.cpu_ns()
    client.ask(request)
    took, cpu = time.monotonic() - before, weir.cpu_ns() - cpu
    busy = pings.end()
    pings = _Pings(bench, weir.port)
    time.sleep(took)
    idle = pings.end()
    pings = _Pings(bench, control.port)
    client.ask(request)
    return {"took": took, "cpu": cpu * 1e-9, "busy": busy, "idle": idle, "control": pings.end()}


def _end_to_end(bench, name, path, body):
    request = request_bytes(path, body)
    taken = []
    with ExitStack() as stack:
        weir = stack.enter_context(bench.weir("--loops", 1, "--name", "m", models=MODEL))
        control = stack.enter_context(bench.floor(ANSWER, pinned=False))
        weir.ready("/v2/models/m/ready")
        client = stack.enter_context(Client(weir.port))
        client.ask(request)
        for i in range(bench.rounds):
            taken.append(_round(bench, weir, control, client, request))
            last = taken[-1]
            progress(
                f"json {name}: round {i + 1} of {bench.rounds}: {last['took'] * 1000:.0f} ms, "
                f"longest wait {last['busy'][2]:.0f} µs, without {last['idle'][2]:.0f} µs, "
                f"of a second process {last['control'][2]:.0f} µs"
            )
    return taken


def _waits(name, taken):
    for index, what in ((1, "99th percentile"), (2, "longest")):
        busy, idle, control = ([t[key][index] for t in taken] for key in ("busy", "idle", "control"))
        yield Row(
            f"{what} wait of another connection, {name}", f"{median(busy):.0f} µs",
            "without the request", f"{median(idle):.0f} µs", median(busy) / median(idle),
            "under 1 ms", median(busy) < WAIT_AIM_US, {"busy_us": busy, "idle_us": idle},
        )  # fmt: skip
        yield Row(
            f"{what} wait of another connection, {name}", f"{median(busy):.0f} µs",
            "a second, idle process meanwhile", f"{median(control):.0f} µs",
            median(busy) / median(control), samples={"control_us": control},
        )  # fmt: skip


def run(bench):
    rows = list(_against_yyjson(bench))
    for name, path, body in _bodies():
        taken = _end_to_end(bench, name, path, body)
        took, cpu = ([t[key] for t in taken] for key in ("took", "cpu"))
        rows.append(
            Row(
                f"end to end, {len(body) / 1e6:.0f} MB in, {name}",
                f"{median(took) * 1000:.0f} ms, {median(cpu) * 1000:.0f} ms of CPU", "-", "-",
                samples={"took_s": took, "cpu_s": cpu},
            )  # fmt: skip
        )
        rows.extend(_waits(name, taken))
    return rows
