"""What the program is asked to do while one of its calls fails, and what is right then."""

import contextlib
import re
import signal
import socket
import time

from program import METRICS, PLAIN, Wrong, predict, request, talk


class Requests:
    """A connection with these bytes, and the answers that it gets without a fault."""

    def __init__(self, name, data, *expected, loop=0, admin=False, leaves=False, tls=False):
        self.name, self.data, self.expected = name, data, expected
        self.loop, self.admin, self.leaves, self.tls = loop, admin, leaves, tls

    def begin(self, program):
        if self.loop:
            program.hold()

    def run(self, program):
        if self.admin:
            return talk(program.admin, self.data, len(self.expected))
        return program.talk(self.data, len(self.expected), leaves=self.leaves)

    def judge(self, program, answers, faultless):
        if faultless and not self.leaves and len(answers) < len(self.expected):
            raise Wrong(f"without a fault: {answers}")
        for (status, head, body), (wanted, has) in zip(answers, self.expected, strict=False):
            right = status == wanted and has in body
            error = status in (429, 500, 503) and re.search(rb"\r\nContent-Type: ", head)
            if not right and (faultless or not error):
                raise Wrong(f"answered {status} {body[:300]!r}, expected {wanted}")


class BadHandshakes:
    """Callers that do not trust the certificate, or do not speak TLS."""

    name = "TLS, handshakes fail"
    tls = True

    def begin(self, program):
        pass

    def run(self, program):
        answers = talk(program.address, PLAIN, 1, tls=program.pki.distrusting)
        return answers + talk(program.address, b"\x16\x03\x01\x00\x05hello", 1)

    def judge(self, program, answers, faultless):
        if answers:
            raise Wrong(f"answered {answers}")


class Reload:
    def __init__(self, name, tls=False):
        self.name, self.tls = name, tls

    def begin(self, program):
        pass

    def run(self, program):
        program.configure("1KiB")
        program.reload()

    def judge(self, program, result, faultless):
        """Whatever became of it, the next one holds."""
        for body_max, wanted in (("1KiB", 413), ("4MiB", 200)):
            program.configure(body_max)
            program.reload()
            until = time.monotonic() + 5
            while (answers := program.talk(predict(500), 1)) and answers[0][0] != wanted:
                if time.monotonic() > until:
                    raise Wrong(f"after the next reload: {answers[0][0]}, expected {wanted}")
                time.sleep(0.005)
            if self.tls and program.certificate() != program.pki.der(int(body_max == "1KiB")):
                raise Wrong("the next reload has not taken the certificate")


class FirstTls:
    """TLS begins with a reload, and OpenSSL with it; a process each."""

    name = "TLS begun (HUP)"

    def run(self, program):
        program.begin_tls()
        program.reload()

    def judge(self, program):
        """The next reload takes it; or OpenSSL has not come up, which it tries once, and all
        stays as it was."""
        program.reload()
        answers = program.talk(PLAIN, 1)
        if not answers:
            answers = talk(program.address, PLAIN, 1)
            if "TLS context" not in program.log.read_text():
                raise Wrong("no TLS, and no word of it")
        if not answers or answers[0][0] != 200:
            raise Wrong(f"after the next reload: {answers}")


class Reopen:
    name = "log reopened (USR1)"
    tls = False

    def begin(self, program):
        pass

    def rotate(self, program, patience):
        program.log.rename(program.log.with_suffix(".1"))
        program.signal(signal.SIGUSR1)
        until = time.monotonic() + patience
        while not program.log.exists() and time.monotonic() < until:
            time.sleep(0.001)
            program.talk(request("GET", "/livez"), 1)

    def run(self, program):
        self.rotate(program, 0.05)

    def judge(self, program, result, faultless):
        if not program.log.exists():
            program.log.touch()
        self.rotate(program, 5)
        if not program.log.exists():
            raise Wrong("the next USR1 opened no log")
        size = program.log.stat().st_size
        program.talk(request("GET", "/livez"), 1)
        until = time.monotonic() + 5
        while program.log.stat().st_size == size:
            if time.monotonic() > until:
                raise Wrong("nothing is logged after the next USR1")
            time.sleep(0.002)


class Drain:
    """TERM while a request runs; the process ends by itself."""

    name = "drain (TERM)"

    def run(self, program):
        with socket.create_connection(program.address) as sock:
            sock.settimeout(5)
            data = predict(20000)
            with contextlib.suppress(ConnectionError):
                sock.sendall(data[:-10])
            program.signal(signal.SIGTERM)
            time.sleep(0.005)
            try:
                sock.sendall(data[-10:])
                while sock.recv(1 << 20):
                    pass
            except ConnectionError:
                pass
            except TimeoutError:
                raise Wrong("a drain without an end") from None


class Start:
    """From the first instruction to ready; then a request, TERM and the end."""

    name = "start"


def chunked(data, size=30000):
    head, _, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


INFER = request(
    "POST",
    "/v2/models/plus/infer",
    b'{"inputs":[{"name":"a","datatype":"FP32","shape":[2],"data":[1,3]},'
    b'{"name":"b","datatype":"FP32","shape":[2],"data":[2,4]}]}',
)
ERRORS = (
    request("GET", "/nowhere")
    + request("POST", "/v1/models/absent:predict", b"{}")
    + request("POST", "/v1/models/plus:predict", b"{")
)

SCENARIOS = [
    Requests("predict", PLAIN, (200, b"3.0")),
    Requests("infer, loop 1", INFER, (200, b"outputs"), loop=1),
    Requests("predict 300 kB", predict(30000), (200, b"outputs"), loop=1),
    Requests("predict chunked", chunked(predict(9000)), (200, b"outputs")),
    Requests("pipelined", PLAIN + INFER + PLAIN, (200, b"3.0"), (200, b"outputs"), (200, b"3.0")),
    Requests("errors", ERRORS, (404, b""), (404, b"absent"), (400, b"")),
    Requests(
        "health and metrics",
        request("GET", "/readyz?verbose") + METRICS,
        (200, b"[+]"),
        (200, b"weir_"),
    ),
    Requests("page", request("GET", "/", fields="Accept: text/html\r\n"), (200, b"</html>")),
    Requests("admin socket", METRICS, (200, b"weir_"), admin=True),
    Requests("caller leaves", predict(30000), (200, b""), loop=1, leaves=True),
    Requests(
        "TLS, kept alive", PLAIN + INFER, (200, b"3.0"), (200, b"outputs"), tls=True
    ),
    Requests("TLS, predict 300 kB", predict(30000), (200, b"outputs"), tls=True),
    BadHandshakes(),
    Reload("TLS, reload (HUP)", tls=True),
    Reload("reload (HUP)"),
    Reopen(),
    Start(),
    Drain(),
    FirstTls(),
]
