"""`weir check` and `weir config`: what they say is what a start does."""

import json
import re

import jsonschema
import pytest

import corpus
import running
from corpus import BAD, CONFIG_ERROR, GOOD, MODEL

MUTANTS = 20 if running.SANITIZED else 60
NAMES = {"ids": lambda value: getattr(value, "stem", None)}


def write(folder, text):
    path = folder / "weir.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def schema():
    return json.loads(running.run_weir("config", "schema").stdout)


# ---- check ----


@pytest.mark.parametrize("path", GOOD, **NAMES)
def test_a_good_file_passes_the_check_and_starts(path, tmp_path):
    checked = corpus.weir("check", MODEL, "--config", path, cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "good\n"), checked.stderr
    code, text = corpus.start(tmp_path, path)
    assert code == 0, text


@pytest.mark.parametrize("path", BAD, **NAMES)
def test_a_bad_file_is_refused_by_check_and_start_in_the_same_words(path, tmp_path):
    checked = corpus.weir("check", MODEL, "--config", path, cwd=tmp_path)
    code, text = corpus.start(tmp_path, path)
    assert checked.returncode == code == CONFIG_ERROR
    assert corpus.complaints(checked.stderr) == corpus.complaints(text)
    assert all(str(path) in line for line in corpus.complaints(text) if line != "weir: and more")


def test_check_and_start_agree_over_mutated_files(tmp_path):
    refused = 0
    for number, text in enumerate(corpus.mutants(MUTANTS, seed=20)):
        path = write(tmp_path, text)
        checked = corpus.weir("check", MODEL, "--config", path, cwd=tmp_path)
        code, said = corpus.start(tmp_path, path)
        where = f"mutant {number}:\n{text}\n{checked.stderr}\n{said}"
        assert (checked.returncode == CONFIG_ERROR) == (code == CONFIG_ERROR), where
        if code == CONFIG_ERROR:
            assert corpus.complaints(checked.stderr) == corpus.complaints(said), where
            refused += 1
    assert 0 < refused < MUTANTS


def test_every_mistake_is_told_with_its_place_and_what_was_meant(tmp_path):
    path = write(
        tmp_path,
        "version: 1\nlame_duck: soon\nserver:\n  conections_max: 3\n  half_close: yes\n",
    )
    checked = corpus.weir("check", "--config", path, cwd=tmp_path)
    assert checked.returncode == CONFIG_ERROR
    assert checked.stderr == (
        f"weir: {path}:2:12: lame_duck: expected a time such as 10s or 250ms, got 'soon'\n"
        f"weir: {path}:4:3: server.conections_max: unknown key 'conections_max'; did you mean "
        "'connections_max'?\n"
        f"weir: {path}:5:15: server.half_close: expected true or false, got 'yes'\n"
    )
    checked = corpus.weir("check", "--json", "serve", "--config", path, cwd=tmp_path)
    found = json.loads(checked.stdout)
    assert [(f["severity"], f["line"], f["column"], f["key"], f["code"]) for f in found] == [
        ("error", 2, 12, "lame_duck", "TYPE"),
        ("error", 4, 3, "server.conections_max", "NOT_FOUND"),
        ("error", 5, 15, "server.half_close", "TYPE"),
    ]
    assert found[0]["file"] == str(path)


def test_mistakes_beyond_twenty_are_told_as_more(tmp_path):
    checked = corpus.weir("check", "--config", corpus.CORPUS / "bad/many-more.yaml", cwd=tmp_path)
    lines = checked.stderr.splitlines()
    assert len(lines) == 21 and lines[-1] == "weir: and more"


def test_a_check_ends_as_the_start_would(tmp_path):
    missing = corpus.weir("check", "serve", tmp_path / "none", cwd=tmp_path)
    start = running.run_weir("serve", tmp_path / "none", "--port", "0")
    assert missing.returncode == start.returncode == 66
    assert missing.stderr == start.stderr
    nothing = corpus.weir("check", cwd=tmp_path)
    assert nothing.returncode == running.run_weir("serve", "--port", "0").returncode == 64
    usage = corpus.weir("check", "--nonsense", cwd=tmp_path)
    assert usage.returncode == 64 and "--nonsense" in usage.stderr


def test_a_check_listens_nowhere(tmp_path):
    with running.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        checked = corpus.weir("check", MODEL, "--port", port, cwd=tmp_path)
        assert checked.returncode == 0, checked.stderr
        assert running.run_weir("serve", MODEL, "--port", port).returncode == 69


def test_json_of_a_good_check_is_an_empty_list(tmp_path):
    checked = corpus.weir("check", MODEL, "--json", cwd=tmp_path)
    assert (checked.returncode, json.loads(checked.stdout)) == (0, [])


# ---- where values come from ----


