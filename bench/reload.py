"""What callers notice of reloads."""

import re
import signal
import subprocess
import threading
from contextlib import ExitStack

from lib import CONNECTIONS, DIGITS, Client, Failed, Row, median, progress, request_bytes

TITLE = "Reload under load"
NOTE = (
    "Predictions of digits over 32 connections from wrk, while the configuration changes and HUP "
    "comes ten times a second (limits and log level, all live), and the same without, in turns: "
    "what wrk gives as the 99th percentile of the latency. Every answer has to be 200, and every "
    "reload has to have taken place."
)
AIM = 1.1
EVERY_S = 0.1
PATH = "/v1/models/digits:predict"


class _Reloads:
    """Changes the configuration and sends HUP until it is told to end."""

    def __init__(self, weir, file):
        self.weir, self.file, self.count = weir, file, 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ending.wait(EVERY_S):
            self.count += 1
            self.file.write_text(config(self.count))
            self.weir.process.send_signal(signal.SIGHUP)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


def config(n):
    level = ("warn", "error")[n % 2]
    return f"version: 1\nserver: {{requests_max: {4000 + n % 7}}}\nlog: {{level: {level}}}\n"


def _latency_us(bench, weir, script):
    out = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{2 * bench.seconds}s", "--latency", "-s", script,
         f"http://127.0.0.1:{weir.port}{PATH}"],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    found = re.search(r"^ +99% +([\d.]+)(us|ms|s)$", out, re.M)
    if "Non-2xx" in out or "Socket errors" in out or not found:
        raise Failed(f"load on weir went wrong:\n{out}")
    return float(found[1]) * {"us": 1, "ms": 1000, "s": 1e6}[found[2]]


def _reloaded(weir):
    with Client(weir.port) as client:
        text = client.ask(request_bytes("/metrics")).decode()
    found = re.findall(r'^weir_config_reloads_total\{result="success"\} (\d+)$', text, re.M)
    return sum(map(int, found))


def run(bench):
    script = str(bench.script((DIGITS / "samples/seven.json").read_bytes()))
    file = bench.file("weir.yaml", config(0).encode())
    taken = {"with": [], "without": []}
    sent = 0
    with ExitStack() as stack:
        weir = stack.enter_context(bench.weir("--config", file))
        weir.ready(PATH, (DIGITS / "samples/seven.json").read_bytes())
        _latency_us(bench, weir, script)
        for i in range(bench.rounds):
            taken["without"].append(_latency_us(bench, weir, script))
            with _Reloads(weir, file) as reloads:
                taken["with"].append(_latency_us(bench, weir, script))
            sent += reloads.count
            last = ", ".join(f"{name} {samples[-1]:.0f} µs" for name, samples in taken.items())
            progress(f"reload: round {i + 1} of {bench.rounds}: {last}")
        done = _reloaded(weir)
    ratio = median(taken["with"]) / median(taken["without"])
    return [
        Row("99th percentile, 10 reloads a second", f"{median(taken['with']):.0f} µs",
            "without reloads", f"{median(taken['without']):.0f} µs", ratio, "at most 1.1",
            ratio <= AIM, {f"{name}_us": samples for name, samples in taken.items()}),
        Row("reloads that took place", f"{done}", "HUP sent", f"{sent}", done / sent),
    ]  # fmt: skip
