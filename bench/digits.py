"""CPU a request of a small classifier, JSON in and out."""

import json
import struct
import subprocess
from contextlib import ExitStack

import callgrind
from lib import DIGITS, Row, ask, median, micro, per_request

TITLE = "Digits, JSON in and out"
NOTE = (
    "One picture a request from examples/digits, by TensorFlow Serving's REST API and by the "
    "Open Inference Protocol, `weir serve --loops 1`, 32 connections from wrk. The floor reads "
    "the same requests and answers the same bytes. The model's own time is bench/bare_ort.c, "
    "ONNX Runtime's C API in a loop. The aim is held against the bare floor: "
    "(Weir - model) / floor. The busy floor spends the model's own time on each answer as well, "
    "doing nothing: (Weir - model) / (busy floor - model) shows how much of the distance is "
    "waking a load that has fallen asleep meanwhile; it decides nothing."
)
AIM = 1.5
RUNS = 100000
REQUESTS = (
    ("v1", "/v1/models/digits:predict", DIGITS / "samples/seven.json"),
    ("v2", "/v2/models/digits/infer", DIGITS / "samples/seven-v2.json"),
)


def _bare_argv(bench, runs):
    values = json.loads((DIGITS / "samples/seven.json").read_text())["instances"][0]
    floats = bench.file("input.f32", struct.pack(f"{len(values)}f", *values))
    model = DIGITS / "model/digits/1/model.onnx"
    return [bench.tool("bench-bare-ort"), bench.library(), model, floats, runs]


def _bare(bench):
    argv = ["taskset", "-c", bench.server_core, *_bare_argv(bench, RUNS)]
    out = subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True)
    return float(out.stdout)


def _measure(bench, name, path, body):
    with ExitStack() as stack:
        weir = stack.enter_context(bench.weir("--loops", 1, core=bench.server_core))
        weir.ready(path, body)
        answer = ask(weir.port, path, body)
        model_ns = median([_bare(bench) for _ in range(bench.rounds)])
        floor = stack.enter_context(bench.floor(answer, len(body)))
        busy = stack.enter_context(bench.floor(answer, len(body), int(model_ns)))
        servers = {"weir": weir, "floor": floor, "busy": busy}
        if name == "v1":
            servers["fastapi"] = stack.enter_context(bench.fastapi(core=bench.server_core))
        script = bench.script(body)
        for server in servers.values():
            server.ready(path, body)
            bench.load(server, path, script, seconds=1)
        takes = {
            (layout, name): lambda s=server, c=core: bench.load(s, path, script, core=c)
            for layout, core in bench.layouts().items()
            for name, server in servers.items()
        }
        takes["model"] = lambda: _bare(bench)
        return bench.each_round(f"digits {name}", takes), answer


def _rows(name, layout, ns):
    what = f"CPU, {name}, {layout}"
    weir, floor, busy = (ns[layout, server] for server in ("weir", "floor", "busy"))
    model = ns["model"]
    above = median(weir) - median(model)
    ratio = above / median(floor)
    yield Row(
        what, micro(weir), "bare epoll, + the model's own time", f"{micro(floor)}, + {micro(model)}",
        ratio, "at most 1.5", ratio <= AIM,
        {"weir_ns": weir, "floor_ns": floor, "model_ns": model},
    )  # fmt: skip
    yield Row(
        what, micro(weir), "busy floor, the model's own time in it", micro(busy),
        above / (median(busy) - median(model)), samples={"busy_ns": busy},
    )  # fmt: skip
    if (layout, "fastapi") in ns:
        yield per_request(what, weir, "FastAPI", ns[layout, "fastapi"])


def _counted(bench, name, path, body, answer, model):
    argv_of = lambda p: bench.weir_argv(p, DIGITS / "model", "--loops", 1)  # noqa: E731
    weir = callgrind.server(bench, f"weir {name}", argv_of, path, body)
    floor = callgrind.server(
        bench, "floor", lambda p: bench.floor_argv(p, answer, len(body)), path, body
    )
    return Row(
        f"instructions, {name}", f"{weir:,.0f}", "bare epoll, + the model's own",
        f"{floor:,.0f}, + {model:,.0f}", (weir - model) / floor,
    )  # fmt: skip


def run(bench):
    rows, counted = [], []
    model = None
    for name, path, file in REQUESTS:
        body = file.read_bytes()
        ns, answer = _measure(bench, name, path, body)
        rows.extend(row for layout in bench.layouts() for row in _rows(name, layout, ns))
        if bench.callgrind:
            if model is None:
                model = callgrind.program(bench, "the model", lambda n: _bare_argv(bench, n))
            counted.append(_counted(bench, name, path, body, answer, model))
    return rows + counted
