"""A reload takes all of a file or nothing, and what is marked live takes effect at once."""

import json
import re
import signal
import socket
import ssl
import time

import pytest

import corpus
import running
from certificates import Authority
from test_docs import schema_keys

HALF = running.MODELS / "half_plus_two.onnx"
PREDICT = "/v1/models/half_plus_two:predict"
ROW = json.dumps({"instances": [2.0]})
RELOADS = 60 if running.SANITIZED else 200


class Reloaded:
    """A server whose file is rewritten and reloaded, and which is watched over its admin socket."""

    def __init__(self, weir, folder, text="", **options):
        self.path = str(folder / "admin")
        self.server = weir.serve(
            options.pop("model", HALF),
            "--admin-socket",
            self.path,
            *options.pop("arguments", []),
            config=text,
            **options,
        )

    def ask(self, path):
        with running.Raw(self.path, socket.AF_UNIX) as raw:
            raw.request("GET", path)
            response = raw.response()
            assert response.status == 200
            return response.body.decode()

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("/metrics"), re.MULTILINE)
        return float(found[1])

    def counts(self):
        return [
            self.metric(f'weir_config_reloads_total{{result="{result}"}}')
            for result in ("success", "failure")
        ]

    def reload(self, whole):
        """Gives whether it was taken."""
        self.server.config.write_text(whole)
        good, bad = self.counts()
        self.server.kill(signal.SIGHUP)
        running.wait_until(lambda: sum(self.counts()) == good + bad + 1, "the reload")
        return self.counts()[0] == good + 1

    def take(self, text):
        assert self.reload("version: 1\n" + text), self.server.text()

    def configuration(self):
        """(generation, keys that wait for a restart, the values)."""
        lines = self.ask("/config").splitlines()
        generation = int(re.fullmatch(r"# generation (\d+)", lines[0])[1])
        waiting = [line for line in lines if line.startswith("# after a restart: ")]
        values = [re.sub(r"  # .*", "", line) for line in lines if not line.startswith("#")]
        return generation, waiting, values


@pytest.fixture
def reloaded(weir, tmp_path):
    return lambda text="", **options: Reloaded(weir, tmp_path, text, **options)


# ---- all or nothing ----


def test_of_mutated_files_each_is_taken_whole_or_not_at_all(reloaded, tmp_path):
    under_test = reloaded("", env=corpus.ENVIRONMENT)
    server = under_test.server
    files = [path for path in corpus.GOOD if path.stem != "log-path"]
    generation, _, values = under_test.configuration()
    taken = 0
    for number, text in enumerate(corpus.mutants(RELOADS, seed=5, files=files)):
        accepted = under_test.reload(text)
        where = f"mutant {number}:\n{text}"
        options = [HALF, "--admin-socket", under_test.path, "--config", server.config]
        dump = corpus.weir("config", "dump", *options, "--port", "0", cwd=tmp_path)
        assert accepted == (dump.returncode == 0), where + dump.stderr
        if accepted:
            taken += 1
            generation += 1
            values = [
                re.sub(r"  # .*", "", line)
                for line in dump.stdout.splitlines()
                if not line.startswith("#")
            ]
        now = under_test.configuration()
        assert (now[0], now[2]) == (generation, values), where
    assert RELOADS / 10 < taken < RELOADS * 9 / 10
    under_test.take("")
    assert server.post(PREDICT, ROW).status_code == 200


def test_the_outcome_is_logged_and_counted(reloaded):
    under_test = reloaded()
    started_at = under_test.metric("weir_config_last_success_timestamp_seconds")
    assert abs(started_at - time.time()) < 3600
    under_test.take("lame_duck: 1ms\n")
    event = under_test.server.event("config_reloaded")
    assert (event["generation"], event["changes"], event["after_restart"]) == (2, 1, 0)
    assert under_test.metric("weir_config_generation") == 2
    succeeded_at = under_test.metric("weir_config_last_success_timestamp_seconds")
    assert succeeded_at > started_at
    assert not under_test.reload("version: 1\nlame_duck: soon\n")
    assert under_test.server.event("config_refused")
    assert under_test.counts() == [1, 1]
    assert under_test.metric("weir_config_generation") == 2
    assert under_test.metric("weir_config_last_success_timestamp_seconds") == succeeded_at


