"""Bad input of every kind is refused with its reason, and the server goes on."""

import concurrent.futures
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import time

import pytest

import running

MIB = 1 << 20
ROW = {"instances": [1.0, 2.0]}
PREDICT = "/v1/models/half_plus_two:predict"
INFER = "/v2/models/half_plus_two/infer"


def late(delay_ms, value=7, mode=0):
    return {"inputs": {"delay_ms": [delay_ms], "mode": [mode], "value": [value]}}


def head(length, path=PREDICT):
    return f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n".encode()


def small(weir, config, **options):
    return weir.serve(running.MODELS / "half_plus_two.onnx", config=config, **options)


# ---- messages ----


@pytest.mark.parametrize(
    "path, body",
    [
        (PREDICT, {"signature_name": "serving_default", "instances": [{"x": 1.5}, {"x": -2e3}]}),
        (PREDICT, {"inputs": {"x": [1.5, 2]}}),
        (
            INFER,
            {
                "id": "a",
                "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}],
            },
        ),
    ],
)
def test_a_body_cut_at_any_byte_is_refused(server, path, body):
    text = json.dumps(body).encode()
    assert server.post(path, text).status_code == 200
    for length in range(len(text)):
        answer = server.post(path, text[:length])
        assert answer.status_code == 400 and answer.json()["error"], text[:length]


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize("opening", ["[", '{"a":', '{"instances":', '{"inputs":[', "[{"])
def test_deep_nesting_is_refused(server, path, opening):
    for text in (
        opening * 200_000,
        '{"x":' + opening * 200_000,
        '{"instances":' + opening * 200_000,
    ):
        answer = server.post(path, text)
        assert answer.status_code == 400 and answer.json()["error"]
    assert server.alive()


@pytest.mark.parametrize(
    "shape", [[2**62], [2**40, 2**40], [2**63 - 1, 2], [2**64], [1e9], [10**9], [1] * 1000]
)
def test_a_huge_shape_takes_no_memory(server, shape):
    before = server.resident_bytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2]}
    answer = server.infer("half_plus_two", {"inputs": [tensor]})
    assert answer.status_code == 400 and answer.json()["error"]
    assert server.resident_bytes() - before < 4 * MIB


def test_shapes_of_nothing_are_refused(server):
    for text in (
        '{"instances": [[]]}',
        '{"inputs": []}',
        '{"inputs": [[], []]}',
        '{"instances": [{}]}',
    ):
        assert server.post("/v1/models/mlp:predict", text).status_code == 400, text


def test_text_that_is_no_utf8_is_refused(server):
    for path in (PREDICT, INFER):
        assert server.post(path, b'{"instances": ["\xff\xfe"]}').status_code == 400


# ---- limits ----


