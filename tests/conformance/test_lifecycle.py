"""Start, readiness, signals, reload, drain and end of a process."""

import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import running

HALF = running.MODELS / "half_plus_two.onnx"
ROW = {"instances": [2.0]}
# A drain or a stop that does not wait for anything.
AT_ONCE = 10


def late(delay_ms):
    return {"inputs": {"delay_ms": [delay_ms], "mode": [0], "value": [7]}}


class Asking(threading.Thread):
    """A prediction on its way; `answer` is its response, or None when the connection broke."""

    def __init__(self, server, delay_ms):
        super().__init__()
        self.raw, self.answer = server.connect(), None
        body = json.dumps(late(delay_ms)).encode()
        self.raw.request("POST", "/v1/models/echo:predict", body)
        running.wait_until(
            lambda: server.metric('weir_http_requests_in_flight{server="http"}') == 1, "the request"
        )
        self.start()

    def run(self):
        with self.raw:
            self.answer = self.raw.response()

    def result(self):
        self.join(running.PATIENCE)
        assert not self.is_alive()
        return self.answer


@pytest.fixture
def timed():
    started = time.monotonic()
    return lambda: time.monotonic() - started


def refuses(address):
    try:
        socket.create_connection(address, timeout=running.PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # just being closed
    return False


# ---- health ----


def test_health_answers_ok_and_tells_its_checks_when_asked(server):
    for path in ("/livez", "/readyz", "/healthz"):
        answer = server.get(path)
        assert (answer.status_code, answer.text) == (200, "ok")
    answer = server.get("/healthz?verbose").text.splitlines()
    count = len(list(running.MODELS.glob("*.onnx")))
    # Two of them are bad.
    models = f"[+]models ok: {count - 2} of {count} available"
    assert answer == ["[+]loops ok", "[+]lifecycle ok", models, "healthz check passed"]
    assert server.get("/livez?verbose").text.splitlines() == ["[+]loops ok", "livez check passed"]
    assert server.get("/readyz?verbose=false").text == "ok"


def test_it_is_live_but_not_ready_while_models_load(weir, tmp_path):
    (tmp_path / "slow.late").write_text("late 1\nload_ms 700\n")
    server = weir.serve(tmp_path, "--backends-path", running.TEST_BACKENDS, wait="listening")
    assert server.get("/livez").status_code == 200
    answer = server.get("/readyz")
    assert answer.status_code == 503 and "[-]lifecycle failed" in answer.text
    assert server.get("/v2/health/ready").status_code == 400
    assert server.infer("slow", {}).status_code == 503
    (version,) = server.get("/v1/models/slow").json()["model_version_status"]
    assert version["state"] in ("START", "LOADING")
    running.wait_until(lambda: server.get("/readyz").status_code == 200, "readiness")
    assert server.get("/v2/health/ready").status_code == 200
    assert server.predict("slow", late(1)).status_code == 200


def test_a_stop_while_models_load_is_heeded(weir, tmp_path, timed):
    (tmp_path / "slow.late").write_text("late 1\nload_ms 500\n")
    server = weir.serve(tmp_path, "--backends-path", running.TEST_BACKENDS, wait="listening")
    assert server.stop() == 0
    assert timed() < AT_ONCE


# ---- stopping ----


def test_a_request_in_flight_is_finished_before_the_end(weir):
    server = weir.serve_late()
    asking = Asking(server, 500)
    server.kill(signal.SIGTERM)
    running.wait_until(lambda: refuses(server.address), "the listener's end")
    answer = asking.result()
    assert answer.status == 200 and answer.closes
    assert server.end() == 0
    assert server.events("server_stopped")[0]["cut"] == 0


def test_what_is_stuck_is_cut_at_the_drain_timeout(weir, timed):
    server = weir.serve_late("--drain-timeout", "200ms")
    asking = Asking(server, 60_000)
    assert server.stop() == 3
    assert asking.result() is None
    assert server.events("server_stopped")[0]["cut"] == 1
    assert timed() < AT_ONCE


def test_lame_duck_answers_while_it_is_not_ready(weir):
    server = weir.serve(HALF, "--lame-duck", "600ms")
    server.kill(signal.SIGTERM)
    server.event("server_draining")
    for _ in range(3):
        with server.connect() as raw:
            raw.request("GET", "/readyz")
            assert raw.response().status == 503
        assert server.predict("half_plus_two", ROW).json() == {"predictions": [3.0]}
    assert server.end() == 0


def test_an_interrupt_skips_lame_duck(weir, timed):
    server = weir.serve(HALF, "--lame-duck", "60s")
    assert server.stop(signal.SIGINT) == 0
    assert timed() < AT_ONCE


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(weir, timed, second):
    server = weir.serve_late()
    asking = Asking(server, 60_000)
    server.kill(signal.SIGTERM)
    server.event("server_draining")
    assert server.stop(second) == 3
    assert asking.result() is None
    assert timed() < AT_ONCE


def test_a_second_signal_with_nothing_in_flight_cuts_nothing(weir, timed):
    server = weir.serve(HALF, "--lame-duck", "60s")
    server.kill(signal.SIGTERM)
    server.event("server_draining")
    assert server.stop() == 0
    assert timed() < AT_ONCE


def test_idle_connections_do_not_delay_the_end(weir, timed):
    server = weir.serve(HALF)
    used, fresh = server.connect(), server.connect()
    used.request("GET", "/livez")
    assert used.response().status == 200
    assert server.stop() == 0
    assert used.at_end() and fresh.at_end()
    assert timed() < AT_ONCE


# ---- reload ----


def test_hup_takes_over_limits_and_log_level(weir):
    server = weir.serve(HALF, config="server: {body_bytes_max: 1MiB}\n")
    body = json.dumps(ROW).ljust(5000)
    assert server.post("/v1/models/half_plus_two:predict", body).status_code == 200
    server.configure("server: {body_bytes_max: 1KiB}\n")
    server.kill(signal.SIGHUP)
    reloaded = server.event("config_reloaded")
    assert (reloaded["changes"], reloaded["after_restart"]) == (1, 0)
    running.wait_until(
        lambda: server.post("/v1/models/half_plus_two:predict", body).status_code == 413,
        "the new limit",
    )
    server.configure("server: {body_bytes_max: 1MiB}\nlog: {level: error}\n")
    server.kill(signal.SIGHUP)
    running.wait_until(
        lambda: server.post("/v1/models/half_plus_two:predict", body).status_code == 200,
        "the old limit",
    )
    assert server.stop() == 0
    assert not server.events("server_stopped"), "info is logged no more"


def test_hup_with_a_broken_file_keeps_what_was(weir):
    server = weir.serve(HALF, config="server:\n  body_bytes_max: 1KiB\n")
    for text, place in (
        ("server:\n  body_bytes_max: much\n", ":3:19:"),
        ("server:\n  nonsense: 1\n", ":3:3:"),
        ("server: [\n", ":3:1:"),
    ):
        server.configure(text)
        refused = len(server.events("config_refused"))
        server.kill(signal.SIGHUP)
        message = server.event("config_refused", refused + 1)["message"]
        assert str(server.config) + place in message, message
    server.config.unlink()
    refused = len(server.events("config_refused"))
    server.kill(signal.SIGHUP)
    assert "weir.yaml" in server.event("config_refused", refused + 1)["message"]
    body = json.dumps(ROW).ljust(5000)
    assert server.post("/v1/models/half_plus_two:predict", body).status_code == 413
    assert server.predict("half_plus_two", ROW).status_code == 200
    assert not server.events("config_reloaded")


def test_hup_says_what_waits_for_a_restart(weir):
    server = weir.serve(HALF, config="")
    server.configure("models: {queue_depth_max: 7}\n")
    server.kill(signal.SIGHUP)
    assert server.event("config_reloaded")["after_restart"] == 1
    warning = server.events("config_warning")[0]
    assert warning["key"] == "models.queue_depth_max" and "1024" in warning["message"]


def test_many_hups_at_once_are_no_trouble(weir):
    server = weir.serve(HALF, config="")
    for i in range(50):
        server.configure(f"server: {{headers_max: {20 + i}}}\n")
        server.kill(signal.SIGHUP)
    server.event("config_reloaded")
    assert server.predict("half_plus_two", ROW).status_code == 200


def test_usr1_opens_the_log_file_anew(weir, tmp_path):
    path, moved = tmp_path / "weir.log", tmp_path / "weir.log.1"
    server = weir.serve(HALF, "--log-file", path, log_path=path)
    path.rename(moved)
    server.kill(signal.SIGUSR1)
    server.event("log_reopened")
    assert server.events("server_ready", moved)
    assert server.stop() == 0
    assert [line["event"] for line in server.log()][-1] == "server_stopped"
    assert not server.text()


# ---- systemd ----


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_each_state(weir, tmp_path, abstract):
    name = f"@weir-{os.getpid()}-notify" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(name.replace("@", "\0"))
        told.settimeout(running.PATIENCE)
        server = weir.serve(HALF, config="", env={"NOTIFY_SOCKET": name})
        assert b"READY=1" in told.recv(4096).split(b"\n")
        server.kill(signal.SIGHUP)
        lines = told.recv(4096).split(b"\n")
        assert b"RELOADING=1" in lines
        assert any(line.startswith(b"MONOTONIC_USEC=") for line in lines)
        assert b"READY=1" in told.recv(4096).split(b"\n")
        assert server.stop() == 0
        assert b"STOPPING=1" in told.recv(4096).split(b"\n")


def listening():
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(16)
    return made


def inherit(sockets, names):
    """What hands sockets down as systemd does, from descriptor 3 on."""
    high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 40 + i) for i, s in enumerate(sockets)]
    redirects = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(high))
    return {
        "before": ["bash", "-c", f'LISTEN_PID=$$ exec "$0" "$@" {redirects}'],
        "env": {"LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(names)},
        "pass_fds": high,
    }


def test_an_inherited_socket_is_taken_by_its_name(weir, tmp_path):
    with listening() as http, socket.socket(socket.AF_UNIX) as admin:
        admin.bind(str(tmp_path / "inherited"))
        admin.listen()
        arguments = ["--admin-socket", tmp_path / "unused"]
        server = weir.serve(HALF, *arguments, **inherit([admin, http], ["admin", "http"]))
        assert server.address == http.getsockname()
        assert server.get("/readyz").status_code == 200
        with running.Raw(str(tmp_path / "inherited"), socket.AF_UNIX) as raw:
            raw.request("GET", "/readyz")
            assert raw.response().status == 200
        assert not (tmp_path / "unused").exists()


def test_callers_wait_in_an_inherited_socket_until_the_next_process_is_there(weir):
    with listening() as http:
        assert weir.serve(HALF, **inherit([http], ["http"])).stop() == 0
        with running.Raw(http.getsockname()) as waiting:
            waiting.request("GET", "/livez")
            weir.serve(HALF, **inherit([http], ["http"]))
            assert waiting.response().status == 200


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate"
)
def test_systemds_own_tool_hands_a_socket_down(weir):
    with listening() as probe:
        port = probe.getsockname()[1]
    before = ["systemd-socket-activate", "--listen", f"127.0.0.1:{port}", "--fdname=http"]
    server = weir.serve(HALF, before=before, wait=None)
    running.wait_until(lambda: "Listening" in server.text(), "systemd-socket-activate")
    with running.Raw(("127.0.0.1", port)) as raw:
        raw.request("GET", "/livez")
        assert raw.response().status == 200
    assert server.event("server_listening")["address"] == f"127.0.0.1:{port}"