def test_what_waits_for_a_restart_is_told_until_it_is_taken_back(reloaded):
    under_test = reloaded("models: {slots: 1}\n")
    under_test.take("models: {slots: 2}\nlog: {format: json}\n")
    under_test.take("models: {slots: 2}\nlog: {format: json}\nlame_duck: 1ms\n")
    _, waiting, _ = under_test.configuration()
    assert waiting == ["# after a restart: log.format, models.slots"]
    assert under_test.metric("weir_config_restart_keys") == 2
    under_test.take("models: {slots: 1}\n")
    assert under_test.configuration()[1] == []
    assert under_test.metric("weir_config_restart_keys") == 0


def test_a_reload_while_models_load_is_no_trouble(weir, tmp_path):
    bad = tmp_path / "slow.late"
    bad.write_text("late 1\nload_ms 400\nload_fails 1\n")
    server = weir.serve(bad, "--backends-path", running.TEST_BACKENDS, config="", wait="listening")
    for number in range(3):
        server.configure(f"lame_duck: {number + 1}ms\nmodels: {{path: /elsewhere}}\n")
        server.kill(signal.SIGHUP)
        server.event("config_reloaded", number + 1)
    assert server.end() == 65
    # What the start was asked for, not what the file says by now.
    assert "slow.late" in server.events("server_failed")[0]["message"]


# ---- secrets and variables ----


def test_a_variable_holds_what_it_held_at_the_start(reloaded):
    under_test = reloaded("lame_duck: ${LAME}\n", env={"LAME": "3ms"})
    under_test.take("lame_duck: ${LAME:-9ms}\n")
    assert "lame_duck: 3ms" in under_test.configuration()[2]


# ---- live keys ----


def answers(server, path="/livez", headers=""):
    with server.connect() as raw:
        raw.request("GET", path, headers=headers)
        response = raw.response()
        return response.status if response else None


def check_lame_duck(reloaded):
    under_test = reloaded("lame_duck: 0s\n")
    under_test.take("lame_duck: 500ms\n")
    server = under_test.server
    server.kill(signal.SIGTERM)
    server.event("server_draining")
    assert answers(server, "/readyz") == 503
    assert server.end() == 0


def late_reloaded(reloaded, folder, text):
    return reloaded(
        text,
        model=running.MODELS / "echo.late",
        arguments=["--backends-path", running.TEST_BACKENDS],
    )


def late_request(server, delay_ms, headers=""):
    raw = server.connect()
    body = json.dumps({"inputs": {"delay_ms": [delay_ms], "mode": [0], "value": [7]}}).encode()
    raw.request("POST", "/v1/models/echo:predict", body, headers=headers)
    running.wait_until(
        lambda: server.metric('weir_http_requests_in_flight{server="http"}') >= 1, "the request"
    )
    return raw


def check_drain_timeout(reloaded, folder):
    under_test = late_reloaded(reloaded, folder, "drain_timeout: 1h\n")
    under_test.take("drain_timeout: 100ms\n")
    with late_request(under_test.server, 60_000):
        assert under_test.server.stop() == 3


def check_memory_max(reloaded):
    under_test = reloaded("memory_max: 1GiB\n")
    body = ROW.ljust(3 << 20)
    assert under_test.server.post(PREDICT, body).status_code == 200
    under_test.take("memory_max: 1MiB\n")
    assert under_test.server.post(PREDICT, body).status_code in (429, 503)
    under_test.take("memory_max: 1GiB\n")
    assert under_test.server.post(PREDICT, body).status_code == 200


def check_connections_max(reloaded):
    under_test = reloaded("server: {connections_max: 100}\n")
    server = under_test.server
    with server.connect() as first, server.connect() as second:
        for raw in (first, second):
            raw.request("GET", "/livez")
            assert raw.response().status == 200
        under_test.take("server: {connections_max: 2}\n")
        with server.connect() as third:
            third.request("GET", "/livez")
            response = third.response()
            assert response is None or response.status == 503
    under_test.take("server: {connections_max: 100}\n")
    running.wait_until(lambda: answers(server) == 200, "a place")


