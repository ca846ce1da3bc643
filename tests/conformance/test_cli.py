"""Help, manual and completion: each says what the parser takes, in a form that its reader can use."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import running
from test_docs import rows, schema_keys

ROLE = ("serve",)
COMMANDS = [
    ("serve",),
    ("check",),
    ("config", "dump"),
    ("config", "diff"),
    ("config", "schema"),
    ("config", "upgrade"),
    ("man",),
    ("completion",),
]
PAGES = [
    "weir",
    "weir-serve",
    "weir-check",
    "weir-config",
    "weir-man",
    "weir-completion",
    "weir.yaml",
]
VALUES = {
    "N": "1",
    "TIME": "10ms",
    "SIZE": "1MiB",
    "PATH": "x",
    "ADDRESS": "127.0.0.1:1",
    "NAME": "a",
    "TEXT": "a",
}
IDS = {"ids": " ".join}


def said(*words):
    done = running.run_weir(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def options(text):
    """Flag -> placeholder of a help page, booleans with an empty one."""
    found = re.findall(r"^  (?:-h, )?--(?:\[no-\])?([a-z-]+)(?: ([A-Z]+|[a-z|]+\|[a-z]+))?", text, re.M)
    return {"--" + name: value for name, value in found}


# ---- help ----


def test_the_commands_listed_are_those_there_are():
    listed = re.findall(r"^  (\w+) +\S", said("--help").split("commands:")[1], re.MULTILINE)
    below = re.findall(r"^  (\w+) +\S", said("config", "--help"), re.MULTILINE)
    names = [(name,) for name in listed if name not in ("config", "weir")]
    assert sorted(names + [("config", name) for name in below]) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [(), ("config",), *COMMANDS], **IDS)
def test_help_fits_a_screen(command):
    lines = said(*command, "--help").splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", COMMANDS, **IDS)
def test_every_option_of_the_help_is_taken_by_the_parser(command):
    text = said(*command, "--help-all")
    assert set(options(said(*command, "--help"))) <= set(options(text))
    for flag, value in options(text).items():
        words = [flag]
        if value:
            words.append(VALUES.get(value, value.split("|")[0]))
        said(*command, *words, "--help")
        if f"--[no-]{flag[2:]}" in text:
            said(*command, f"--no-{flag[2:]}", "--help")


def test_every_option_of_the_parser_is_in_the_help():
    helped = set(options(said(*ROLE, "--help-all")))
    schema = schema_keys(json.loads(said("config", "schema")))
    flags = {key["x-weir-flag"] for key in schema.values() if "x-weir-flag" in key}
    dumped = {entry["key"] for entry in json.loads(said("config", "dump", "--json"))}
    flags |= {key for key in dumped if key.startswith("--")}
    own = {"--config", "--loops", "--allow-deprecated", "--help", "--help-all"}
    assert helped == flags | own


def test_a_misspelt_word_is_told_what_was_meant():
    for words, meant in (
        (["serv"], "did you mean 'serve'"),
        (["config", "dmup"], "did you mean 'dump'"),
        (["check", "--strickt"], "unknown option '--strickt'"),
        (["serve", "--lame-duk", "1s"], "did you mean '--lame-duck'"),
    ):
        done = running.run_weir(*words)
        assert done.returncode == 64 and meant in done.stderr


# ---- manual ----


@pytest.mark.parametrize("page", PAGES)
def test_a_manual_page_is_well_formed(page, tmp_path):
    path = tmp_path / page
    path.write_text(said("man", page))
    checked = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, "")
    if shutil.which("man") and shutil.which("groff"):
        shown = subprocess.run(
            ["man", "--warnings", "-l", path],
            env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0 and not shown.stderr, shown.stderr


def plain(page):
    text = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=200"],
        input=said("man", page),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return re.sub(".\b", "", text)


def test_the_manual_has_every_option_and_every_key():
    serve = plain("weir-serve")
    for flag in options(said(*ROLE, "--help-all")):
        assert re.search(rf"--(\[no-\])?{flag[2:]}\b", serve), flag
    keys = plain("weir.yaml")
    for key in schema_keys(json.loads(said("config", "schema"))):
        assert re.search(rf"^ +{re.escape(key)}: ", keys, re.MULTILINE), key


def test_the_manual_has_every_exit_code_of_the_documentation():
    told = set(re.findall(r"^ +(\d+) +\S", plain("weir-serve").split("EXIT STATUS")[1], re.M))
    assert {code for code, _ in rows("Exit codes")} <= told


def test_there_is_no_page_of_nothing():
    assert running.run_weir("man", "weir-nothing").returncode == 64


# ---- completion ----


@pytest.fixture
def folder(tmp_path):
    """A place with one file, and weir on the path."""
    (tmp_path / "wonder.yaml").write_text("version: 1\n")
    return tmp_path


def environment(folder):
    return {
        **running.environment(),
        "PATH": f"{running.BUILD}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "none"),
        "XDG_DATA_HOME": str(folder / "none"),
        "TERM": "dumb",
    }


def bash(folder, line):
    """What bash offers for the last word of the line."""
    script = """
