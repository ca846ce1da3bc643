"""TLS against the clients that people use: OpenSSL's tool, Python's ssl, requests,
tritonclient and sslscan. Certificates are made anew for each run."""

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests
import tritonclient.http

import running
from certificates import LOCAL, OPENSSL, Authority, openssl

SSLSCAN = shutil.which("sslscan")
HALF = {"instances": [1.0, 2.0, 5.0]}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "other")


@pytest.fixture(scope="module")
def pair(pki):
    return pki.sign("server", LOCAL)


def serve(weir, pair, *arguments, config="", **options):
    """`config` is the rest of server.tls."""
    text = "server:\n  access_log: all\n  tls:\n    certificate: %s\n    key: %s\n%s" % (
        *pair,
        "".join(f"    {line}\n" for line in config.splitlines()),
    )
    return weir.serve(running.MODELS / "half_plus_two.onnx", *arguments, config=text, **options)


def https(server):
    return f"https://localhost:{server.address[1]}"


def context(pki, cert=None, **options):
    made = ssl.create_default_context(cafile=pki.cert)
    if cert:
        made.load_cert_chain(*cert)
    for name, value in options.items():
        setattr(made, name, value)
    return made


@contextlib.contextmanager
def dial(server, made, name="localhost", session=None):
    with socket.create_connection(server.address, timeout=running.PATIENCE) as plain:
        with made.wrap_socket(plain, server_hostname=name, session=session) as secure:
            yield secure


def ask(secure, path="/livez"):
    """One request; gives the status. Reads the whole answer, the connection stays."""
    secure.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = secure.recv(65536)
        assert more, f"cut within a head: {data!r}"
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += secure.recv(65536)
    return int(head.split()[1])


def s_client(server, *arguments, send=b""):
    done = subprocess.run(
        [OPENSSL, "s_client", "-connect", f"localhost:{server.address[1]}", *map(str, arguments)],
        input=send,
        capture_output=True,
        timeout=running.PATIENCE,
    )
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def failures(server, pki, cert=None):
    """The counts of failed handshakes by reason."""
    text = requests.get(https(server) + "/metrics", verify=pki.cert, cert=cert, timeout=20).text
    return {
        m[1]: float(m[2])
        for m in re.finditer(
            r'weir_tls_handshake_failures_total\{server="http",reason="(\w+)"\} (\S+)', text
        )
    }


# ---- clients that people use ----


def test_requests_and_tritonclient_are_served_over_https(weir, pki, pair):
    server = serve(weir, pair)
    answer = requests.post(
        https(server) + "/v1/models/half_plus_two:predict", json=HALF, verify=pki.cert, timeout=20
    )
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}
    client = tritonclient.http.InferenceServerClient(
        f"localhost:{server.address[1]}", ssl=True, ssl_options={"ca_certs": str(pki.cert)}
    )
    assert client.is_server_ready() and client.is_model_ready("half_plus_two")
    client.close()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(https(server) + "/livez", timeout=20)  # nobody vouches for it


def test_the_page_for_people_has_a_line_that_works_over_tls(weir, pki, pair):
    server = serve(weir, pair)
    page = requests.get(https(server) + "/", verify=pki.cert, timeout=20).text
    assert f"https://{server.authority}/v1/models/half_plus_two:predict" in page


def test_bodies_larger_than_many_records_arrive_whole_both_ways(weir, pki, pair):
    server = serve(weir, pair)
    numbers = [float(i % 1000) for i in range(300_000)]
    answer = requests.post(
        https(server) + "/v1/models/half_plus_two:predict",
        json={"instances": numbers},
        verify=pki.cert,
        timeout=60,
    )
    assert answer.json()["predictions"] == [n / 2 + 2 for n in numbers]


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA2048", "RSA4096"])
def test_each_kind_of_key_serves(weir, pki, kind):
    server = serve(weir, pki.sign(f"kind-{kind}", LOCAL, kind))
    made = context(pki)
    for _ in range(3):
        with dial(server, made) as secure:
            assert ask(secure) == 200