def check_requests_max(reloaded, folder):
    under_test = late_reloaded(reloaded, folder, "server: {requests_max: 100}\n")
    server = under_test.server
    with late_request(server, 60_000):
        assert server.get("/v1/models/echo").status_code == 200
        under_test.take("server: {requests_max: 1}\n")
        assert server.get("/v1/models/echo").status_code == 429
        under_test.take("server: {requests_max: 2}\n")
        assert server.get("/v1/models/echo").status_code == 200


def check_request_bytes_max(reloaded):
    under_test = reloaded("server: {request_bytes_max: 1GiB}\n")
    body = ROW.ljust(200_000)
    assert under_test.server.post(PREDICT, body).status_code == 200
    under_test.take("server: {request_bytes_max: 64KiB}\n")
    assert under_test.server.post(PREDICT, body).status_code in (413, 429)


def check_body_bytes_max(reloaded):
    under_test = reloaded("server: {body_bytes_max: 1MiB}\n")
    body = ROW.ljust(5000)
    assert under_test.server.post(PREDICT, body).status_code == 200
    under_test.take("server: {body_bytes_max: 1KiB}\n")
    assert under_test.server.post(PREDICT, body).status_code == 413


def check_head_bytes_max(reloaded):
    under_test = reloaded("server: {head_bytes_max: 32KiB}\n")
    header = "X-Long: " + "a" * 5000 + "\r\n"
    assert answers(under_test.server, headers=header) == 200
    under_test.take("server: {head_bytes_max: 1KiB}\n")
    assert answers(under_test.server, headers=header) == 431


def check_headers_max(reloaded):
    under_test = reloaded("server: {headers_max: 100}\n")
    headers = "".join(f"X-{number}: 1\r\n" for number in range(20))
    assert answers(under_test.server, headers=headers) == 200
    under_test.take("server: {headers_max: 10}\n")
    assert answers(under_test.server, headers=headers) == 431


def check_head_timeout(reloaded):
    under_test = reloaded("server: {head_timeout: 1h}\n")
    under_test.take("server: {head_timeout: 50ms}\n")
    with under_test.server.connect() as raw:
        raw.send(b"GET /livez HTTP/1.1\r\n")
        response = raw.response()
        assert response is None or response.status == 408


def check_body_timeout(reloaded):
    under_test = reloaded("server: {body_timeout: 1h}\n")
    under_test.take("server: {body_timeout: 50ms}\n")
    with under_test.server.connect() as raw:
        raw.send(f"POST {PREDICT} HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n".encode())
        assert raw.response().status == 408


def check_idle_timeout(reloaded):
    under_test = reloaded("server: {idle_timeout: 1h}\n")
    under_test.take("server: {idle_timeout: 50ms}\n")
    with under_test.server.connect() as raw:
        raw.request("GET", "/livez")
        assert raw.response().status == 200
        assert raw.at_end()


def check_half_close(reloaded, folder):
    under_test = late_reloaded(reloaded, folder, "server: {half_close: false}\n")
    server = under_test.server
    with late_request(server, 200) as raw:
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.at_end()
    under_test.take("server: {half_close: true}\n")
    with late_request(server, 200) as raw:
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.response().status == 200


def check_access_log(reloaded):
    under_test = reloaded("server: {access_log: off}\n")
    server = under_test.server
    server.get("/v1/models/half_plus_two")
    assert not server.events("request")
    under_test.take("server: {access_log: all}\n")
    server.get("/v1/models/half_plus_two")
    server.event("request")


def check_log_level(reloaded):
    under_test = reloaded("log: {level: info}\n")
    server = under_test.server
    under_test.take("log: {level: error}\n")
    before = len(server.events("config_reloaded"))
    under_test.take("lame_duck: 1ms\nlog: {level: error}\n")
    under_test.take("log: {level: info}\n")
    server.event("config_reloaded", before + 1)
    under_test.take("log: {level: error}\n")
    assert len(server.events("config_reloaded")) == before + 1
    assert server.stop() == 0
    assert not server.events("server_stopped")


