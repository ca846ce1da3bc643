"""The program under test with preload.c in front of it, and a caller of it.

Where the program lies comes from WEIR_BUILD, as for the conformance tests; with a build
under AddressSanitizer, leaks and stray accesses count too.
"""

import contextlib
import functools
import mmap
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(os.environ.get("WEIR_SOURCE") or Path(__file__).resolve().parents[2])
sys.path.append(str(SOURCE / "tests" / "conformance"))
from certificates import LOCAL, Authority  # noqa: E402
BUILD = Path(os.environ.get("WEIR_BUILD") or SOURCE / "build")
PRELOAD = BUILD / "tests" / "faults" / "faults.so"
MODEL = SOURCE / "tests" / "fixtures" / "models" / "plus.arith"
BACKENDS = BUILD / "tests" / "conformance" / "backends"

# One list of the calls: preload.c's.
CALLS = re.findall(r"X\((\w+)\)", (Path(__file__).parent / "preload.c").read_text())
CALLS = CALLS[CALLS.index("memory") : CALLS.index("sched_getaffinity") + 1]
OWNERS = ("weir", "libuv", "libfyaml", "openssl", "c-ares")
KINDS = ("other", "socket")
SHORT = -1
CONTROL = "<QQQqQ"
COUNTS_AT = struct.calcsize(CONTROL)
CONTROL_BYTES = 65536


class Wrong(AssertionError):
    """What a point has shown to be wrong."""


# ---- the caller ----


def request(method, path, body=b"", fields=""):
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: t\r\n{fields}{length}\r\n".encode() + body


def predict(rows=2):
    column = ",".join(f"{i}.5" for i in range(1, rows + 1))
    body = f'{{"inputs":{{"a":[{column}],"b":[{column}]}}}}'.encode()
    return request("POST", "/v1/models/plus:predict", body)


PLAIN = predict()
METRICS = request("GET", "/metrics")


def whole_answers(data):
    """[(status, head, body)] of the whole answers at the front of `data`."""
    answers = []
    while True:
        head, mark, rest = data.partition(b"\r\n\r\n")
        if not mark:
            return answers
        if not re.match(rb"HTTP/1\.1 \d\d\d ", head):
            raise Wrong(f"no HTTP: {data[:200]!r}")
        status = int(head[9:12])
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        if status == 100:
            data = rest
            continue
        if not length:
            raise Wrong(f"an answer without a length: {head!r}")
        size = int(length[1])
        if len(rest) < size:
            return answers
        answers.append((status, head, rest[:size]))
        data = rest[size:]


class Pki:
    """An authority, two certificates for this machine, and the pair that is in force."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.pairs = [self.authority.sign(name, LOCAL) for name in ("first", "second")]
        self.cert, self.key = folder / "live.pem", folder / "live.key"
        self.trusting = ssl.create_default_context(cafile=self.authority.cert)
        self.distrusting = ssl.create_default_context()

    def put(self, which):
        shutil.copy(self.pairs[which][0], self.cert)
        shutil.copy(self.pairs[which][1], self.key)

    def der(self, which):
        return ssl.PEM_cert_to_DER_cert(self.pairs[which][0].read_text())


pki_of = functools.cache(Pki)  # by folder


def talk(address, data, wanted, patience=10.0, leaves=False, tls=None):
    """Sends, and gives the whole answers that come until there are enough or the end comes."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    got = b""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.settimeout(patience)
        try:
            sock.connect(address)
            if tls:
                sock = stack.enter_context(tls.wrap_socket(sock, server_hostname="localhost"))
            sock.sendall(data)
            while not leaves:
                piece = sock.recv(1 << 20)
                got += piece
                answers = whole_answers(got)
                if not piece or len(answers) >= wanted:
                    return answers
        except (ConnectionError, ssl.SSLError):
            pass  # an end; what is wrong with records never comes to an answer
        except TimeoutError:
            raise Wrong(f"neither an answer nor an end; {got[:200]!r}") from None
    return whole_answers(got)


# ---- the program ----


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Control:
    """The memory shared with preload.c."""

    def __init__(self, folder):
        self.path = folder / "control"
        self.path.write_bytes(bytes(CONTROL_BYTES))
        with self.path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), CONTROL_BYTES)

    def counts(self):
        slots = len(OWNERS) * len(KINDS) * len(CALLS)
        return struct.unpack_from(f"<{slots}Q", self.map, COUNTS_AT)

    def arm(self, slot, nth, error, on=False, fresh=False):
        """`fresh`: of a process that is yet to start, whose counts begin at 0."""
        if fresh:
            self.map[:] = bytes(CONTROL_BYTES)
        at = self.counts()[slot] + nth
        struct.pack_into("<QQqQ", self.map, 8, at, int(on), error, 0)
        struct.pack_into("<Q", self.map, 0, slot + 1)

    def disarm(self):
        struct.pack_into("<Q", self.map, 0, 0)
        return struct.unpack_from("<Q", self.map, 32)[0]

    def hits(self):
        return struct.unpack_from("<Q", self.map, 32)[0]

    def settle(self):
        """Until nothing has been called for a while: what a thread does afterwards, too."""
        before = self.counts()
        for _ in range(25):
            time.sleep(0.002)
            now = self.counts()
            if now == before:
                return
            before = now


def slot_key(slot):
    owner, rest = divmod(slot, len(KINDS) * len(CALLS))
    kind, call = divmod(rest, len(CALLS))
    return OWNERS[owner], CALLS[call], KINDS[kind]


