"""What the benchmarks share: the program under test, servers pinned to a core, load,
requests over a plain socket, memory, medians, and rows of results."""

import dataclasses
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples/digits"
CONNECTIONS = 32
STOP_SECONDS = 20


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A benchmark that could not be taken; the others go on."""


@dataclasses.dataclass
class Row:
    """One comparison. `met` is None where there is no aim."""

    what: str
    weir: str
    against: str
    other: str
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None
    samples: dict = dataclasses.field(default_factory=dict)


def median(samples):
    return statistics.median(samples)


def spread(samples):
    """Half of what lies between the lowest and the highest, in percent of the median."""
    return 50 * (max(samples) - min(samples)) / median(samples) if len(samples) > 1 else 0


def micro(nanoseconds):
    """The median and, since these machines are noisy, the spread."""
    return f"{median(nanoseconds) / 1000:.2f} µs ±{spread(nanoseconds):.0f} %"


def per_request(what, weir, against, other, **row):
    """A row of two lists of nanoseconds."""
    ratio = median(weir) / median(other)
    return Row(
        what, micro(weir), against, micro(other), ratio,
        samples={"weir_ns": weir, "other_ns": other}, **row,
    )  # fmt: skip


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# --- requests ---------------------------------------------------------------


def request_bytes(path, body=None):
    method = "POST" if body is not None else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


class Client:
    """One keep-alive connection to a server on this machine."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Failed("the server closed the connection")
        return data

    def ask(self, request):
        """The answer's bytes, head and body; an answer that is not 200 fails."""
        self.socket.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more()
        head, _, rest = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(f"expected an answer of 200, got {got[:300]!r}")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if not length:
            raise Failed("expected an answer with Content-Length")
        parts, left = [head + b"\r\n\r\n" + rest], int(length[1]) - len(rest)
        while left > 0:
            parts.append(self._more())
            left -= len(parts[-1])
        return b"".join(parts)


def ask(port, path, body=None):
    with Client(port) as client:
        return client.ask(request_bytes(path, body))


# --- servers ----------------------------------------------------------------


class Server:
    """A process that listens on `port`; a context that ends it. Its output goes to a file."""

    def __init__(self, name, argv, port, log, core=None, env=None):
        self.name, self.port, self.log = name, port, log
        pin = ["taskset", "-c", str(core)] if core is not None else []
        self.started = time.monotonic()
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [*pin, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, **(env or {})},
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def check(self):
        if self.process.poll() is not None:
            tail = Path(self.log).read_text(errors="replace")[-600:]
            raise Failed(f"{self.name} ended with {self.process.returncode}: {tail}")

    def ready(self, path, body=None, seconds=120):
        """Asks until it answers 200; the seconds from its start to that answer."""
        request = request_bytes(path, body)
        while time.monotonic() - self.started < seconds:
            try:
                with Client(self.port) as client:
                    client.ask(request)
                return time.monotonic() - self.started
            except (OSError, Failed):
                self.check()
                time.sleep(0.001)
        raise Failed(f"{self.name} was not ready after {seconds} s")

    def pid(self):
        return self.process.pid

    def cpu_ns(self):
        """User and system time of all its threads, also of those that have ended: Linux
        forms a process's CPU clock from its id (clock_getcpuclockid)."""
        return time.clock_gettime_ns((~self.pid() << 3) | 2)


class Nginx(Server):
    """nginx with one worker; that is what is measured."""

    def pid(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])


# --- the bench --------------------------------------------------------------


