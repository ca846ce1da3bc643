"""What the conformance tests share: a server under test, and raw sockets to it.

Where things lie comes from the environment that tools/test sets: WEIR_BUILD (the build
directory, default `build`) and WEIR_SOURCE (the tree).
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

SOURCE = Path(os.environ.get("WEIR_SOURCE") or Path(__file__).resolve().parents[2])
BUILD = Path(os.environ.get("WEIR_BUILD") or SOURCE / "build")
WEIR = BUILD / "weir"
MODELS = SOURCE / "tests" / "fixtures" / "models"
# Plug-ins for tests only: late.so (see late.c) and arithmetic.so.
TEST_BACKENDS = BUILD / "tests" / "conformance" / "backends"

REPORTS = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer|runtime error:|assertion"
)


def build_option(name):
    """Its value, as Meson has it; None for a build that is none of Meson's."""
    options = BUILD / "meson-info" / "intro-buildoptions.json"
    if not options.exists():
        return None
    return next((o["value"] for o in json.loads(options.read_text()) if o["name"] == name), None)


SANITIZED = build_option("b_sanitize") not in (None, "none")
# Sanitizers slow things down; nothing here measures how fast Weir is.
PATIENCE = 60 if SANITIZED else 20


def wait_until(condition, what, timeout=None):
    """Gives the first true value of `condition`."""
    until = time.monotonic() + (timeout or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.003)


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "NOTIFY_"))}
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        env.pop(name, None)
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:halt_on_error=1")
    env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    env.update(extra or {})
    return env


def run_weir(*arguments, env=None, timeout=None, cwd=None):
    """Runs the program to its end; for what does not serve. Gives subprocess.CompletedProcess."""
    done = subprocess.run(
        [str(WEIR), *map(str, arguments)],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout or PATIENCE,
        cwd=cwd,
    )
    assert done.returncode >= 0, f"ended by signal {-done.returncode}: {done.stderr}"
    assert not REPORTS.search(done.stderr), done.stderr
    return done