source <(weir completion bash)
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_weir
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", line],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


def fish(folder, line):
    script = "weir completion fish | source; complete -C $argv[1]"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


# Words before the cursor, and what is among the offers, and what is not.
OFFERS = [
    ("weir ", ["serve", "check", "config", "man", "completion"], ["dump"]),
    ("weir se", ["serve"], ["check"]),
    ("weir config ", ["dump", "diff", "schema", "upgrade"], ["serve"]),
    ("weir serve --lo", ["--log-level", "--log-format", "--loops"], ["--strict"]),
    ("weir serve --log-level ", ["debug", "info", "warn", "error"], ["json"]),
    ("weir serve --slots ", ["auto"], ["wonder.yaml"]),
    ("weir serve --config ", ["wonder.yaml"], ["debug"]),
    ("weir serve w", ["wonder.yaml"], []),
    ("weir check --", ["--strict", "--json", "--config", "--port"], []),
    ("weir check ", ["serve"], []),
    ("weir config diff ", ["wonder.yaml"], []),
    ("weir completion ", ["bash", "zsh", "fish"], ["wonder.yaml"]),
]


@pytest.mark.parametrize("shell", [bash, fish], ids=["bash", "fish"])
@pytest.mark.parametrize("line, wanted, unwanted", OFFERS, ids=[row[0] for row in OFFERS])
def test_a_shell_offers_what_can_follow(shell, folder, line, wanted, unwanted):
    offers = shell(folder, line)
    assert set(wanted) <= set(offers) and not set(unwanted) & set(offers)


class Terminal:
    """A shell at a terminal of its own, that is typed into."""

    def __init__(self, command, cwd, env):
        try:
            master, slave = pty.openpty()
        except OSError as error:
            pytest.skip(f"no terminal to type at: {error}")
        self.master, self.text = master, ""
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, start_new_session=True
        )
        os.close(slave)

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern):
        """Reads until the pattern has come; gives what came up to its end."""
        end = time.monotonic() + running.PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"waited in vain for {pattern}: {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        came, self.text = self.text[: found.end()], self.text[found.end() :]
        return came

    def close(self):
        os.close(self.master)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def zsh(folder):
    terminal = Terminal(["zsh", "-f", "-i"], folder, environment(folder))
    terminal.type("PS1='ready> '; unsetopt beep zle_bracketed_paste 2>/dev/null; stty -echo\n")
    terminal.type("autoload -U compinit && compinit -u -D; source <(weir completion zsh)\n")
    # A key that prints the line as the shell has it, whatever the terminal shows.
    terminal.type("show() { zle -I; print -r -- \"<$BUFFER>\"; BUFFER=; }; zle -N show\n")
    terminal.type("bindkey '^X^P' show; PS1='be''gin> '\n")
    terminal.until("begin> ")
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    "typed, completed",
    [
        ("weir se", "weir serve "),
        ("weir config sch", "weir config schema "),
        ("weir serve --log-l", "weir serve --log-level="),
        ("weir serve --log-level=er", "weir serve --log-level=error "),
        ("weir serve --config won", "weir serve --config wonder.yaml "),
        ("weir config diff won", "weir config diff wonder.yaml "),
        ("weir check --stri", "weir check --strict "),
        ("weir completion fi", "weir completion fish "),
    ],
)
def test_zsh_completes_what_is_begun(zsh, typed, completed):
    zsh.type(typed + "\t\x18\x10")
    assert zsh.until(r"<weir [^>]*>").endswith(f"<{completed}>")
