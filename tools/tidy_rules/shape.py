"""Sizes, complexity, plain text, and headers that compile alone."""

import csv
import io
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .tree import digest, is_test

FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70
COMPLEXITY_MAX = 15

SOURCES = (".c", ".h", ".py", ".sh", ".ts", ".css", ".yaml", ".yml", ".build", ".txt", ".md", ".proto")
# Made by a tool or fixed by others.
NOT_OURS = re.compile(r"^(LICENSE|tools/requirements/.*\.txt|console/.*\.lock|.*/package-lock\.json)$")
# Words that mark unfinished work, spelled so that this file has none.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")


def is_script(tree, path):
    return "." not in path.rsplit("/", 1)[-1] and tree.text(path).startswith("#!")


def text(tree):
    """Plain text: ends with a newline, no tabs or trailing blanks, no unfinished markers."""
    for path in tree.files:
        if NOT_OURS.match(path) or path.endswith((".onnx", ".png", ".pb", ".bin")):
            continue
        if not path.endswith(SOURCES) and not is_script(tree, path):
            continue
        content = tree.text(path)
        if content and not content.endswith("\n"):
            yield path, content.count("\n") + 1, "no newline at the end; add one"
        if "\r" in content:
            yield path, 1, "carriage returns; write plain newlines"
        for number, line in enumerate(content.splitlines(), 1):
            if line != line.rstrip() and not path.endswith(".md"):
                yield path, number, "blanks at the end of the line; remove them"
            if "\t" in line and path.endswith((".c", ".h", ".py", ".build")):
                yield path, number, "a tab; indent with spaces, write \\t in strings"
            if UNFINISHED.search(line):
                yield path, number, f"{UNFINISHED.search(line)[0]} marks unfinished work; finish it or file an issue"
        guarded = re.search(r"^#(pragma once|ifndef \w+_H)$", content, re.MULTILINE)
        if path in tree.c_files and path.endswith(".h") and not guarded:
            yield path, 1, "no include guard; begin the header with its manual, then #pragma once"


def size(tree):
    """A source has at most 1,000 lines."""
    for path in tree.files:
        if NOT_OURS.match(path) or not (path.endswith(SOURCES[:6]) or is_script(tree, path)):
            continue
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES_MAX:
            yield path, FILE_LINES_MAX, (
                f"{lines} lines, at most {FILE_LINES_MAX}; look for the second module inside"
            )


def reason_above(lines, start):
    """Whether the comment right above the function that begins at `start` says `long: why`."""
    above = start - 2
    seen = 0
    while above >= 0 and lines[above].strip() and lines[above].rstrip() != "}" and seen < 60:
        if re.search(r"\blong:\s*\S", lines[above]):
            return True
        above -= 1
        seen += 1
    return False


def functions(tree):
    """A function has at most 70 lines and complexity 15 (lizard -m), or its reason beside it."""
    files = [f for f in tree.c_files]
    if not files:
        return
    output = subprocess.run(
        [tree.tool("python"), "-m", "lizard", "-m", "--csv", "-l", "c", *files],
        cwd=tree.root,
        capture_output=True,
        text=True,
    )
    if output.returncode not in (0, 1):
        raise subprocess.CalledProcessError(output.returncode, "lizard", stderr=output.stderr)
    for row in csv.reader(io.StringIO(output.stdout)):
        complexity, length, path, name = int(row[1]), int(row[4]), row[6], row[7]
        start = int(row[9])
        if length <= FUNCTION_LINES_MAX and complexity <= COMPLEXITY_MAX:
            continue
        if reason_above(tree.text(path).splitlines(), start):
            continue
        what = []
        if length > FUNCTION_LINES_MAX:
            what.append(f"{length} lines, at most {FUNCTION_LINES_MAX}")
        if complexity > COMPLEXITY_MAX:
            what.append(f"complexity {complexity}, at most {COMPLEXITY_MAX}")
        yield path, start, (
            f"{name}: {'; '.join(what)}. Name its parts as functions;"
            " one switch or one table may stay with /* long: why */ above it"
        )


def headers(tree):
    """Every header compiles alone."""
    wanted = [f for f in tree.c_files if f.endswith(".h")]
    backends = sorted({"/".join(f.split("/")[:2]) for f in wanted if f.startswith("backends/")})
    flags = ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
    flags += ["-Wno-missing-field-initializers", "-I", "include", "-I", "src", "-isystem"]
    flags += [f"{tree.prefix}/include", "-isystem", f"{tree.prefix}/include/onnxruntime"]
    flags += [f"-I{b}" for b in ["backends", *backends]]
    # Depends on every header it may reach, so one digest of them all is the key.
    world = digest(*flags, *(tree.text(f) for f in wanted))
    cache = tree.cache("headers")

    def compile_alone(path):
        mark = cache / digest(world, path, tree.text(path))
        if mark.exists():
            return None
        extra = ["-include", "setjmp.h", "-include", "stdarg.h"] if is_test(path) else []
        done = subprocess.run(
            ["cc", *flags, *extra, "-fsyntax-only", "-x", "c", "-"],
            cwd=tree.root,
            input=f'#include "{tree.root / path}"\n',
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            mark.touch()
            return None
        first = next((m for m in done.stderr.splitlines() if "error:" in m), done.stderr[:200])
        return path, 1, f"does not compile alone ({first.strip()}); include what it uses"

    with ThreadPoolExecutor() as pool:
        yield from filter(None, pool.map(compile_alone, wanted))