# ---- what is agreed on ----


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_the_present_versions_are_spoken(weir, pki, pair, version):
    server = serve(weir, pair)
    text = s_client(server, f"-tls{version}", "-CAfile", pki.cert)
    assert "Verify return code: 0 (ok)" in text
    assert f"TLSv{version.replace('_', '.')}" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],  # without forward secrecy
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],  # CBC
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
        ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
        ["-tls1_3", "-groups", "ffdhe2048"],
    ],
)
def test_what_is_old_or_weak_is_refused(weir, pki, pair, arguments):
    server = serve(weir, pair)
    text = s_client(server, *arguments)
    assert "Cipher is (NONE)" in text
    counts = failures(server, pki)
    assert sum(counts.values()) == 1 and set(counts) <= {"version", "cipher", "closed"}
    with dial(server, context(pki)) as secure:
        assert ask(secure) == 200


def test_min_version_leaves_the_older_one_out(weir, pki, pair):
    server = serve(weir, pair, config='min_version: "1.3"')
    assert "Cipher is (NONE)" in s_client(server, "-tls1_2")
    assert "TLSv1.3" in s_client(server, "-tls1_3")


def test_a_renegotiation_is_refused(weir, pair):
    server = serve(weir, pair)
    text = s_client(server, "-tls1_2", send=b"R\nQ\n")
    assert "no renegotiation" in text or "NO_RENEGOTIATION" in text.upper()
    assert server.process.poll() is None


