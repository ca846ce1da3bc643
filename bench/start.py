"""From nothing to the first answer, and what an idle server holds."""

import time

from lib import DIGITS, Row, memory_kb, median, progress

TITLE = "Start and idle memory"
NOTE = (
    "examples/digits from the start of the process to its first answer to a prediction, its "
    "port asked every millisecond; then, two seconds later, the proportional set size (PSS) of "
    "the process. FastAPI is bench/peer_fastapi.py: uvicorn and onnxruntime for Python, the "
    "same model and the same API. Files are in the page cache for both, and each has its "
    "copy of ONNX Runtime to itself, so that PSS is not shared out to anybody else."
)
START_AIM_S, PSS_AIM_KB = 0.2, 60_000
SETTLE_SECONDS = 2
PATH = "/v1/models/digits:predict"


def _take(server, body):
    with server:
        took = server.ready(PATH, body)
        time.sleep(SETTLE_SECONDS)
        pss, rss = memory_kb(server.pid())
    return took, pss, rss


def run(bench):
    body = (DIGITS / "samples/seven.json").read_bytes()
    starts = {"weir": bench.weir, "fastapi": bench.fastapi}
    taken = {name: [] for name in starts}
    for start in starts.values():  # the page cache
        _take(start(), body)
    for i in range(bench.rounds):
        for name, start in starts.items():
            taken[name].append(_take(start(), body))
        last = ", ".join(f"{n} {t[-1][0]:.3f} s {t[-1][1] / 1000:.1f} MB" for n, t in taken.items())
        progress(f"start: round {i + 1} of {bench.rounds}: {last}")
    (ours, our_pss, our_rss), (theirs, their_pss, their_rss) = (
        list(zip(*taken[name])) for name in ("weir", "fastapi")
    )

    def row(what, a, b, text, **aim):
        a, b = median(a), median(b)
        return Row(what, text(a), "FastAPI + onnxruntime", text(b), a / b, **aim)

    seconds = lambda v: f"{v:.3f} s"  # noqa: E731
    megabytes = lambda v: f"{v * 1024 / 1e6:.1f} MB"  # noqa: E731
    return [
        row("start to first answer", ours, theirs, seconds,
            aim="under 0.2 s", met=median(ours) < START_AIM_S),
        row("idle memory, PSS", our_pss, their_pss, megabytes,
            aim="under 60 MB", met=median(our_pss) * 1.024 < PSS_AIM_KB),
        row("idle memory, RSS", our_rss, their_rss, megabytes),
    ]  # fmt: skip