def test_a_body_above_the_limit_is_refused_before_it_comes(weir):
    server = small(weir, "server: {body_bytes_max: 1MiB}")
    with server.connect() as raw:
        raw.send(head(2 * MIB))
        answer = raw.response()
        assert answer.status == 413 and b"Content-Length" in answer.body
    with server.connect() as raw:
        raw.send(
            f"POST {PREDICT} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(20):
            raw.send(chunk)
        assert raw.response().status == 413
    padded = json.dumps(ROW).ljust(MIB)
    assert server.post(PREDICT, padded).status_code == 200
    assert server.post(PREDICT, padded + " ").status_code == 413
    assert server.post(PREDICT, ROW).status_code == 200


def test_bodies_above_what_all_may_hold_are_told_to_come_later(weir):
    server = small(weir, "server: {request_bytes_max: 1MiB}")
    with server.connect() as raw:
        raw.send(head(MIB - 9) + b"{")
        running.wait_until(
            lambda: server.metric("weir_http_request_in_flight_bytes") > 9, "the reservation"
        )
        answer = server.post(PREDICT, ROW)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert "request_bytes_max" in answer.headers["weir-reason"]
    running.wait_until(
        lambda: server.post(PREDICT, ROW).status_code == 200, "the reservation's end"
    )


def test_requests_above_the_limit_are_told_to_come_later(weir):
    server = weir.serve_late(config="server: {requests_max: 2}")
    with server.connect() as one, server.connect() as two:
        for raw in (one, two):
            raw.request("POST", "/v1/models/echo:predict", json.dumps(late(2000)).encode())
        running.wait_until(lambda: server.get("/v2").status_code == 429, "the limit")
        answer = server.get("/v2")
        assert answer.headers["retry-after"] == "1"
        assert "requests_max" in answer.headers["weir-reason"]
        # Who watches the server is answered all the same.
        assert server.get("/livez").status_code == 200
        assert server.get("/metrics").status_code == 200
        assert one.response().status == two.response().status == 200
    assert server.get("/v2").status_code == 200


def test_rows_above_the_queue_are_told_to_come_later(weir):
    server = weir.serve_late("--slots", 1, "--queue-depth-max", 1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.predict("echo", late(200)), range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert set(codes) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1" and "queue" in refused.json()["error"]
    assert server.metric("weir_model_rejected_total") == codes.count(429)


def test_a_large_request_is_not_bound_by_the_queue(weir):
    server = weir.serve(running.MODELS / "half_plus_two.onnx", "--queue-depth-max", 1)
    answer = server.predict("half_plus_two", {"instances": [1.0] * 1000})
    assert answer.json() == {"predictions": [2.5] * 1000}


# ---- slow and absent clients ----

SHORT = "server: {head_timeout: 300ms, body_timeout: 300ms, idle_timeout: 300ms}"


def drip(raw, data, seconds):
    """A byte now and then, until the server has had enough."""
    until = time.monotonic() + seconds
    for byte in data:
        raw.send(bytes([byte]))
        if not raw.is_quiet(0.05) or time.monotonic() > until:
            return


def test_a_head_that_comes_too_slowly_is_refused(weir):
    server = small(weir, SHORT)
    started = time.monotonic()
    with server.connect() as raw:
        drip(raw, b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 50, 10)
        answer = raw.response()
        assert answer.status == 408 and b"head_timeout" in answer.body and raw.at_end()
    assert time.monotonic() - started < 5
    assert server.alive()


def test_a_body_that_stops_is_refused(weir):
    server = small(weir, SHORT)
    for length in (50, 100_000):
        with server.connect() as raw:
            raw.send(head(length))
            raw.send(b'{"instances"')
            assert raw.response().status == 408 and raw.at_end()
    assert server.alive()


def test_an_idle_connection_is_closed_without_a_word(weir):
    server = small(weir, SHORT)
    with server.connect() as fresh, server.connect() as used:
        used.request("GET", "/livez")
        assert used.response().status == 200
        assert fresh.at_end() and used.at_end()


def test_a_client_that_goes_is_noticed_and_its_work_dropped(weir):
    server = weir.serve_late()
    body = json.dumps(late(60_000)).encode()
    for how in ("close", "reset"):
        raw = server.connect()
        raw.request("POST", "/v1/models/echo:predict", body)
        running.wait_until(
            lambda: server.metric('weir_http_requests_in_flight{server="http"}') == 1, "it"
        )
        if how == "reset":
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.socket.close()
        running.wait_until(
            lambda: server.metric('weir_http_requests_in_flight{server="http"}') == 0, "its end"
        )
    assert server.metric('weir_model_requests_total{model="echo",version="1",code="1"}') == 2
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 10


def test_a_client_that_goes_within_a_body_leaves_nothing_behind(weir):
    server = small(weir, "")
    for length in (100, 100_000, 10_000_000):
        for _ in range(5):
            with server.connect() as raw:
                raw.send(head(length) + b"{")

    def clear():
        return server.metric("weir_http_request_in_flight_bytes") == 0

    running.wait_until(clear, "reservations given back")
    assert server.post(PREDICT, ROW).status_code == 200


# ---- models ----


def test_a_corrupt_model_file_ends_the_start_with_its_reason():
    for name, extra in (
        ("corrupt.onnx", []),
        ("corrupt.late", ["--backends-path", running.TEST_BACKENDS]),
        ("sequence_output.onnx", []),
    ):
        done = running.run_weir("serve", running.MODELS / name, "--port", 0, *extra)
        assert done.returncode == 65, done.stderr
        assert name in done.stderr


def test_a_corrupt_model_of_a_folder_leaves_the_others_served(weir, tmp_path):
    shutil.copy(running.MODELS / "half_plus_two.onnx", tmp_path)
    shutil.copy(running.MODELS / "corrupt.onnx", tmp_path)
    (tmp_path / "cut.onnx").write_bytes((running.MODELS / "mlp.onnx").read_bytes()[:-100])
    (tmp_path / "empty.onnx").write_bytes(b"")
    server = weir.serve(tmp_path)
    assert server.predict("half_plus_two", ROW).json() == {"predictions": [2.5, 3.0]}
    for name in ("corrupt", "cut", "empty"):
        (version,) = server.get(f"/v1/models/{name}").json()["model_version_status"]
        assert version["state"] == "END" and version["status"]["error_code"] != "OK"
        assert f"{name}.onnx" in version["status"]["error_message"]
        assert server.predict(name, ROW).status_code == 404
        assert name in server.get("/").text
    assert len(server.events("model_load_failed")) == 3


def test_a_folder_whose_only_model_is_corrupt_is_served_all_the_same(weir, tmp_path):
    (tmp_path / "digits" / "3").mkdir(parents=True)
    shutil.copy(running.MODELS / "corrupt.onnx", tmp_path / "digits" / "3" / "model.onnx")
    server = weir.serve(tmp_path)
    assert server.get("/readyz").status_code == 200
    (version,) = server.get("/v1/models/digits").json()["model_version_status"]
    assert (version["version"], version["state"]) == ("3", "END")


def test_a_missing_or_empty_path_says_so(tmp_path):
    done = running.run_weir("serve", tmp_path / "nothing.onnx", "--port", 0)
    assert done.returncode == 66 and "nothing.onnx" in done.stderr
    done = running.run_weir("serve", tmp_path, "--port", 0)
    assert done.returncode == 66 and "MODEL/VERSION/model.onnx" in done.stderr
    (tmp_path / "model.bin").write_bytes(b"x")
    done = running.run_weir("serve", tmp_path / "model.bin", "--port", 0)
    assert done.returncode == 65 and ".onnx" in done.stderr
    os.mkfifo(tmp_path / "pipe.onnx")
    done = running.run_weir("serve", tmp_path / "pipe.onnx", "--port", 0)
    assert done.returncode != 0 and "neither a file nor a folder" in done.stderr


# ---- the process's own means ----


def test_descriptors_used_up_refuse_connections_and_no_more(weir):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))

    server = small(weir, "", preexec_fn=few)
    opened = []
    try:
        for _ in range(80):
            raw = socket.socket()
            raw.settimeout(running.PATIENCE)
            raw.connect(server.address)
            opened.append(raw)
        closed = running.wait_until(lambda: select.select(opened, [], [], 0)[0], "a refusal")
        assert all(raw.recv(1) == b"" for raw in closed)
    finally:
        for raw in opened:
            raw.close()
    # It has its descriptors back once it has seen that the others are gone.
    running.wait_until(server.alive, "an answer")
    assert server.post(PREDICT, ROW).status_code == 200