class Bench:
    """The program as it was built when the benchmark began, and where things run.

    `folder` is temporary. It holds copies of the program, its plug-ins and its engine, so
    that a build meanwhile changes nothing and no other process shares their pages.
    """

    def __init__(self, build, folder, rounds, seconds, callgrind):
        self.build, self.folder = Path(build), Path(folder)
        self.rounds, self.seconds, self.callgrind = rounds, seconds, callgrind
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.load_core = cores[0], cores[-1]
        self._scripts = 0
        self._logs = 0
        self._copy()

    def _copy(self):
        shutil.copy2(self.build / "weir", self.folder / "weir")
        for name in ("backends", "engines"):
            (self.folder / name).mkdir()
            for file in sorted((self.build / name).iterdir()):
                if ".so" in file.name and file.is_file() and not file.is_symlink():
                    shutil.copy2(file, self.folder / name / file.name)

    def tool(self, name):
        return self.build / "bench" / name

    def venv_python(self):
        out = subprocess.run(
            [ROOT / "tools/setup", "--venv", "bench"], check=True, capture_output=True, text=True
        )
        return Path(out.stdout.strip()) / "bin/python"

    def library(self):
        return next((self.folder / "engines").glob("libonnxruntime.so.1*"))

    def _log(self):
        self._logs += 1
        return self.folder / f"server-{self._logs}.log"

    def layouts(self):
        """Where the load runs: {words: core}. Across cores the kernel wakes the other core
        for many an answer, which costs a server about as much as all else and is the same
        for every one; on one core that is away, and what a server itself does stands out."""
        layouts = {"one core": self.server_core}
        if self.load_core != self.server_core:
            layouts = {"two cores": self.load_core, **layouts}
        return layouts

    # Commands rather than processes, so that callgrind can run them too.

    def weir_argv(self, port, models, *options):
        return [
            self.folder / "weir", "serve", models, "--port", port, "--admin-socket", "off",
            "--log-level", "warn", *options,
        ]  # fmt: skip

    def floor_argv(self, port, answer, body_bytes, busy_ns=0):
        file = self.file("answer", answer)
        return [self.tool("bench-floor-epoll"), port, file, body_bytes, busy_ns]

    def nginx_argv(self, port, body, worker=True):
        prefix = self.folder / f"nginx-{port}"
        prefix.mkdir(exist_ok=True)
        text = body.decode().replace("\\", "\\\\").replace("'", "\\'")
        temp = "\n".join(
            f"  {kind}_temp_path {prefix}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = self.file(
            "nginx.conf",
            f"""daemon off;
{'' if worker else 'master_process off;'}
worker_processes 1;
pid {prefix}/pid;
error_log {prefix}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  default_type application/json;
{temp}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{text}'; }}
  }}
}}
""".encode(),
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        return [program, "-p", prefix, "-e", prefix / "error.log", "-c", conf]

    def weir(self, *options, models=DIGITS / "model", core=None):
        port = free_port()
        return Server("weir", self.weir_argv(port, models, *options), port, self._log(), core)

    def floor(self, answer, body_bytes=0, busy_ns=0, pinned=True):
        port = free_port()
        argv = self.floor_argv(port, answer, body_bytes, busy_ns)
        return Server("floor", argv, port, self._log(), self.server_core if pinned else None)

    def nginx(self, body):
        port = free_port()
        argv = self.nginx_argv(port, body)
        return Nginx("nginx", argv, port, self._log(), self.server_core)

    def fastapi(self, core=None):
        port = free_port()
        model = DIGITS / "model/digits/1/model.onnx"
        argv = [self.venv_python(), ROOT / "bench/peer_fastapi.py", model, port]
        return Server("FastAPI", argv, port, self._log(), core)

    def file(self, name, content):
        self._scripts += 1
        path = self.folder / f"{self._scripts}-{name}"
        path.write_bytes(content)
        return path

    def script(self, body):
        """wrk's way to POST a body."""
        if body is None:
            return None
        file = self.file("body.json", body)
        return self.file(
            "post.lua",
            f"""wrk.method = "POST"
local file = io.open("{file}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
""".encode(),
        )

    def load(self, server, path, script=None, seconds=None, core=None):
        """Keeps 32 connections busy with `path`; CPU nanoseconds of the server a request.
        Servers run on the server core; the load does on `core`, the other one by default."""
        core = self.load_core if core is None else core
        argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}"]
        argv += [f"-d{seconds or self.seconds}s"] + (["-s", str(script)] if script else [])
        before = server.cpu_ns()
        out = subprocess.run(
            [*argv, f"http://127.0.0.1:{server.port}{path}"],
            check=True, capture_output=True, text=True, timeout=120,
        ).stdout  # fmt: skip
        used = server.cpu_ns() - before
        done = re.search(r"(\d+) requests in", out)
        if "Non-2xx" in out or "Socket errors" in out or not done or int(done[1]) == 0:
            raise Failed(f"load on {server.name} went wrong:\n{out}")
        return used / int(done[1])

    def each_round(self, what, takes):
        """Takes every measurement once a round, one after the other: {name: [samples]}."""
        samples = {name: [] for name in takes}
        for i in range(self.rounds):
            for name, take in takes.items():
                samples[name].append(take())
            last = ", ".join(
                f"{n if isinstance(n, str) else ' '.join(n)} {s[-1] / 1000:.2f}"
                for n, s in samples.items()
            )
            progress(f"{what}: round {i + 1} of {self.rounds}: {last} µs")
        return samples


# --- memory -----------------------------------------------------------------


def memory_kb(pid):
    """PSS, the process's share of its pages, and RSS."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return tuple(int(re.search(rf"^{key}: *(\d+) kB", text, re.M)[1]) for key in ("Pss", "Rss"))
