"""The files that the rules look at, and what they share: text without comments,
the exceptions, the build directory, a cache outside the tree."""

import hashlib
import json
import os
import re
import subprocess
from functools import cached_property
from pathlib import Path

C_FOLDERS = ("include/", "src/", "backends/", "tests/", "bench/", "examples/")
# A comment, a string or a character constant; anything else is code.
NOT_CODE = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)


def blank(match):
    """The same length, the same lines, nothing to read; strings keep their quotes."""
    found = match.group(0)
    if found[0] in "\"'":
        return found[0] + " " * (len(found) - 2) + found[0]
    return re.sub(r"[^\n]", " ", found)


def is_test(path):
    """Code that may reach everywhere, since it stands for the outside world."""
    name = path.rsplit("/", 1)[-1]
    return path.startswith(("tests/", "bench/")) or name.startswith("test_") or path.endswith(
        ("_test.c", "_fuzz.c", "_bench.c", "_test.h")
    )


class Exceptions:
    """`RULE SUBJECT reason`: what a rule leaves alone. One that is never needed is a finding."""

    def __init__(self, file):
        self.entries = {}
        self.used = set()
        self.bad = []
        lines = file.read_text().splitlines() if file.exists() else []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = line.split(None, 2)
            if len(parts) < 3:
                self.bad.append((number, "expected `RULE SUBJECT reason`; say why it is needed"))
                continue
            self.entries[(parts[0], parts[1])] = number

    def allow(self, rule, subject):
        """SUBJECT as written, or one that ends in `*` and begins like it."""
        for (of, name), _ in self.entries.items():
            if of == rule and (
                name == subject or (name.endswith("*") and subject.startswith(name[:-1]))
            ):
                self.used.add((of, name))
                return True
        return False

    def stale(self):
        unused = [
            (line, f"nothing needs this exception any more ({rule} {name}); remove it")
            for (rule, name), line in self.entries.items()
            if (rule, name) not in self.used
        ]
        return sorted(self.bad + unused)


class Tree:
    def __init__(self, root, build, exceptions=None):
        self.root = Path(root)
        self.build = Path(build)
        self.exceptions = Exceptions(
            exceptions or self.root / "tools" / "tidy-exceptions.txt"
        )
        self._text = {}
        self._code = {}

    @cached_property
    def files(self):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        return sorted(f for f in set(listed) if f and (self.root / f).is_file())

    @cached_property
    def c_files(self):
        return [f for f in self.files if f.startswith(C_FOLDERS) and f.endswith((".c", ".h"))]

    def text(self, path):
        if path not in self._text:
            self._text[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._text[path]

    def code(self, path):
        """The file's text with comments and string contents blanked, line for line."""
        if path not in self._code:
            self._code[path] = NOT_CODE.sub(blank, self.text(path))
        return self._code[path]

    def tool(self, name):
        """A tool of the pinned Python environment."""
        venv = subprocess.run(
            [Path(__file__).parent.parent / "setup", "--venv", "tidy"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        return Path(venv) / "bin" / name

    @cached_property
    def prefix(self):
        return subprocess.run(
            [Path(__file__).parent.parent / "setup", "--prefix"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    @cached_property
    def units(self):
        """The translation units that were built: {'file', 'object', 'arguments'}."""
        database = self.build / "compile_commands.json"
        if not database.exists():
            return None
        units = []
        for entry in json.loads(database.read_text()):
            directory = Path(entry["directory"])
            file = os.path.relpath(directory / entry["file"], self.root)
            if file.startswith(C_FOLDERS) and (self.root / file).is_file():
                units.append(
                    {
                        "file": file,
                        "object": directory / entry["output"],
                        "command": entry["command"],
                        "directory": directory,
                    }
                )
        return units

    def cache(self, name):
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "weir" / "tidy" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        whole.update(str(len(data)).encode() + b":" + data)
    return whole.hexdigest()[:32]