# ---- the admin listener ----


def admin_status(path):
    with running.Raw(str(path), socket.AF_UNIX) as raw:
        raw.request("GET", "/readyz")
        return raw.response().status


def test_the_admin_socket_lies_in_the_runtime_folder(weir, tmp_path):
    server = weir.serve(HALF, env={"XDG_RUNTIME_DIR": str(tmp_path)})
    path = tmp_path / f"weir-{server.address[1]}.sock"
    assert admin_status(path) == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.stop() == 0
    assert not path.exists()
    server = weir.serve(
        HALF, env={"XDG_RUNTIME_DIR": "/nowhere", "RUNTIME_DIRECTORY": str(tmp_path)}
    )
    assert admin_status(tmp_path / "admin.sock") == 200


def test_a_stale_admin_socket_is_taken_over(weir, tmp_path):
    path = tmp_path / "admin"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    weir.serve(HALF, "--admin-socket", path)
    assert admin_status(path) == 200


def test_without_a_place_for_the_admin_socket_it_says_so_once(weir):
    server = weir.serve(HALF)
    assert len(server.events("admin_off")) == 1
    assert server.get("/readyz").status_code == 200
    assert not weir.serve(HALF, "--admin-socket", "off").events("admin_off")


def test_the_admin_listener_shows_the_drain(weir, tmp_path):
    server = weir.serve_late("--admin-socket", tmp_path / "admin")
    asking = Asking(server, 700)
    with running.Raw(str(tmp_path / "admin"), socket.AF_UNIX) as raw:
        raw.request("GET", "/readyz")
        assert raw.response().status == 200
    server.kill(signal.SIGTERM)
    server.event("server_draining")
    assert asking.result().status == 200
    assert server.end() == 0