def dumped(cwd, *arguments, env=None):
    done = corpus.weir("config", "dump", "--json", *arguments, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return {entry["key"]: entry for entry in json.loads(done.stdout)}


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    path = write(tmp_path, "version: 1\nlame_duck: 1s\nserver:\n  headers_max: ${N:-7}\n")
    found = dumped(tmp_path, MODEL, "--config", path)
    assert found["lame_duck"]["value"] == "1s"
    assert found["lame_duck"]["origin"] == {
        "kind": "file",
        "file": str(path),
        "line": 2,
        "column": 1,
    }
    assert found["server.headers_max"]["value"] == 7
    assert found["server.headers_max"]["origin"]["environment"] == "N"
    assert found["drain_timeout"]["origin"] == {"kind": "default"}
    assert found["models.path"]["origin"]["kind"] == "flag"
    env = {"WEIR_LAME_DUCK": "2s"}
    found = dumped(tmp_path, "--config", path, env=env)
    assert found["lame_duck"]["value"] == "2s"
    assert found["lame_duck"]["origin"] == {"kind": "environment", "environment": "WEIR_LAME_DUCK"}
    found = dumped(tmp_path, "--config", path, "--lame-duck", "3s", env=env)
    assert found["lame_duck"]["value"] == "3s"
    assert found["lame_duck"]["origin"] == {"kind": "flag", "flag": "--lame-duck"}


def test_a_wrong_variable_is_a_mistake_in_the_configuration(tmp_path):
    env = {"WEIR_SERVER_HEADERS_MAX": "many"}
    checked = corpus.weir("check", MODEL, cwd=tmp_path, env=env)
    assert checked.returncode == CONFIG_ERROR
    assert checked.stderr.startswith("weir: WEIR_SERVER_HEADERS_MAX: expected a whole number")


@pytest.mark.parametrize("path", GOOD, **NAMES)
def test_a_dump_starts_a_process_of_the_same_configuration(path, tmp_path):
    first = corpus.weir("config", "dump", MODEL, "--config", path, cwd=tmp_path)
    again = write(tmp_path, first.stdout)
    before = dumped(tmp_path, MODEL, "--config", path)
    after = dumped(tmp_path, "--config", again)
    assert {key: entry["value"] for key, entry in before.items()} == {
        key: entry["value"] for key, entry in after.items()
    }
    second = corpus.weir("config", "dump", "--config", again, cwd=tmp_path)
    assert values(first.stdout) == values(second.stdout)
    assert corpus.weir("check", "--config", again, cwd=tmp_path).returncode == 0


def values(dump):
    """A dump without the comments that say where values are from."""
    return [re.sub(r"  # .*", "", line) for line in dump.splitlines()]


def test_a_process_started_from_a_dump_dumps_the_same(weir, tmp_path):
    options = ["--max-batch-size", "4", "--drain-timeout", "7s"]
    dump = corpus.weir("config", "dump", "serve", MODEL, *options, cwd=tmp_path).stdout
    server = weir.serve(
        config=dump.split("\n", 1)[1], env={"XDG_RUNTIME_DIR": str(tmp_path)}, port=0
    )
    path = tmp_path / f"weir-{server.address[1]}.sock"
    with running.Raw(str(path), running.socket.AF_UNIX) as raw:
        raw.request("GET", "/config")
        shown = raw.response().body.decode()
    lines = values(shown)
    assert lines[0] == "# generation 1"
    assert [line for line in lines if not line.startswith("#")] == values(dump)


# ---- diff ----


def test_a_diff_says_what_a_reload_would_do(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("version: 1\nserver: {headers_max: 20}\nmodels: {slots: 1}\n")
    new.write_text("version: 1\nlame_duck: 1s\nserver: {headers_max: 30}\nmodels: {slots: 2}\n")
    done = corpus.weir("config", "diff", old, new, cwd=tmp_path)
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [
        "lame_duck: 0 -> 1s (live)",
        "models.slots: 1 -> 2 (restart)",
        "server.headers_max: 20 -> 30 (live)",
    ]
    done = corpus.weir("config", "diff", "--json", old, new, cwd=tmp_path)
    assert {"key": "models.slots", "old": "1", "new": "2", "reload": "restart"} in json.loads(
        done.stdout
    )
    same = corpus.weir("config", "diff", old, old, cwd=tmp_path)
    assert (same.returncode, same.stdout) == (0, "")
    assert corpus.weir("config", "diff", old, tmp_path / "none", cwd=tmp_path).returncode == 78
    assert corpus.weir("config", "diff", old, cwd=tmp_path).returncode == 64


# ---- schema ----


def test_the_schema_is_one(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", GOOD + BAD, **NAMES)
def test_the_schema_agrees_with_weir_where_it_can(schema, path):
    text = path.read_text()
    if path in BAD and text.startswith("# beyond a schema"):
        pytest.skip("a schema cannot express it")
    wrong = list(jsonschema.Draft202012Validator(schema).iter_errors(corpus.parsed(text)))
    assert bool(wrong) == (path in BAD), wrong


def test_the_schema_has_everything_about_a_key(schema):
    key = schema["properties"]["server"]["properties"]["connections_max"]
    assert key["default"] == 16384 and key["x-weir-reload"] == "live" and key["description"]
    assert key["x-weir-environment"] == "WEIR_SERVER_CONNECTIONS_MAX"
    assert {"type": "integer", "minimum": 1, "maximum": 1000000} in key["anyOf"]
    level = schema["properties"]["log"]["properties"]["level"]
    assert level["x-weir-flag"] == "--log-level"
    assert {"enum": ["debug", "info", "warn", "error"]} in level["anyOf"]


# ---- upgrade ----


@pytest.mark.parametrize("path", GOOD, **NAMES)
def test_a_newest_file_is_upgraded_to_itself(path, tmp_path):
    done = corpus.weir("config", "upgrade", path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, path.read_text())


def test_a_file_of_another_version_is_not_upgraded(tmp_path):
    done = corpus.weir("config", "upgrade", corpus.CORPUS / "bad/version-2.yaml", cwd=tmp_path)
    assert done.returncode == CONFIG_ERROR and "version: 1" in done.stderr