def test_connections_above_the_limit_are_closed_and_no_more(weir):
    server = small(weir, "server: {connections_max: 4}")
    kept = [server.connect() for _ in range(4)]
    for raw in kept:
        raw.request("GET", "/livez")
        assert raw.response().status == 200
    with server.connect() as beyond:
        beyond.send(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
        assert beyond.at_end()
    kept.pop().socket.close()

    def answered():
        with server.connect() as raw:
            raw.send(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
            return raw.response()

    assert running.wait_until(answered, "a free place").status == 200
    for raw in kept:
        raw.socket.close()


def test_a_second_server_on_the_port_fails_plainly(weir):
    server = small(weir, "")
    done = running.run_weir("serve", running.MODELS / "mlp.onnx", "--port", server.address[1])
    assert done.returncode == 69
    (line,) = [one for one in done.stderr.splitlines() if not one.startswith("{")]
    assert line.startswith("weir: ") and str(server.address[1]) in line and "--port" in line
    assert server.alive()


def garbage(rng):
    """Bytes, and whether they are a whole message that gets an answer."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 400)), False
    if kind == 1:
        body = rng.randbytes(rng.randrange(200))
        return head(len(body), rng.choice([PREDICT, INFER])) + body, True
    if kind == 2:
        text = bytearray(
            json.dumps({"inputs": [{"name": "x", "shape": [2], "data": [1, 2]}]}).encode()
        )
        for _ in range(rng.randrange(1, 6)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        return head(len(text), INFER) + text, True
    text = bytearray(b"GET /v1/models/half_plus_two/versions/1 HTTP/1.1\r\nHost: t\r\nA: b\r\n\r\n")
    for _ in range(rng.randrange(1, 4)):
        text[rng.randrange(len(text))] = rng.randrange(256)
    return bytes(text), False


def test_two_thousand_garbage_requests_change_nothing(weir):
    server = small(weir, "")
    rng = random.Random(20260101)

    def send(count):
        for _ in range(count):
            with server.connect() as raw:
                data, whole = garbage(rng)
                raw.send(data)
                if whole:
                    assert raw.response().status in (200, 400), data
                else:
                    raw.socket.shutdown(socket.SHUT_WR)
                    raw.drain()

    send(300)  # what is kept warm is warm by then
    before = server.resident_bytes()
    send(2000)
    assert server.post(PREDICT, ROW).json() == {"predictions": [2.5, 3.0]}
    grown = server.resident_bytes() - before
    assert grown < (64 if running.SANITIZED else 4) * MIB, f"grown by {grown} bytes"
    assert server.stop(signal.SIGTERM) == 0