# ---- the log ----


def test_a_stalled_log_pipe_holds_nothing_up(weir, timed):
    with listening() as probe:
        port = probe.getsockname()[1]
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    # The lines about these models alone are more than the pipe holds.
    server = weir.serve(running.MODELS, stderr=write_end, wait=None, port=port)
    os.close(write_end)
    server.address = ("127.0.0.1", port)

    def ready():
        return not refuses(server.address) and server.get("/readyz").status_code == 200

    running.wait_until(ready, "readiness")
    for _ in range(20):
        assert server.predict("half_plus_two", ROW).status_code == 200
    assert server.metric("weir_log_lines_total") < 40
    assert server.stop() == 0
    assert timed() < AT_ONCE
    os.close(read_end)


def test_a_log_whose_reader_has_gone_holds_nothing_up(weir):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with listening() as probe:
        port = probe.getsockname()[1]
    server = weir.serve(HALF, stderr=write_end, wait=None, port=port)
    os.close(write_end)
    server.address = ("127.0.0.1", port)
    running.wait_until(lambda: not refuses(server.address), "the listener")
    running.wait_until(lambda: server.get("/readyz").status_code == 200, "readiness")
    assert server.metric('weir_log_lines_lost_total{reason="write_failed"}') > 0
    assert server.stop() == 0