class Secure:
    """A server over TLS whose server.tls is rewritten and reloaded."""

    def __init__(self, reloaded, folder):
        self.authority = Authority(folder)
        self.pairs = {name: self.authority.sign(name, [f"DNS:{name}"]) for name in ("one", "two")}
        self.under_test = reloaded(self.text("one"))

    def text(self, name, more=""):
        return "server: {tls: {certificate: %s, key: %s%s}}\n" % (*self.pairs[name], more)

    def take(self, name, more=""):
        self.under_test.take(self.text(name, more))

    def answers(self, name="one", **options):
        """Whether a handshake and a request with `name` come through."""
        made = ssl.create_default_context(cafile=self.authority.cert)
        for option, value in options.items():
            setattr(made, option, value)
        try:
            with (
                socket.create_connection(self.under_test.server.address, running.PATIENCE) as plain,
                made.wrap_socket(plain, server_hostname=name) as secure,
            ):
                secure.sendall(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
                return secure.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def check_tls_certificate(reloaded, folder):
    secure = Secure(reloaded, folder)
    assert secure.answers("one") and not secure.answers("two")
    secure.take("two")
    assert secure.answers("two") and not secure.answers("one")


def check_tls_certificates(reloaded, folder):
    secure = Secure(reloaded, folder)
    assert not secure.answers("two")
    secure.take("one", ", certificates: [{certificate: %s, key: %s}]" % secure.pairs["two"])
    assert secure.answers("two") and secure.answers("one")


def check_tls_clients(reloaded, folder):
    secure = Secure(reloaded, folder)
    assert secure.answers()
    secure.take("one", f", client_ca: {secure.authority.cert}, client_auth: required")
    assert not secure.answers()
    secure.take("one", f", client_ca: {secure.authority.cert}, client_auth: optional")
    assert secure.answers()


def check_tls_min_version(reloaded, folder):
    secure = Secure(reloaded, folder)
    assert secure.answers(maximum_version=ssl.TLSVersion.TLSv1_2)
    secure.take("one", ', min_version: "1.3"')
    assert not secure.answers(maximum_version=ssl.TLSVersion.TLSv1_2)
    assert secure.answers()


def check_tls_handshake_timeout(reloaded, folder):
    secure = Secure(reloaded, folder)
    secure.take("one", ", handshake_timeout: 50ms")
    with secure.under_test.server.connect() as raw:
        assert raw.at_end()


# Path -> what shows that a reload has changed it.
LIVE = {
    "lame_duck": check_lame_duck,
    "drain_timeout": check_drain_timeout,
    "memory_max": check_memory_max,
    "log.level": check_log_level,
    "server.connections_max": check_connections_max,
    "server.requests_max": check_requests_max,
    "server.request_bytes_max": check_request_bytes_max,
    "server.body_bytes_max": check_body_bytes_max,
    "server.head_bytes_max": check_head_bytes_max,
    "server.headers_max": check_headers_max,
    "server.head_timeout": check_head_timeout,
    "server.body_timeout": check_body_timeout,
    "server.idle_timeout": check_idle_timeout,
    "server.half_close": check_half_close,
    "server.access_log": check_access_log,
    "server.tls.certificate": check_tls_certificate,
    "server.tls.key": check_tls_certificate,
    "server.tls.certificates": check_tls_certificates,
    "server.tls.client_ca": check_tls_clients,
    "server.tls.client_auth": check_tls_clients,
    "server.tls.min_version": check_tls_min_version,
    "server.tls.handshake_timeout": check_tls_handshake_timeout,
}


@pytest.mark.parametrize("key", LIVE)
def test_a_live_key_takes_effect_with_a_reload(key, reloaded, tmp_path):
    check = LIVE[key]
    check(*(reloaded, tmp_path)[: check.__code__.co_argcount])


def test_every_live_key_is_tried():
    schema = json.loads(running.run_weir("config", "schema").stdout)
    live = {key for key, value in schema_keys(schema).items() if value["x-weir-reload"] == "live"}
    assert live == set(LIVE)
