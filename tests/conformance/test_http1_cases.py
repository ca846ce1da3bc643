"""Every server-side case of http1_cases/ over real sockets."""

import re
from pathlib import Path

import pytest

import running

FOLDER = Path(__file__).parent / "http1_cases"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
# The limits of the codec by itself, which the cases are written for. A server has one key
# for the request line and the headers.
LIMITS = "server:\n  body_bytes_max: 64MiB\n  head_bytes_max: {}\n"
LINE_MAX, HEADERS_MAX = 8192, 32768
# A handler that reads the body, so that what is wrong with it is seen.
READER = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\n"


def unescape(text):
    out = b""
    for plain, hexadecimal, letter in re.findall(r"([^\\]+)|\\x([0-9a-fA-F]{2})|\\(.)", text):
        out += plain.encode() or (bytes([int(hexadecimal, 16)]) if hexadecimal else ESCAPES[letter])
    return out


def cases():
    for path in sorted(FOLDER.glob("*.cases")):
        for block in re.split(r"\n\s*\n", path.read_text()):
            head_max = LINE_MAX if "request-line" in path.name else HEADERS_MAX
            case = {"sent": b"", "messages": "1", "head_bytes_max": head_max}
            for line in block.splitlines():
                key, _, value = line.partition(":")
                value = value[1:]
                if line.startswith("#") or not line:
                    continue
                if key == "send":
                    case["sent"] += unescape(value)
                elif key == "repeat":
                    count, _, what = value.partition(" ")
                    case["sent"] += int(count) * unescape(what)
                else:
                    case[key] = value
            if "chunked" in path.name and case.get("expect") == "431":
                case["expect"] = "400"  # trailers: by then the handler has the exchange
            if "request-line" not in path.name:
                case["sent"] = case["sent"].replace(b"POST / HTTP/1.1\r\n", READER)
            if "case" in case and case.get("role") != "client":
                yield pytest.param(case, id=case["case"])


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    made = running.Weir(tmp_path_factory)
    model = running.MODELS / "half_plus_two.onnx"
    yield {n: made.serve(model, config=LIMITS.format(n)) for n in (LINE_MAX, HEADERS_MAX)}
    made.close()


def is_refusal(response):
    """By the message's form, not by what it asks for: net says why in plain text."""
    return (
        response.status >= 400
        and "weir-reason" in response.headers
        and response.headers["content-type"] == "text/plain"
    )


def check_refused(raw, case):
    status = int(case["expect"])
    responses = []
    while (response := raw.response()) is not None:
        responses.append(response)
        if is_refusal(response):
            break
    assert responses and responses[-1].status == status, responses
    assert not any(is_refusal(r) for r in responses[:-1]), responses
    if responses[-1].closes:
        assert raw.at_end()
    else:
        assert status in (413, 417)


def check_accepted(raw, case):
    head_only = case.get("method") == "HEAD"
    for _ in range(int(case["messages"])):
        response = raw.response(head_only)
        assert response and not is_refusal(response), response
    if "closes" in case:
        assert response.closes == (case["closes"] == "yes")
    if response.closes:
        assert raw.at_end()
    else:
        raw.request("GET", "/livez")
        assert raw.response().status == 200


def check_waiting(raw):
    """Nothing is refused. A handler that needs no body may have answered."""
    if not raw.is_quiet(0.05):
        assert not is_refusal(raw.response())


@pytest.mark.parametrize("case", list(cases()))
def test_each_message_is_accepted_or_refused_as_the_case_says(servers, case):
    http = servers[case["head_bytes_max"]]
    with http.connect() as raw:
        raw.send(case["sent"])
        if case["expect"] == "accept":
            check_accepted(raw, case)
        elif case["expect"] == "wait":
            check_waiting(raw)
        else:
            check_refused(raw, case)
    assert http.alive()