def test_the_access_log_has_a_line_for_each_request_that_is_wanted(weir):
    server = weir.serve(HALF, config="server: {access_log: all}\n")
    server.get("/nosuch?secret=1")
    line = server.event("request", len(server.events("request")) or 1)
    assert (line["method"], line["status"], line["route"]) == ("GET", 404, "none")
    server.configure("server: {access_log: off}\n")
    server.kill(signal.SIGHUP)
    server.event("config_reloaded")
    running.wait_until(lambda: quiet_request(server), "a request without a line")


def quiet_request(server):
    before = len(server.events("request"))
    server.get("/livez")
    time.sleep(0.02)
    return len(server.events("request")) == before


# ---- the command line ----


def test_help_and_version_go_to_standard_output():
    for arguments in (["--help"], ["-h"], ["help"], ["serve", "--help"], ["serve", "-h"]):
        done = running.run_weir(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "weir serve" in done.stdout or "usage: weir" in done.stdout
    done = running.run_weir("--version")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("weir ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["usage"]),
        (["serv"], ["serv", "did you mean 'serve'", "weir --help"]),
        (["dance"], ["dance", "weir --help"]),
        (["serve", "--prot", "1", "x"], ["--prot", "did you mean '--port'", "weir serve --help"]),
        (["serve", "--frobnicate"], ["--frobnicate", "weir serve --help"]),
        (["serve", "--port"], ["--port", "value"]),
        (["serve", "--port", "99999", "x"], ["--port", "65535", "99999"]),
        (["serve", "--port", "http", "x"], ["--port", "http"]),
        (["serve", "--lame-duck", "5", "x"], ["--lame-duck", "5"]),
        (["serve", "--log-level", "loud", "x"], ["--log-level", "loud", "info"]),
        (["serve", "--port", "1", "--port", "2", "x"], ["--port", "twice"]),
        (["serve", "one", "two"], ["two"]),
        (["serve", "--port", "0"], ["weir serve PATH"]),
    ],
)
def test_a_wrong_command_line_is_explained(arguments, words):
    done = running.run_weir(*arguments)
    assert done.returncode == 64, done.stderr
    assert done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("", ":1:1:", ["version: 1"]),
        ("version: 2\n", ":1:10:", ["2"]),
        (
            "version: 1\nserver:\n  conections_max: 5\n",
            ":3:3:",
            ["conections_max", "connections_max"],
        ),
        ("version: 1\nserver:\n  connections_max: lots\n", ":3:20:", ["lots"]),
        ("version: 1\nserver:\n  connections_max: 0\n", ":3:20:", ["0", "1"]),
        ("version: 1\ndrain_timeout: 5\n", ":2:16:", ["5", "drain_timeout"]),
        ("version: 1\nlisten: nowhere\n", ":2:9:", ["nowhere"]),
        ("version: 1\nlog: {level: info, level: warn}\n", ":2:20:", ["level"]),
        ("version: 1\nlog: [1\n", ":", ["weir.yaml"]),
        ("version: 1\nlog: info\n", ":2:6:", ["log"]),
        ("version: 1\nlog:\n\tlevel: info\n", ":3:", []),
    ],
)
def test_a_wrong_file_is_explained_with_its_place(tmp_path, text, place, words):
    path = tmp_path / "weir.yaml"
    path.write_text(text)
    done = running.run_weir("serve", HALF, "--config", path, "--port", 0)
    assert done.returncode == 78, done.stderr
    assert f"{path}{place}" in done.stderr, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_every_error_of_a_file_is_told_at_once(tmp_path):
    path = tmp_path / "weir.yaml"
    path.write_text("version: 1\nserver:\n  headers_max: none\n  nonsense: 1\nlog: {level: loud}\n")
    done = running.run_weir("serve", HALF, "--config", path)
    assert done.returncode == 78
    assert [line.count(f"{path}:") for line in done.stderr.splitlines()] == [1, 1, 1]


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = running.run_weir("serve", HALF, "--config", tmp_path / "nothing.yaml")
    assert done.returncode == 78 and "nothing.yaml" in done.stderr


