"""docs/ says what the program does: its examples run, its tables are complete."""

import json
import re
import subprocess

import pytest

import running

TEXT = (running.SOURCE / "docs" / "serve.md").read_text()


def blocks(mark):
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)


def rows(heading):
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells[2:] if not row[0].startswith("---")]


# ---- examples ----


@pytest.fixture
def served(weir):
    (command,) = blocks("serve")
    words = command.split()
    assert words[:2] == ["weir", "serve"]
    return weir.serve(*words[2:], cwd=running.SOURCE)


@pytest.mark.parametrize("block", blocks("run"))
def test_each_example_works_as_it_stands(served, block):
    script = block.replace("127.0.0.1:8080", served.authority)
    assert script != block
    # curl's -f makes a refused request fail.
    script = script.replace("curl -s ", "curl -sSf ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=running.SOURCE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_example_of_a_file_is_a_valid_one(weir):
    (text,) = blocks("config")
    version, rest = text.split("\n", 1)
    assert version == "version: 1"
    server = weir.serve(config=rest.replace("log: {level: warn}\n", ""), cwd=running.SOURCE)
    assert server.get("/v1/models/digits").status_code == 200


# ---- tables ----


def schema_keys(schema, above=""):
    """Path -> schema of every key of a file, elements of lists and maps left out."""
    found = {}
    for name, value in schema["properties"].items():
        if "properties" in value:
            found.update(schema_keys(value, f"{above}{name}."))
        elif "x-weir-reload" in value:
            found[above + name] = value
    return found


def declared():
    """Key -> (flag, default, reload), of the program's own schema."""

    def written(value):
        return json.dumps(value) if isinstance(value, (bool, int, float)) else value

    schema = json.loads(running.run_weir("config", "schema").stdout)
    return {
        key: (value.get("x-weir-flag", ""), written(value.get("default", "")), value["x-weir-reload"])
        for key, value in schema_keys(schema).items()
    }


def documented():
    table = {}
    for key, flag, default, live, _ in rows("Configuration"):
        table[key or flag] = ("" if flag == "PATH" else flag, default, live or "restart")
    return table


def test_every_key_is_documented_with_flag_default_and_reload():
    assert {key: row for key, row in documented().items() if not key.startswith("--")} == declared()


def test_every_flag_of_the_help_is_documented_with_its_default():
    text = running.run_weir("serve", "--help-all").stdout
    text = re.sub(r"\n {20,}", " ", text)
    helped = {}
    for flag, rest in re.findall(r"^  (?:-h, )?(--(?:\[no-\])?[a-z-]+)(.*)$", text, re.MULTILINE):
        default = re.search(r"\(default: (.*?)\)", rest)
        helped[flag.replace("[no-]", "")] = default[1] if default else ""
    del helped["--help"], helped["--help-all"]
    flags = {flag: default for flag, default, _ in documented().values() if flag}
    assert helped == flags


def test_the_defaults_of_the_table_are_valid_values(weir):
    tree = {}
    for key, (_, default, _) in documented().items():
        if default and not key.startswith("--") and key not in ("listen", "log.path"):
            *sections, name = key.split(".")
            at = tree
            for section in sections:
                at = at.setdefault(section, {})
            at[name] = default

    def flow(value):
        if isinstance(value, str):
            return value
        return "{" + ", ".join(f"{key}: {flow(v)}" for key, v in value.items()) + "}"

    text = "".join(f"{key}: {flow(value)}\n" for key, value in tree.items())
    weir.serve(running.MODELS / "half_plus_two.onnx", config=text)


def test_every_exit_code_that_the_process_can_give_is_documented():
    source = (running.SOURCE / "src/run/run.c").read_text()
    sysexits = {
        "EX_OK": 0,
        "EX_USAGE": 64,
        "EX_DATAERR": 65,
        "EX_NOINPUT": 66,
        "EX_UNAVAILABLE": 69,
        "EX_SOFTWARE": 70,
        "EX_OSERR": 71,
        "EX_IOERR": 74,
        "EX_NOPERM": 77,
        "EX_CONFIG": 78,
    }
    used = {sysexits[name] for name in re.findall(r"\bEX_[A-Z]+\b", source)} | {3}
    assert {int(code) for code, _ in rows("Exit codes")} == used


def test_every_log_event_is_listed_with_its_level_and_meaning():
    source = (running.SOURCE / "src" / "obs" / "events.h").read_text().replace("\\\n", "")
    table = re.findall(r'X\((?!NAME)\w+,\s*(\w+),\s*"(\w+)",\s*"([^"]+)"\)', source)
    assert len(table) > 20
    text = (running.SOURCE / "docs" / "logs.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    assert listed == [(name, level.lower(), meaning) for level, name, meaning in table]


# ---- the language ----


def test_the_examples_pass_a_strict_check():
    files = sorted((running.SOURCE / "examples").glob("*/weir.yaml"))
    assert files
    for path in files:
        done = running.run_weir("check", "--strict", "--config", path, cwd=running.SOURCE)
        assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr


def test_the_page_on_configuration_shows_what_the_program_says(tmp_path):
    text = (running.SOURCE / "docs" / "config.md").read_text()
    (file,) = re.findall(r"```yaml\n(version: 1 .*?)```", text, re.DOTALL)
    (tmp_path / "weir.yaml").write_text(file)
    env = {"HOST": "127.0.0.1", "WEIR_LAME_DUCK": "2s"}
    dump = running.run_weir("config", "dump", "--config", "weir.yaml", cwd=tmp_path, env=env).stdout
    (shown,) = re.findall(r"weir config dump --config weir.yaml\n(.*?)```", text, re.DOTALL)
    lines = dump.splitlines()
    assert [line for line in shown.splitlines() if line not in lines] == []
    (tmp_path / "weir.yaml").write_text(
        "version: 1\n\nserver:\n  conections_max: 3\n  half_close: yes\n"
    )
    checked = running.run_weir("check", "--config", "weir.yaml", cwd=tmp_path)
    assert checked.stderr in text


# ---- promises ----


def promises():
    """The last cell of each row of docs/reliability.md's tables of promises."""
    text = (running.SOURCE / "docs" / "reliability.md").read_text()
    for table in re.findall(r"^\| promise \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            promise, _, tests = (cell.strip() for cell in row.strip("|").rsplit("|", 2))
            yield promise, tests


@pytest.mark.parametrize("promise, tests", list(promises()), ids=lambda text: text[:40])
def test_each_promise_names_a_test_that_is_there(promise, tests):
    names = re.findall(r"`([^`]+)`", tests)
    assert names and re.sub(r"`[^`]+`|[ ,]", "", tests) == "", tests
    targets = re.findall(r"^([\w-]+):", (running.SOURCE / "Makefile").read_text(), re.MULTILINE)
    for name in names:
        if name.startswith("make "):
            assert name.removeprefix("make ") in targets, name
        else:
            file, _, test = name.partition("::")
            assert re.search(rf"\b{test}\(", (running.SOURCE / file).read_text()), name
