"""The files of tests/config_corpus, and what can be done to them."""

import os
import random
import re
import signal
import socket
import subprocess

import yaml

import running

CORPUS = running.SOURCE / "tests" / "config_corpus"
GOOD = sorted((CORPUS / "good").glob("*.yaml"))
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
ENVIRONMENT = {"WEIR_CORPUS_NUMBER": "8", "WEIR_CORPUS_HOST": "127.0.0.1"}
MODEL = running.MODELS / "half_plus_two.onnx"
CONFIG_ERROR = 78


def weir(*arguments, cwd, env=None):
    return running.run_weir(*arguments, env={**ENVIRONMENT, **(env or {})}, cwd=cwd)


def start(folder, path):
    """Starts `weir serve` with the file; gives (exit code, what it said), code 0 for a start that
    came to readiness, and was then ended."""
    told_at = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(told_at))
        told.settimeout(0.002)
        process = subprocess.Popen(
            [running.WEIR, "serve", MODEL, "--config", path, "--port", "0"],
            env=running.environment({**ENVIRONMENT, "NOTIFY_SOCKET": str(told_at)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
        )
        ready = False
        while not ready and process.poll() is None:
            try:
                ready = b"READY=1" in told.recv(4096)
            except TimeoutError:
                continue
        if ready:
            process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=running.PATIENCE)
    os.unlink(told_at)
    assert process.returncode >= 0 and not running.REPORTS.search(text), text
    return (0 if ready else process.returncode), text


def complaints(text):
    """What a start or a check says of mistakes, without the log."""
    return [line for line in text.splitlines() if re.match(r"weir: (?!warning: )", line)]


def mutated(text, chance):
    """The file with a few bytes, words or lines changed."""
    lines = text.splitlines(keepends=True)
    spice = ":-{}[]&*!|>'\"#%@`,? \n$0123456789abcsMiBoff~"
    words = ["1MiB", "10s", "true", "off", "null", "0", "-1", "999999999", "json", "[]", "{}"]
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(5)
        at = chance.randrange(len(lines)) if lines else 0
        if not lines:
            lines = ["version: 1\n"]
        elif kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, chance.choice(lines))
        elif kind == 2:
            lines[at] = re.sub(r": \S+", lambda _: ": " + chance.choice(words), lines[at], count=1)
        else:
            place = chance.randrange(len(lines[at]) + 1)
            cut = chance.randrange(2)
            lines[at] = lines[at][:place] + chance.choice(spice) * cut + lines[at][place + 1 - cut :]
    return "".join(lines)


def mutants(count, seed, files=None):
    chance = random.Random(seed)
    texts = [path.read_text() for path in files or GOOD]
    return [mutated(chance.choice(texts), chance) for _ in range(count)]


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema (10.3.2), which Weir reads; PyYAML's own is that of 1.1."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", list("~nN") + [""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def core_int(loader, node):
    text = node.value
    return int(text, 0) if text.startswith(("0x", "0o")) else int(text, 10)


Core.add_constructor("tag:yaml.org,2002:int", core_int)


def parsed(text):
    return yaml.load(text, Loader=Core)