def test_an_address_that_is_not_this_machines_is_refused_plainly():
    done = running.run_weir("serve", HALF, "--listen", "192.0.2.1:8080")
    assert done.returncode != 0 and "192.0.2.1:8080" in done.stderr


def test_the_page_for_people_has_a_line_that_works(server):
    text = server.get("/", headers={"Accept": "text/plain"}).text
    line = next(one for one in text.splitlines() if "curl" in one and "two_in_two_out" in one)
    done = subprocess.run([*shlex.split(line), "-sS"], capture_output=True, text=True)
    assert done.returncode == 0 and "sum" in json.loads(done.stdout)["outputs"]
    html = server.get("/", headers={"Accept": "text/html"})
    assert html.headers["content-type"].startswith("text/html") and "two_in_two_out" in html.text


def test_a_request_is_known_by_its_own_id_and_trace(weir):
    server = weir.serve(running.MODELS / "half_plus_two.onnx", config="server: {access_log: all}")
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = server.get(
        "/v2", headers={"x-request-id": "abc-1", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    )
    assert answer.headers["x-request-id"] == "abc-1"
    answer = server.get("/v2", headers={"x-request-id": "not{valid}", "traceparent": "00-zz"})
    assert "x-request-id" not in answer.headers

    def logged():
        lines = [line for line in server.events("request") if line["path"] == "/v2"]
        return lines if len(lines) == 2 else None

    first, second = running.wait_until(logged, "the access log")
    assert first["trace_id"] == trace and first["request_id"] == "abc-1"
    assert second["trace_id"] != trace and second["request_id"] == ""
