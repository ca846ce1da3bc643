"""What is unusual about the bytes of an input, by name: the table of disagreements speaks of
these, not of single inputs, so that it covers what the fuzzer finds as well.

An input may have several; each looks at the bytes alone, and none judges.
"""

import re

METHODS = rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE)"
FIRST = rb"(?:\A|\r\n\r\n)(?:\r\n)*"  # where a request line may begin

PATTERNS = {
    "bare LF": rb"(?<!\r)\n",
    "bare CR": rb"\r(?!\n)",
    "folded line": rb"\n[ \t]",
    "empty line before a request": rb"\A[\r\n]|\r\n\r\n[\r\n]|[^\r\n]\r\n(?=[A-Z]+ [^\r\n]* HTTP/)",
    "blanks in the request line": rb"\A[^\r\n]*(?:\t|  | \r?\n)",
    "another version": rb"(?m) HTTP/(?!1\.[01]\r?\n)",
    "no version": rb"\A(?![^\n]* HTTP/)",
    "HTTP/1.0": rb" HTTP/1\.0\r",
    "another method": rb"\A(?:\r\n)*(?!PRI \*)[^ \r\n]+(?<!(?-i:GET|PUT))(?<!HEAD|POST)(?<!PATCH|TRACE)(?<!DELETE)(?<!OPTIONS|CONNECT) ",
    "preface of HTTP/2": rb"\APRI \* HTTP/2",
    "CONNECT": FIRST + rb"CONNECT ",
    "TRACE": FIRST + rb"TRACE ",
    "asterisk form": FIRST + METHODS + rb" \*",
    "absolute form": FIRST + rb"[^ \r\n]+ (?i:[a-z]+:/)",
    "no path as target": FIRST + rb"[^ \r\n]+ (?!/|\*|(?i:[a-z]+:/))",
    "a fragment": FIRST + rb"[^ \r\n]+ [^ \r\n]*#",
    "odd bytes in the target": FIRST + rb"[^ \r\n]+ [^ \r\n]*[\"<>\\{}|^`\x00-\x1f\x7f-\xff]",
    "percent in the target": FIRST + rb"[^ \r\n]+ [^ \r\n]*%",
    "dots in the target": FIRST + rb"[^ \r\n]+ [^ \r\n]*/(?:\.|(?i:%2e))",
    "odd Host": rb"(?im)^host:(?![ \t]*[a-z0-9_.-]*[a-z0-9](?::[0-9]{0,4})?[ \t]*\r?$)|^host:[^\r]*\.\.",
    "Host twice": rb"(?is)\nhost:[^\r\n]*\r\n(?:[^\r\n]+\r\n)*host:",
    "odd field name": rb"(?m)^(?![^\r\n]* HTTP/)[^:\r\n]*[^!#$%&'*+.^_`|~0-9A-Za-z:\r\n-][^:\r\n]*:|^:",
    "control byte": rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    "tab before a value": rb":[ ]*\t",
    "Content-Length twice": rb"(?is)\ncontent-length:[^\r\n]*\r\n(?:[^\r\n]+\r\n)*content-length:",
    "Content-Length as a list": rb"(?im)^content-length:[^\r\n]*,",
    "long Content-Length": rb"(?im)^content-length:[ \t]*[0-9]{8}",
    "Transfer-Encoding and Content-Length": rb"(?is)\A(?=.*\ntransfer-encoding:)(?=.*\ncontent-length:)",
    "Transfer-Encoding as a list": rb"(?im)^transfer-encoding:[^\r\n]*,",
    "another expectation": rb"(?im)^expect:(?!\s*100-continue\r)",
    "Connection": rb"(?im)^connection:",
    "Upgrade": rb"(?im)^upgrade:",
    "Proxy-Connection": rb"(?im)^proxy-connection:",
    "blank behind a chunk size": rb"\n[0-9a-fA-F]+[ \t]",
    "odd chunk extension": rb"\n[0-9a-fA-F]+[ \t]*;(?![a-zA-Z0-9]+(?:=(?:[a-zA-Z0-9]+|\"[^\"\r\n]*\"))?\r\n)",
    "chunk extension": rb"\n[0-9a-fA-F]+[ \t]*;",
    "long chunk size": rb"\n[0-9a-fA-F]{8}",
    "trailer": rb"\n0+[^\r\n]*\r?\n[^\r\n]",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
NAMES = {*PATTERNS, "many lines", "long", "no colon", "no Host", "chunk data of another size", "unfinished"}
FIELDS_MANY, BYTES_MANY = 60, 8000


def chunks_do_not_fit(data):
    """Whether a chunk's data does not end where its size says."""
    if not re.search(rb"(?i)\ntransfer-encoding:[^\r\n]*chunked", data):
        return False
    at = data.find(b"\r\n\r\n") + 4
    while found := re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]*\r?\n").match(data, at):
        size = int(found[1], 16)
        at = found.end() + size
        if size == 0:
            return False
        if at < len(data) and not data.startswith(b"\r\n", at):
            return True
        at += 2
    return False


def no_colon(data):
    """Whether a line of the first head, but its first, has none."""
    lines = re.split(rb"\r?\n", data.split(b"\r\n\r\n")[0].lstrip(b"\r\n"))
    return any(b":" not in line and line[:1] not in b" \t" for line in lines[1:])


def no_host(data):
    return len(re.findall(rb" HTTP/1\.[1-9]\r?\n", data)) > len(re.findall(rb"(?im)^host[ \t]*:", data))


def features(data):
    found = {name for name, pattern in COMPILED.items() if pattern.search(data)}
    if data.count(b"\n") > FIELDS_MANY:
        found.add("many lines")
    if len(data) > BYTES_MANY:
        found.add("long")
    if no_colon(data):
        found.add("no colon")
    if no_host(data):
        found.add("no Host")
    if chunks_do_not_fit(data):
        found.add("chunk data of another size")
    if not data.endswith(b"\r\n\r\n"):
        found.add("unfinished")
    return found
