"""What a process says when it crashes, and that it ends as it would have without."""

import re
import signal
import subprocess

import pytest

from running import BUILD, SANITIZED, WEIR

pytestmark = pytest.mark.skipif(SANITIZED, reason="sanitizers report crashes themselves")

END = "end of the crash report\n"


def crashed(server, number):
    """Waits until the server is gone by that signal; gives its report."""
    server.ended = True
    server.http.close()
    assert server.process.wait(20) == -number
    text = server.text()
    assert text.count(END) == 1 and text.endswith(END)
    return text[text.index("\nweir ") :]


def build_id(path):
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True)
    return re.search(r"Build ID: ([0-9a-f]+)", notes.stdout)[1]


def lines_of(report, file):
    """The functions that the frames of one file lie in."""
    offsets = re.findall(rf"^  #\d+ +\S*{re.escape(file.name)}\+(0x[0-9a-f]+)$", report, re.M)
    assert offsets, report
    command = ["addr2line", "-fie", file, *offsets]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return found.stdout.splitlines()[::2]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE])
def test_a_signal_is_reported_with_build_id_registers_stack_and_last_log_lines(weir, number):
    server = weir.serve_late()
    server.kill(number)
    report = crashed(server, number)
    assert f"crashed: {number.name}, sent by process " in report
    assert f"build id  {build_id(WEIR)}\n" in report
    assert re.search(r"\b(rip|pc ) ?0x[0-9a-f]{16}\b", report)
    assert "run_role" in lines_of(report, WEIR)
    tail = report[report.index("last log lines:") :]
    assert '"event":"server_ready"' in tail and '"event":"model_loaded"' in tail


@pytest.mark.parametrize(
    "mode, number, says",
    [
        (6, signal.SIGSEGV, "SIGSEGV at address 0x0\n"),
        (7, signal.SIGSEGV, "SIGSEGV at address 0x"),
        (8, signal.SIGABRT, "SIGABRT, sent by itself"),
    ],
)
def test_a_backend_that_crashes_is_named_by_the_stack(weir, mode, number, says):
    server = weir.serve_late()
    body = {"instances": [{"delay_ms": 0, "mode": mode, "value": 1}]}
    with server.connect() as raw:
        raw.request("POST", "/v1/models/echo:predict", str(body).replace("'", '"').encode())
        report = crashed(server, number)
    assert says in report
    backend = BUILD / "tests/conformance/backends/late.so"
    function = "deeper" if mode == 7 else "crash"
    assert function in lines_of(report, backend)


def test_a_copy_goes_to_the_folder(weir, tmp_path):
    server = weir.serve_late(config=f"log: {{crash_folder: {tmp_path}}}")
    pid = server.process.pid
    server.kill(signal.SIGSEGV)
    report = crashed(server, signal.SIGSEGV)
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(rf"weir-crash-\d+-{pid}\.txt", file.name)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == report


def test_a_folder_that_is_not_there_costs_the_copy_alone(weir, tmp_path):
    server = weir.serve_late(config=f"log: {{crash_folder: {tmp_path}/none}}")
    server.kill(signal.SIGSEGV)
    assert "SIGSEGV" in crashed(server, signal.SIGSEGV)