def test_the_protocol_above_is_agreed_by_alpn(weir, pki, pair):
    server = serve(weir, pair)
    made = context(pki)
    made.set_alpn_protocols(["h3", "http/1.1"])
    with dial(server, made) as secure:
        assert secure.selected_alpn_protocol() == "http/1.1"
    made.set_alpn_protocols(["h3"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        with dial(server, made):
            pass


@pytest.mark.skipif(not SSLSCAN, reason="sslscan is not installed")
def test_sslscan_finds_nothing_to_object_to(weir, pair):
    server = serve(weir, pair)
    text = subprocess.run(
        [SSLSCAN, "--no-colour", "--no-check-certificate", f"localhost:{server.address[1]}"],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    for version in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
        assert re.search(rf"{version}\s+disabled", text), text
    for version in ("TLSv1.2", "TLSv1.3"):
        assert re.search(rf"{version}\s+enabled", text), text
    assert "Session renegotiation not supported" in text
    assert "not vulnerable to heartbleed" in text
    ciphers = re.findall(r"(?:Accepted|Preferred)\s+(TLSv\S+)\s+(\d+) bits\s+(\S+)", text)
    assert ciphers
    for version, bits, name in ciphers:
        assert int(bits) >= 128
        assert "GCM" in name or "CHACHA20" in name, name
        assert version == "TLSv1.3" or name.startswith("ECDHE-"), name
    assert not re.search(r"(?i)ffdhe|RC4|3DES|MD5|EXPORT", text)


# ---- certificates by name ----


def test_the_name_picks_the_certificate_and_unknown_ones_get_the_first(weir, pki, pair):
    one = pki.sign("one", ["DNS:one.test"])
    wild = pki.sign("wild", ["DNS:*.wild.test"])
    more = "certificates:\n" + "".join(
        f"  - {{certificate: {cert}, key: {key}}}\n" for cert, key in (one, wild)
    )
    server = serve(weir, pair, config=more)
    for name, subject in [
        ("one.test", "one.test"),
        ("ONE.test", "one.test"),
        ("a.wild.test", "*.wild.test"),
        ("a.b.wild.test", "localhost"),
        ("wild.test", "localhost"),
        ("nobody.test", "localhost"),
    ]:
        text = s_client(server, "-servername", name)
        assert re.search(rf"subject=CN = {re.escape(subject)}\n", text), (name, text[:2000])
    assert "subject=CN = localhost\n" in s_client(server, "-noservername")


# ---- sessions ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_also_after_a_reload(weir, pki, pair, version):
    server = serve(weir, pair)
    made = context(pki, minimum_version=version, maximum_version=version)
    with dial(server, made) as secure:
        assert ask(secure) == 200  # the ticket has come with it
        session = secure.session
        assert not secure.session_reused
    server.kill(1)
    server.event("config_reloaded")
    with dial(server, made, session=session) as secure:
        assert ask(secure) == 200
        assert secure.session_reused
        again = secure.session
    with dial(server, made, session=again) as secure:  # and so may be the next
        assert ask(secure) == 200
        assert secure.session_reused
    metrics = requests.get(https(server) + "/metrics", verify=pki.cert, timeout=20).text
    name = "TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3"
    assert f'weir_tls_handshakes_total{{server="http",version="{name}",resumed="true"}} 2' in metrics


def test_a_session_does_not_outlive_what_clients_have_to_prove(weir, pki, pair):
    server = serve(weir, pair)
    made = context(pki, maximum_version=ssl.TLSVersion.TLSv1_2)
    with dial(server, made) as secure:
        session = secure.session
    server.configure(
        server.config.read_text().removeprefix("version: 1\n")
        + f"    client_ca: {pki.cert}\n    client_auth: required\n"
    )
    server.kill(1)
    server.event("config_reloaded")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with dial(server, made, session=session) as secure:
            ask(secure)


# ---- clients with certificates ----


@pytest.fixture(scope="module")
def callers(pki, other):
    usage = {"usage": "clientAuth"}
    return {
        "none": None,
        "right": pki.sign("caller", ["DNS:caller"], subject="/O=Acme/CN=caller", **usage),
        "wrong": other.sign("caller", ["DNS:caller"], **usage),
        "expired": pki.expired("old-caller", ["DNS:caller"], **usage),
        "not a client's": pki.sign("no-client", ["DNS:caller"]),
    }


@pytest.mark.parametrize(
    "auth, accepted",
    [
        ("off", {"none", "right", "wrong", "expired", "not a client's"}),
        ("optional", {"none", "right"}),
        ("required", {"right"}),
    ],
)
def test_clients_are_let_in_as_client_auth_says(weir, pki, pair, callers, auth, accepted):
    server = serve(weir, pair, config=f"client_ca: {pki.cert}\nclient_auth: {auth}")
    for who, cert in callers.items():
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            made = context(pki, cert, maximum_version=version)
            try:
                with dial(server, made) as secure:
                    status = ask(secure)
            except (ssl.SSLError, ConnectionError, AssertionError):
                status = None
            assert (status == 200) == (who in accepted), (who, version)
    if auth == "off":
        return
    reasons = failures(server, pki, callers["right"])
    assert reasons["bad_certificate"] == 6
    assert reasons.get("no_certificate", 0) == (2 if auth == "required" else 0)
    made = context(pki, callers["right"], maximum_version=ssl.TLSVersion.TLSv1_2)
    with dial(server, made) as secure:
        session = secure.session
    with dial(server, made, session=session) as secure:  # a session knows its client
        assert ask(secure, "/healthz") == 200 and secure.session_reused
    running.wait_until(
        lambda: [line for line in server.events("request") if line["path"] == "/healthz"],
        "the access log",
    )
    lines = [line for line in server.events("request") if line["path"] == "/healthz"]
    assert lines[0]["client"] == "CN=caller,O=Acme"
    lines = [line for line in server.events("request") if line.get("client")]
    assert {line["client"] for line in lines} == {"CN=caller,O=Acme"}


# ---- reload ----


def test_a_new_certificate_is_taken_by_hup_and_drops_no_connection(weir, pki, pair):
    cert, key = pki.sign("renewed", LOCAL)
    server = serve(weir, (cert, key))
    made = context(pki)
    failed, stop, answered = [], threading.Event(), [0]

    def load():
        while not stop.is_set():
            try:
                with dial(server, made) as secure:
                    for _ in range(5):
                        assert ask(secure) == 200
                        answered[0] += 1
            except Exception as error:  # noqa: BLE001 whatever it is, it is a lost request
                failed.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    with dial(server, made) as old:
        assert ask(old) == 200
        before = old.getpeercert()["serialNumber"]
        for thread in threads:
            thread.start()
        serials = {before}
        for n in range(4):
            fresh = pki.sign(f"fresh{n}", LOCAL)
            shutil.copy(fresh[1], key)
            shutil.copy(fresh[0], cert)
            server.kill(1)
            server.event("config_reloaded", n + 1)
            with dial(server, made) as new:
                assert ask(new) == 200
                serials.add(new.getpeercert()["serialNumber"])
            assert ask(old) == 200  # goes on as it began
        stop.set()
        for thread in threads:
            thread.join()
        assert ask(old) == 200
    assert not failed and answered[0] > 20
    assert len(serials) == 5


def test_a_reload_that_cannot_be_keeps_the_old_certificate(weir, pki, pair):
    cert, key = pki.sign("stays", LOCAL)
    server = serve(weir, (cert, key))
    made = context(pki)
    shutil.copy(pki.sign("foreign", LOCAL)[1], key)
    server.kill(1)
    line = server.event("config_refused")
    assert f"expected the private key of the certificate {cert}" in line["message"]
    with dial(server, made) as secure:
        assert ask(secure) == 200


def test_hup_begins_and_ends_to_speak_tls(weir, pki, pair):
    server = weir.serve(running.MODELS / "half_plus_two.onnx", config="log: {level: info}\n")
    assert server.get("/livez").status_code == 200
    server.configure(f"server: {{tls: {{certificate: {pair[0]}, key: {pair[1]}}}}}\n")
    server.kill(1)
    server.event("config_reloaded")
    assert requests.get(https(server) + "/livez", verify=pki.cert, timeout=20).ok
    server.configure("log: {level: info}\n")
    server.kill(1)
    server.event("config_reloaded", 2)
    server.http.close()
    assert server.get("/livez").status_code == 200


# ---- what is wrong is said ----


def ends_with(code, *arguments):
    done = running.run_weir("serve", running.MODELS / "half_plus_two.onnx", "--port", 0, *arguments)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_files_that_will_not_do_are_named(pki, pair, tmp_path):
    cert, key = pair
    nothing = tmp_path / "nothing.pem"
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n")
    locked = tmp_path / "locked.pem"
    openssl("pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:secret")
    foreign = pki.sign("foreign-key", LOCAL)[1]
    for arguments, words in [
        (["--tls-certificate", nothing, "--tls-key", key], [str(nothing)]),
        (["--tls-certificate", cert, "--tls-key", nothing], [str(nothing)]),
        (["--tls-certificate", broken, "--tls-key", key], [str(broken), "a certificate in PEM"]),
        (["--tls-certificate", cert, "--tls-key", cert], [str(cert), "a private key in PEM"]),
        (["--tls-certificate", cert, "--tls-key", locked], [str(locked), "without a passphrase"]),
        (["--tls-certificate", cert, "--tls-key", foreign], [str(foreign), str(cert)]),
        (["--tls-certificate", cert], ["expected a key for the certificate"]),
        (["--tls-key", key], ["expected a certificate for the key"]),
    ]:
        text = ends_with(78, *arguments)
        assert all(word in text for word in words), text


def test_client_auth_without_an_authority_is_refused(pair, tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text(
        "version: 1\nserver: {tls: {certificate: %s, key: %s, client_auth: required}}\n" % pair
    )
    assert "may sign theirs" in ends_with(78, "--config", file)


def test_what_is_odd_is_a_warning(weir, pki):
    cert, key = pki.expired("expired", LOCAL)
    key.chmod(0o644)
    server = serve(weir, (cert, key))
    texts = [line["message"] for line in server.events("config_warning")]
    assert any("has expired" in text for text in texts)
    assert any("every user of this machine" in text for text in texts)
    assert server.event("tls_certificate_expires")["days"] < 0


def test_a_check_sees_certificates_as_the_start_does(pki, pair, tmp_path):
    cert, key = pki.sign("open", LOCAL)
    arguments = ["serve", running.MODELS / "half_plus_two.onnx", "--tls-certificate", cert]
    assert running.run_weir("check", "--strict", *arguments, "--tls-key", key).returncode == 0
    key.chmod(0o644)
    done = running.run_weir("check", "--strict", *arguments, "--tls-key", key)
    assert done.returncode == 1
    assert f"warning: server.tls: {key}: the private key can be read by every user" in done.stderr
    done = running.run_weir("check", *arguments, "--tls-key", tmp_path / "none.pem")
    assert done.returncode == 78
    assert f"server.tls: cannot open {tmp_path}/none.pem" in done.stderr


def test_a_certificate_that_ends_soon_is_warned_of_and_its_end_is_a_metric(weir, pki):
    cert, key = pki.sign("soon", LOCAL, days=9)
    server = serve(weir, (cert, key))
    assert 8 <= server.event("tls_certificate_expires")["days"] <= 9
    text = requests.get(https(server) + "/metrics", verify=pki.cert, timeout=20).text
    value = re.search(r"^weir_tls_certificate_expiry_timestamp_seconds\{(.*)\} (\S+)$", text, re.M)
    assert value[1] == f'certificate="{cert}",name="localhost"'
    assert abs(float(value[2]) - time.time() - 9 * 86400) < 600


# ---- clients that misbehave ----


def raw(server):
    return server.connect()


def test_plain_http_at_a_tls_port_is_closed_and_logged(weir, pki, pair):
    server = serve(weir, pair)
    with raw(server) as plain:
        plain.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert plain.at_end()
    line = server.event("tls_handshake_failed")
    assert line["reason"] == "plain_http" and line["peer"].startswith("127.0.0.1:")
    assert failures(server, pki) == {"plain_http": 1}


def hello():
    """The bytes of a true ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        made.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    "name, data, reason",
    [
        ("garbage", b"\x00\x01\x02\x03" * 100, "not_tls"),
        ("no hello", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "protocol"),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28", "not_tls"),
        # A hello of 16 MB in records of 16 kB, of which as many are sent as are taken.
        (
            "a huge hello",
            b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"a" * 16380
            + (b"\x16\x03\x01\x40\x00" + b"a" * 16384) * 40,
            "protocol",
        ),
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_counted_and_harms_nobody(weir, pki, pair, name, data, reason):
    server = serve(weir, pair)
    with raw(server) as plain:
        plain.send(data)
        plain.drain()
    assert failures(server, pki) == {reason: 1}


def test_a_handshake_may_break_off_after_any_byte(weir, pki, pair):
    server = serve(weir, pair)
    data = hello()
    for length in [*range(0, len(data), 7), len(data)]:
        with raw(server) as plain:
            plain.send(data[:length])
    running.wait_until(
        lambda: sum(failures(server, pki).values()) == len(range(0, len(data), 7)) + 1,
        "the failures to be counted",
    )
    assert set(failures(server, pki)) == {"closed"}


def test_a_slow_handshake_ends_at_its_timeout(weir, pki, pair):
    server = serve(weir, pair, config="handshake_timeout: 300ms")
    with raw(server) as silent, raw(server) as slow:
        began = time.monotonic()
        slow.send(hello()[:-20])
        assert silent.at_end()
        slow.drain()
        assert 0.2 < time.monotonic() - began < running.PATIENCE
    assert failures(server, pki) == {"timeout": 2}
    with dial(server, context(pki)) as secure:
        time.sleep(0.5)  # it is the handshake's alone
        assert ask(secure) == 200


def test_a_damaged_record_ends_its_connection_alone(weir, pki, pair):
    server = serve(weir, pair)
    with socket.create_connection(server.address, timeout=20) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context(pki).wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        plain.sendall(outgoing.read())
        secure.write(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        plain.sendall(record)
        while plain.recv(65536):
            pass
    with dial(server, context(pki)) as secure:
        assert ask(secure) == 200


def test_a_connection_that_closes_properly_gets_close_notify(weir, pki, pair):
    server = serve(weir, pair)
    with dial(server, context(pki)) as secure:
        secure.sendall(b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        data = b""
        # Without suppress_ragged_eofs a cut would raise.
        secure.suppress_ragged_eofs = False
        while more := secure.recv(65536):
            data += more
    assert data.startswith(b"HTTP/1.1 200")


def test_open_handshakes_do_not_delay_the_end(weir, pair):
    server = serve(weir, pair)
    with raw(server) as silent:
        silent.send(hello()[:50])
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5 * (running.PATIENCE / 20)


def test_an_idle_connection_is_small(weir, pki, pair):
    if running.SANITIZED:
        pytest.skip("sanitizers need memory of their own")
    server = serve(weir, pair)
    made = context(pki)
    with contextlib.ExitStack() as stack:
        for _ in range(50):  # what is made once
            assert ask(stack.enter_context(dial(server, made))) == 200
        before = server.resident_bytes()
        for _ in range(400):
            assert ask(stack.enter_context(dial(server, made))) == 200
        each = (server.resident_bytes() - before) / 400
    print(f"{each:.0f} bytes a connection")
    assert each < 32768

