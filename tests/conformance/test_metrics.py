"""/metrics is what Prometheus reads, and docs/metrics.md lists just what is there."""

import concurrent.futures
import math
import re
import shutil
import signal
import subprocess

import pytest

import requests

import running
from certificates import LOCAL, Authority

DOCS = running.SOURCE / "docs" / "metrics.md"
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\n"])*)"(?:,|$)')


def number(text):
    return {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}.get(text) or float(text)


class Exposition:
    """The text format 0.0.4, read strictly: one group a metric, HELP and TYPE first."""

    def __init__(self, text):
        self.help, self.type, self.samples = {}, {}, {}
        family = None
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# "):
                _, what, name, rest = line.split(" ", 3)
                table = {"HELP": self.help, "TYPE": self.type}[what]
                assert name not in table, f"{name} has two {what} lines"
                table[name] = rest
                family = name
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = tuple(LABEL.findall(labels or ""))
            assert "".join(f'{k}="{v}",' for k, v in pairs)[:-1] == (labels or ""), line
            assert len({k for k, _ in pairs}) == len(pairs), line
            suffixes = ("_bucket", "_sum", "_count") if self.type[family] == "histogram" else ("",)
            assert name in {family + suffix for suffix in suffixes}, f"{name} within {family}"
            assert (name, pairs) not in self.samples, line
            self.samples[name, pairs] = number(value)

    def labels(self, family):
        found = {
            tuple(k for k, _ in pairs if k != "le")
            for name, pairs in self.samples
            if re.sub("_(bucket|sum|count)$", "", name) == family or name == family
        }
        assert len(found) == 1, f"{family} has series with different labels: {found}"
        return found.pop()

    def value(self, name, **labels):
        return sum(
            v
            for (n, p), v in self.samples.items()
            if n == name and labels.items() <= dict(p).items()
        )


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Every metric at once: of a server that has seen successes, failures and refusals."""
    made = running.Weir(tmp_path_factory)
    server = made.serve_late("--slots", 1, "--queue-depth-max", 1, config="log: {level: info}\n")
    body = {"inputs": {"delay_ms": [200], "mode": [0], "value": [7]}}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: server.predict("echo", body), range(6)))
    server.predict("echo", {"inputs": {"delay_ms": [1], "mode": [1], "value": [7]}})
    server.predict("echo", {})
    server.get("/nosuch")
    # From here on over TLS, after one that does not speak it.
    authority = Authority(tmp_path_factory.mktemp("pki"))
    cert, key = authority.sign("server", LOCAL)
    server.configure(f"server: {{tls: {{certificate: {cert}, key: {key}}}}}\n")
    server.kill(signal.SIGHUP)
    server.event("config_reloaded")
    with server.connect() as raw:
        raw.request("GET", "/metrics")
        assert raw.at_end()
    url = f"https://localhost:{server.address[1]}/metrics"
    yield requests.get(url, verify=authority.cert, timeout=running.PATIENCE)
    made.close()


@pytest.fixture(scope="module")
def metrics(scraped):
    return Exposition(scraped.text)


def test_the_type_is_prometheus_text(scraped):
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_names_and_help_follow_prometheus_conventions(metrics):
    for name, kind in metrics.type.items():
        assert metrics.help[name].endswith("."), name
        assert kind in ("counter", "gauge", "histogram")
        assert (kind == "counter") == name.endswith("_total"), name
        assert not name.endswith(("_bucket", "_sum", "_count", "_ms", "_us")), name


def test_histograms_are_cumulative_and_complete(metrics):
    for family in (n for n, kind in metrics.type.items() if kind == "histogram"):
        series = {}
        for (name, pairs), value in metrics.samples.items():
            if name == family + "_bucket":
                key = tuple(p for p in pairs if p[0] != "le")
                series.setdefault(key, []).append((number(dict(pairs)["le"]), value))
        assert series
        for key, buckets in series.items():
            bounds, counts = zip(*buckets, strict=True)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf
            assert list(counts) == sorted(counts)
            assert counts[-1] == metrics.samples[family + "_count", key]
            total = metrics.samples[family + "_sum", key]
            assert (total > 0) == (counts[-1] > 0), f"{family}{key}"


def test_requests_are_counted_by_route_and_code(metrics):
    count = "weir_http_requests_total"
    served = metrics.value(count, route="v1", code="200")
    assert 1 <= served <= 6
    assert metrics.value(count, route="v1", code="429") == 6 - served
    assert metrics.value(count, route="v1", code="400") == 2
    assert metrics.value(count, route="none", code="404") == 1
    assert metrics.value("weir_model_requests_total", model="echo", code="0") == served
    assert metrics.value("weir_model_requests_total", model="echo", code="3") == 1
    assert (
        metrics.value("weir_model_rejected_total", model="echo", reason="queue_full") == 6 - served
    )
    assert metrics.value("weir_model_state", model="echo") == 30


def test_durations_are_measured(metrics):
    took = metrics.value("weir_http_request_seconds_sum", route="v1")
    served = metrics.value("weir_http_requests_total", route="v1", code="200")
    assert 0.2 * served <= took < 60
    assert 0.2 * served <= metrics.value("weir_model_run_seconds_sum", model="echo") < 60


def test_short_requests_take_time_too(server):
    for _ in range(20):
        assert server.predict("half_plus_two", {"instances": [1]}).status_code == 200
    took = server.metric('weir_http_request_seconds_sum{server="http",route="v1"}')
    assert 20e-6 < took < 20


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not there")
def test_prometheus_own_checker_has_nothing_to_say(scraped):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped.text, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_documentation_lists_just_these_metrics(metrics):
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    documented = {name: (kind, labels.replace("`", ""), text) for name, kind, labels, text in rows}
    assert len(documented) == len(rows)
    shown = {
        name: (kind, ", ".join(metrics.labels(name)), metrics.help[name])
        for name, kind in metrics.type.items()
    }
    assert documented == shown