class Server:
    """A running `weir serve` on a port of its own.

    Its log is read from standard error, or from `log_path` where the arguments name one.
    `config` is the text of its weir.yaml, less the line of the version; `before` is put in
    front of the command. Other options are subprocess.Popen's.
    """

    def __init__(
        self,
        folder,
        *arguments,
        env=None,
        config=None,
        wait="ready",
        port=0,
        before=(),
        log_path=None,
        **popen,
    ):
        self.folder = folder
        self.errors = folder / "stderr"
        self.log_path = log_path or self.errors
        self.ended = False
        command = [*before, str(WEIR), "serve", *map(str, arguments)]
        if port is not None:
            command += ["--port", str(port)]
        if config is not None:
            self.config = folder / "weir.yaml"
            self.configure(config)
            command += ["--config", str(self.config)]
        if "stderr" not in popen:
            popen["stderr"] = self.errors.open("wb")
        self.process = subprocess.Popen(
            command,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **popen,
        )
        self.http = requests.Session()
        self.http.trust_env = False
        self.address = None
        if wait == "ready":
            self.event("server_ready")
        if wait in ("ready", "listening"):
            text = self.event("server_listening")["address"]
            host, _, number = text.rpartition(":")
            self.address = (host, int(number))

    # ---- its log ----

    def log(self, path=None):
        text = (path or self.log_path).read_text(errors="replace")
        lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name, path=None):
        return [line for line in self.log(path) if line["event"] == name]

    def event(self, name, count=1, path=None):
        """Waits until the log has `count` lines of that event; gives the last of them."""
        path = path or self.log_path

        def there():
            ended = self.process.poll() is not None
            found = self.events(name, path) if path.exists() else []
            assert found or not ended, (
                f"ended with {self.process.returncode} before '{name}': {self.text()}"
            )
            return found[count - 1] if len(found) >= count else None

        return wait_until(there, f"the event {name}")

    def configure(self, text):
        self.config.write_text("version: 1\n" + text)

    # ---- requests ----

    @property
    def authority(self):
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def url(self):
        return f"http://{self.authority}"

    def get(self, path, **options):
        return self.http.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, path, body=None, **options):
        if isinstance(body, (dict, list)):
            options["json"] = body
        else:
            options["data"] = body
        return self.http.post(self.url + path, timeout=PATIENCE, **options)

    def predict(self, model, body):
        return self.post(f"/v1/models/{model}:predict", body)

    def infer(self, model, body):
        return self.post(f"/v2/models/{model}/infer", body)

    def connect(self):
        return Raw(self.address)

    def alive(self):
        """It answers a fresh connection."""
        with self.connect() as raw:
            try:
                raw.send(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
                response = raw.response()
            except ConnectionError:
                return False
            return response is not None and response.status == 200

    def metric(self, name):
        """The sum of a metric's series whose text begins with `name`."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def resident_bytes(self):
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    # ---- its end ----

    def kill(self, number):
        self.process.send_signal(number)

    def end(self, timeout=None):
        """Waits for its end; gives the exit code. Nothing may have crashed."""
        self.ended = True
        self.http.close()
        try:
            code = self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end: {self.text()}") from None
        text = self.text()
        assert code >= 0, f"ended by signal {-code}: {text}"
        report = REPORTS.search(text)
        assert not report, text[max(0, report.start() - 500) : report.start() + 6000]
        return code

    def text(self):
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def stop(self, number=signal.SIGTERM):
        self.kill(number)
        return self.end()


class Weir:
    """Starts servers; each must end with 0 unless the test ends it itself."""

    def __init__(self, factory):
        self.factory, self.servers = factory, []

    def serve(self, *arguments, **options):
        server = Server.__new__(Server)
        self.servers.append(server)
        server.__init__(self.factory.mktemp("serve"), *arguments, **options)
        return server

    def serve_late(self, *arguments, **options):
        """The model `echo`, which answers as slowly as it is asked to."""
        return self.serve(
            MODELS / "echo.late", "--backends-path", TEST_BACKENDS, *arguments, **options
        )

    def close(self):
        codes = []
        for server in self.servers:
            if getattr(server, "process", None) and not server.ended:
                alive = server.process.poll() is None
                codes.append(server.stop() if alive else server.end())
        assert codes == [0] * len(codes), f"ended with {codes}"


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"

    @property
    def closes(self):
        return self.headers.get("connection", "").lower() == "close"

    def json(self):
        return json.loads(self.body)


class Raw:
    """A socket that sends just the bytes it is given and reads HTTP/1.1 responses."""

    def __init__(self, address, family=socket.AF_INET):
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all of it, or as much as the server takes before it closes."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def request(self, method, path, body=b"", headers=""):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: t\r\n{length}{headers}\r\n".encode() + body)

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def is_quiet(self, seconds):
        """Nothing comes, and the connection stays open, for so long."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def drain(self):
        """Reads, and drops, what comes until the server closes."""
        while self._more():
            self.buffer = b""

    def at_end(self):
        """Waits for the server to close; false if something else comes."""
        return not self.buffer and not self._more()

    def response(self, head_only=False):
        """The next response that is not 1xx, or None when the server has closed."""
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if not self._more():
                    assert not self.buffer, f"cut within a head: {self.buffer!r}"
                    return None
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            first, *fields = head.decode("latin-1").split("\r\n")
            matched = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]*", first)
            assert matched, f"not a status line: {first!r}"
            status = int(matched[1])
            headers = {}
            for field in fields:
                name, colon, value = field.partition(":")
                assert colon and re.fullmatch(r"[A-Za-z-]+", name), f"not a field: {field!r}"
                headers[name.lower()] = value.strip()
            if status >= 200:
                break
        length = 0 if head_only or status in (204, 304) else int(headers["content-length"])
        while len(self.buffer) < length:
            assert self._more(), f"cut within a body of {length}: {self.buffer[:200]!r}"
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Response(status, headers, body)