class Program:
    """A running `weir serve` with preload.c in front."""

    def __init__(self, folder, fault=None, tls=False, forgives=None):
        """`forgives`: whose leaks do not count, in AddressSanitizer's words."""
        self.folder = folder
        self.control = Control(folder)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.admin = str(folder / f"weir-{self.port}.sock")
        self.notify_path = folder / "notify"
        self.log = folder / "weir.log"
        self.log.unlink(missing_ok=True)
        self.notify_path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.notify_path))
        self.held = None
        self.pki = pki_of(folder) if tls else None
        self.configure()
        if fault:
            self.control.arm(*fault, fresh=True)
        self.errors = folder / "stderr"
        env = {k: v for k, v in os.environ.items() if not k.startswith("LISTEN_")}
        env.pop("RUNTIME_DIRECTORY", None)
        env |= {
            "WEIR_FAULTS": str(self.control.path),
            "LD_PRELOAD": str(PRELOAD),
            "XDG_RUNTIME_DIR": str(folder),
            "NOTIFY_SOCKET": str(self.notify_path),
            "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:verify_asan_link_order=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
        if forgives:
            (folder / "leaks").write_text(f"leak:{forgives}\n")
            env["LSAN_OPTIONS"] = f"suppressions={folder / 'leaks'}:print_suppressions=0"
        command = [BUILD / "weir", "serve", "--config", folder / "weir.yaml", "--loops", "2"]
        self.process = subprocess.Popen(
            [*map(str, command), "--port", str(self.port)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors.open("wb"),
        )

    def configure(self, body_max="4MiB"):
        """What is in force, or what the next reload finds; then with another certificate."""
        tls = ""
        if self.pki:
            self.pki.put(int(body_max == "1KiB"))
            tls = f", tls: {{certificate: {self.pki.cert}, key: {self.pki.key}}}"
        (self.folder / "weir.yaml").write_text(
            "version: 1\n"
            f"models: {{path: {MODEL}, backends_path: {BACKENDS}, engines_path: /none}}\n"
            f"log: {{path: {self.log}}}\n"
            f"server: {{access_log: all, body_bytes_max: {body_max}{tls}}}\n"
        )

    def begin_tls(self):
        """With the next reload."""
        self.pki = pki_of(self.folder)
        self.configure()

    def talk(self, data, wanted, **options):
        return talk(self.address, data, wanted, tls=self.pki and self.pki.trusting, **options)

    def text(self):
        return self.errors.read_text(errors="replace")

    def wait_ready(self, patience=10.0):
        """True once it answers; False when it has ended."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if self.process.poll() is not None:
                return False
            try:
                answers = self.talk(request("GET", "/readyz"), 1, patience=2.0)
                if answers and answers[0][0] == 200:
                    return True
            except (OSError, Wrong):
                pass
            time.sleep(0.001)
        raise Wrong(f"neither ready nor ended; {self.text()[-2000:]}")

    def certificate(self):
        with socket.create_connection(self.address, 10) as sock:
            with self.pki.trusting.wrap_socket(sock, server_hostname="localhost") as secure:
                return secure.getpeercert(binary_form=True)

    def hold(self):
        """An idle connection on loop 0, so that the next ones are handed to loop 1."""
        self.held = socket.create_connection(self.address)
        self.control.settle()

    def warm(self):
        """Both loops have had a connection, for the first of which libuv opens a file. Gives
        the counters once they stand still."""
        with socket.create_connection(self.address):
            self.talk(PLAIN, 1)
            self.talk(PLAIN, 1)
        same, before = 0, None
        while same < 3:
            self.control.settle()
            now = self.counters()
            same = same + 1 if now == before else 0
            before = now
        return now

    def signal(self, number):
        self.process.send_signal(number)

    def told(self, patience):
        """What it has told its supervisor within a time; "" for nothing."""
        self.notify.settimeout(patience)
        try:
            return self.notify.recv(4096).decode()
        except TimeoutError:
            return ""

    def reload(self):
        """HUP, until it says that it is over, or a while."""
        self.notify.setblocking(False)
        try:
            while self.notify.recv(4096):
                pass
        except BlockingIOError:
            pass
        self.signal(signal.SIGHUP)
        while (state := self.told(0.2)) and "READY=1" not in state:
            pass

    def end(self):
        """TERM, and that it ends well."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self, expected=0):
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            raise Wrong("it does not end") from None
        text = self.text()
        if re.search(r"Sanitizer|runtime error:", text):
            raise Wrong(text[-4000:])
        if expected is not None and code != expected:
            raise Wrong(f"ended with {code}: {text[-2000:]}")
        return code

    def close(self):
        if self.held:
            self.held.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notify.close()

    # ---- right afterwards ----

    def counters(self):
        """What must be as before: (descriptors, connections, ...)."""
        answers = self.talk(METRICS, 1)
        if not answers or answers[0][0] != 200:
            raise Wrong("no metrics afterwards")
        text = answers[0][2].decode()

        def number(name):
            return sum(map(float, re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)))

        return tuple(
            number(name)
            for name in (
                "process_open_fds",
                'weir_http_connections{server="http"}',
                'weir_http_connections{server="admin"}',
                'weir_http_requests_in_flight{server="http"}',
                'weir_http_request_in_flight_bytes{server="http"}',
                'weir_model_queue_rows{model="plus",version="1"}',
            )
        )

    def check(self, before):
        if self.process.poll() is not None:
            raise Wrong(f"it ended with {self.process.returncode}: {self.text()[-3000:]}")
        answers = self.talk(PLAIN, 1)
        if not answers or answers[0][0] != 200 or b"3.0" not in answers[0][2]:
            raise Wrong(f"the next request: {answers}")
        until = time.monotonic() + 5
        while (now := self.counters()) != before:
            if time.monotonic() > until:
                raise Wrong(f"counters were {before} and are {now}")
            time.sleep(0.005)
