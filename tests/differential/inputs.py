"""What is sent: the cases of tests/conformance/http1_cases, the corpus of the fuzz target
for requests, and variations of a few requests made here. All by name, always the same."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = HERE.parent / "conformance" / "http1_cases"
CORPUS = HERE.parent / "corpus" / "http1_request"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def unescape(text):
    out = b""
    for plain, hexadecimal, letter in re.findall(r"([^\\]+)|\\x([0-9a-fA-F]{2})|\\(.)", text):
        out += plain.encode() or (bytes([int(hexadecimal, 16)]) if hexadecimal else ESCAPES[letter])
    return out


def cases():
    for path in sorted(CASES.glob("*.cases")):
        for block in re.split(r"\n\s*\n", path.read_text()):
            name, sent, client = None, b"", False
            for line in block.splitlines():
                key, _, value = line.partition(": ")
                if key == "case":
                    name = value
                elif key == "send":
                    sent += unescape(value)
                elif key == "repeat":
                    count, _, what = value.partition(" ")
                    sent += int(count) * unescape(what)
                elif key == "role":
                    client = value == "client"
            if name and not client:
                yield f"case/{name}", sent


def corpus():
    for path in sorted(CORPUS.iterdir()):
        yield f"corpus/{path.name}", path.read_bytes()


def get(first=b"GET / HTTP/1.1\r\n", fields=b"Host: a\r\n", end=b"\r\n", behind=NEXT):
    return first + fields + end + behind


def post(fields, body=b"hello", behind=NEXT):
    return b"POST /p HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body + behind


def chunked(body, behind=NEXT):
    return post(b"Transfer-Encoding: chunked\r\n", body, behind)


def printable(value):
    return "".join(chr(b) if 0x20 < b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in value)


def lengths():
    for value in (
        b"5", b"05", b"+5", b"-5", b"5 ", b" 5", b"\t5", b"0x5", b"5.0", b"5,5", b"5, 5", b"5,6", b"5;", b"5 5",
        b"", b" ", b"five", b"5\x0b", b"\x0b5", b"5\0", b"5_0", b"18446744073709551621", b"9223372036854775813",
        b"00000000000000000000005", b"\"5\"", b"\xef\xbc\x95",
    ):
        yield f"length/{printable(value)}", post(b"Content-Length: " + value + b"\r\n")
    twice = b"Content-Length: 5\r\nContent-Length: %b\r\n"
    for value in (b"5", b"6", b"0", b"05"):
        yield f"length/5 and {value.decode()}", post(twice % value)
    yield "length/in lower case twice", post(b"content-length: 5\r\nCONTENT-LENGTH: 5\r\n")
    yield "length/with underscore", post(b"Content_Length: 5\r\n", b"")


def codings():
    for value in (
        b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked", b"chunked,", b",chunked", b"chunked, chunked",
        b"gzip, chunked", b"chunked, gzip", b"identity", b"identity, chunked", b"chunked, identity", b"xchunked",
        b"chunked;a=b", b"\x0bchunked", b"chunked\x0b", b"\"chunked\"", b"", b"chunk", b"chunked\0", b"gzip", b"x,chunked",
    ):
        yield f"coding/{printable(value)}", post(b"Transfer-Encoding: " + value + b"\r\n", b"5\r\nhello\r\n0\r\n\r\n")
        yield (
            f"coding and length/{printable(value)}",
            post(b"Transfer-Encoding: " + value + b"\r\nContent-Length: 15\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        )
    two = b"Transfer-Encoding: %b\r\nTransfer-Encoding: %b\r\n"
    for one, other in ((b"chunked", b"chunked"), (b"gzip", b"chunked"), (b"chunked", b"identity")):
        yield f"coding/{one.decode()} and {other.decode()}", post(two % (one, other), b"5\r\nhello\r\n0\r\n\r\n")
    old = b"POST /p HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    yield "coding/in HTTP/1.0", old
    yield "coding/Transfer_Encoding", post(b"Transfer_Encoding: chunked\r\n", b"")


def chunks():
    for line in (
        b"5", b"05", b"0000000000000005", b"00000000000000005", b"5 ", b" 5", b"5\t", b"0x5", b"+5", b"-5", b"5;", b"5;a", b"5;a=b",
        b"5;a=\"b\"", b"5;a=\"b;c\"", b"5; a=b", b"5 ;a=b", b"5;a = b", b"5;;", b"5;a=\"b", b"5;\0", b"5;\x80", b"5;\x01", b"5;\r", b"5;\n",
        b"g", b"", b"5g", b"5_", b"10000000000000005", b"8000000000000000", b"ffffffffffffffff", b"5\x0b", b"5,", b"5;" + b"a" * 200,
    ):
        yield f"chunk/{printable(line)[:40]}", chunked(line + b"\r\nhello\r\n0\r\n\r\n")
    for name, body in (
        ("LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
        ("LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
        ("CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
        ("CR behind the data", b"5\r\nhello\r0\r\n\r\n"),
        ("nothing behind the data", b"5\r\nhello0\r\n\r\n"),
        ("more data than announced", b"5\r\nhelloo\r\n0\r\n\r\n"),
        ("less data than announced", b"5\r\nhell\r\n0\r\n\r\n"),
        ("LF behind the last size", b"5\r\nhello\r\n0\n\r\n"),
        ("LF at the very end", b"5\r\nhello\r\n0\r\n\n"),
        ("CR CR LF at the end", b"5\r\nhello\r\n0\r\n\r\r\n"),
        ("last chunk of many zeros", b"5\r\nhello\r\n000\r\n\r\n"),
        ("last chunk with an extension", b"5\r\nhello\r\n0;a=b\r\n\r\n"),
        ("a trailer", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        ("a trailer with LF", b"5\r\nhello\r\n0\r\nX: y\n\r\n"),
        ("a trailer without a colon", b"5\r\nhello\r\n0\r\nXy\r\n\r\n"),
        ("a trailer with a space before its colon", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
        ("a folded trailer", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("Content-Length as a trailer", b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"),
        ("Transfer-Encoding as a trailer", b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("Host as a trailer", b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n"),
        ("a NUL in a trailer", b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
    ):
        yield f"chunk/{name}", chunked(body)


def lines():
    for first in (
        b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\r\n", b"GET / HTTP/1.1 \r\n", b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n", b"GET\t/ HTTP/1.1\r\n", b"GET /\tHTTP/1.1\r\n", b"GET / HTTP/1.1\t\r\n", b"GET / http/1.1\r\n",
        b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.2\r\n", b"GET / HTTP/1.9\r\n", b"GET / HTTP/2.0\r\n", b"GET / HTTP/0.9\r\n", b"GET / HTTP/1\r\n",
        b"GET / HTTP/1.10\r\n", b"GET / HTTP/01.1\r\n", b"GET / HTTP/1,1\r\n", b"GET / HTTP/+1.1\r\n", b"GET / HTTPS/1.1\r\n", b"GET /\r\n", b"GET\r\n",
        b"GET / XTTP/1.1\r\n", b"GET / HTTP/1.1x\r\n", b"get / HTTP/1.1\r\n", b"Get / HTTP/1.1\r\n", b"BREW / HTTP/1.1\r\n",
        b"M-SEARCH / HTTP/1.1\r\n", b"G=T / HTTP/1.1\r\n", b"G@T / HTTP/1.1\r\n", b"G\x80T / HTTP/1.1\r\n", b"G\0T / HTTP/1.1\r\n",
        b"!#$%&'*+-.^_`|~ / HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET * HTTP/1.1\r\n", b"TRACE / HTTP/1.1\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n", b"CONNECT / HTTP/1.1\r\n", b"CONNECT a HTTP/1.1\r\n", b"GET a:80 HTTP/1.1\r\n", b"GET a HTTP/1.1\r\n",
        b"GET http://a/x HTTP/1.1\r\n", b"GET http://b/x HTTP/1.1\r\n", b"GET HTTP://a/x HTTP/1.1\r\n", b"GET https://a/x HTTP/1.1\r\n",
        b"GET http://a HTTP/1.1\r\n", b"GET http://a?q HTTP/1.1\r\n", b"GET http:///x HTTP/1.1\r\n", b"GET http://u@a/x HTTP/1.1\r\n", b"GET ftp://a/x HTTP/1.1\r\n",
        b"GET http:/x HTTP/1.1\r\n", b"GET //x HTTP/1.1\r\n", b"GET /#f HTTP/1.1\r\n", b"GET /a#b?c HTTP/1.1\r\n", b"GET /\x80 HTTP/1.1\r\n", b"GET /\0 HTTP/1.1\r\n",
        b"GET /\x01 HTTP/1.1\r\n", b"GET /\x7f HTTP/1.1\r\n", b"GET /\" HTTP/1.1\r\n", b"GET /<> HTTP/1.1\r\n", b"GET /\\ HTTP/1.1\r\n", b"GET /{|}^` HTTP/1.1\r\n",
        b"GET /%zz HTTP/1.1\r\n", b"GET /%00 HTTP/1.1\r\n", b"GET /%2e%2e/x HTTP/1.1\r\n", b"GET /../x HTTP/1.1\r\n", b"GET /a/../../x HTTP/1.1\r\n", b"GET ?q HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n",
    ):
        yield f"line/{printable(first)}", get(first)
    for name, before in (
        ("CRLF", b"\r\n"), ("CRLF CRLF", b"\r\n\r\n"), ("LF", b"\n"), ("CR", b"\r"), ("a space", b" "),
        ("many CRLF", b"\r\n" * 10), ("a NUL", b"\0"), ("a BOM", b"\xef\xbb\xbf"),
    ):
        yield f"before/{name}", before + get()
        yield f"between/{name}", get(behind=before + NEXT)


def fields():
    for field in (
        b"X: y", b"X:y", b"X:  y  ", b"X:", b"X", b"X y", b": y", b"X : y", b"X\t: y", b" X: y", b"X\0: y", b"X\x80: y", b"X(: y", b"X\x01: y",
        b"X: \0", b"X: a\0b", b"X: \x01", b"X: \x7f", b"X: \x80", b"X: a\x0bb", b"X: a\tb", b"X: y\r", b"X: a\rb", b"X: y\n z", b"X: y\r\n z", b"X: y\r\n\tz",
        b"X: y\r\n ", b"X: y\r\n \r\n z", b"X: y\nZ: z", b"X_y: z", b"X: " + b"y" * 5000, b"Connection: close", b"Connection: Close", b"Connection: keep-alive",
        b"Connection: close, keep-alive", b"Connection: x, close", b"Connection: ,close", b"Connection: \"close\"", b"Keep-Alive: timeout=5",
        b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: x", b"Expect: ", b"Upgrade: websocket", b"Connection: upgrade\r\nUpgrade: foo",
        b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"TE: trailers", b"TE: gzip", b"Trailer: X", b"Proxy-Connection: close",
        b"Connection: host",
    ):
        yield f"field/{printable(field)[:60]}", get(fields=b"Host: a\r\n" + field + b"\r\n")
        yield f"field first/{printable(field)[:60]}", get(fields=field + b"\r\nHost: a\r\n")
        if field.lower().startswith((b"expect", b"connection", b"upgrade")):
            yield f"field with a body/{printable(field)[:60]}", post(field + b"\r\nContent-Length: 5\r\n")


def hosts():
    for value in (
        b"a", b"A.B", b"a:80", b"a:", b"a:0", b"a:65536", b"a:x", b":80", b"", b" ", b"a b", b"a,b", b"a/b", b"a?b", b"a#b", b"u@a", b"[::1]", b"[::1]:80", b"[::1", b"::1",
        b"a\x80", b"a\0", b"a\tb", b"http://a", b"a%41", b"a%", b"a_b", b"a..b", b"127.0.0.1", b"a\\b", b"a;b", b"\"a\"", b"a:80:80", b"*",
    ):
        yield f"host/{printable(value)}", get(fields=b"Host: " + value + b"\r\n")
    for name, text in (
        ("none", b""), ("twice the same", b"Host: a\r\nHost: a\r\n"), ("two", b"Host: a\r\nHost: b\r\n"),
        ("in lower case", b"host: a\r\n"), ("with a space before the colon", b"Host : a\r\n"), ("folded", b"Host:\r\n a\r\n"),
    ):
        yield f"host {name}", get(fields=text)
        yield f"host {name} beside an absolute form", get(b"GET http://a/x HTTP/1.1\r\n", text)
    yield "host none in HTTP/1.0", get(b"GET / HTTP/1.0\r\n", b"", behind=b"")
    yield "host twice in HTTP/1.0", get(b"GET / HTTP/1.0\r\n", b"Host: a\r\nHost: b\r\n", behind=b"")


def ends():
    yield "end/LF", get(end=b"\n")
    yield "end/CR", get(end=b"\r")
    yield "end/CR CR LF", get(end=b"\r\r\n")
    yield "end/LF everywhere", get().replace(b"\r\n", b"\n")
    yield "end/LF behind a field", get(fields=b"Host: a\n")
    yield "end/CR everywhere", get().replace(b"\r\n", b"\r")


def methods():
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"BREW"):
        target = b"a:80" if method == b"CONNECT" else b"/m"
        head = method + b" " + target + b" HTTP/1.1\r\nHost: a:80\r\n"
        yield f"method/{method.decode()}", head + b"\r\n" + NEXT
        yield f"method/{method.decode()} with a body", head + b"Content-Length: 5\r\n\r\nhello" + NEXT
        yield f"method/{method.decode()} with a length of 0", head + b"Content-Length: 0\r\n\r\n" + NEXT


def all_inputs(with_corpus=True):
    found, seen = {}, set()
    sources = [cases, lengths, codings, chunks, lines, fields, hosts, ends, methods]
    for made in [*sources, corpus] if with_corpus else sources:
        for name, data in made():
            if data not in seen and data:
                seen.add(data)
                found[name] = data
    return found
