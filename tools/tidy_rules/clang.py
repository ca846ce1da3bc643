"""clang-format and clang-tidy, pinned, with results remembered by content."""

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .symbols import NO_BUILD
from .tree import digest, is_test

FINDING = re.compile(r"^(?P<path>[^:\n]+):(?P<line>\d+):\d+: (?:error|warning): (?P<message>.*)$")
BROKE = "clang-tidy failed"
# What GCC takes and Clang does not know.
GCC_ONLY = ("-Wno-maybe-uninitialized",)


def rewrite(tree):
    subprocess.run([tree.tool("clang-format"), "-i", *tree.c_files], cwd=tree.root, check=True)
    print(f"{len(tree.c_files)} files formatted")


def format_check(tree):
    """Formatted by the pinned clang-format."""
    tool, cache = tree.tool("clang-format"), tree.cache("format")
    world = digest((tree.root / ".clang-format").read_text(), tool)

    def check(path):
        mark = cache / digest(world, tree.text(path))
        if mark.exists():
            return None
        done = subprocess.run(
            [tool, "--dry-run", "-Werror", path], cwd=tree.root, capture_output=True, text=True
        )
        if done.returncode == 0:
            mark.touch()
            return None
        line = re.search(r":(\d+):\d+: error:", done.stderr)
        return path, int(line[1]) if line else 1, "not formatted; run `make format`"

    with ThreadPoolExecutor() as pool:
        yield from filter(None, pool.map(check, tree.c_files))


def project_headers(tree):
    """{object: [headers of the project that it was compiled from]}, as ninja recorded them."""
    done = subprocess.run(
        ["ninja", "-C", str(tree.build), "-t", "deps"], capture_output=True, text=True
    )
    table, current = {}, None
    for line in done.stdout.splitlines():
        if line and not line.startswith(" "):
            current = table.setdefault(line.split(":")[0], [])
        elif line.strip() and current is not None:
            file = os.path.relpath(tree.build / line.strip(), tree.root)
            if not file.startswith(".."):
                current.append(file)
    return table


def clang_arguments(command):
    """The compiler's arguments that matter to a parser."""
    words, kept, skip = shlex.split(command)[1:], [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = True
        elif word in ("-c", "-MD", "-g") or word in GCC_ONLY or word.startswith("-O"):
            continue
        elif not word.endswith(".c"):
            kept.append(word)
    return [*kept, "-Wno-unknown-warning-option", "-Wno-unknown-attributes"]


def knows_diag(tree, path):
    """Whether the analyser's stand-ins for diag_fail fit: above base, where there is such a thing."""
    return (
        path.startswith("src/")
        and not is_test(path)
        and not path.startswith("src/base/")
        and (tree.root / "src" / "base" / "diag.h").is_file()
    )


def tidy(tree):
    """clang-tidy's findings; .clang-tidy lists the checks and why some are off."""
    if not tree.units:
        yield "build", 1, NO_BUILD
        return
    tool, cache = tree.tool("clang-tidy"), tree.cache("clang-tidy")
    stand_ins = (Path(__file__).parent / "analyzer.h").read_text()
    world = digest((tree.root / ".clang-tidy").read_text(), tool, stand_ins, "1")
    headers = project_headers(tree)
    units = {u["file"]: u for u in tree.units}.values()

    def check(unit):
        found, mark = run(unit)
        if any(message.startswith(BROKE) for _, _, message in found):
            found, mark = run(unit)  # the source may have changed while it was read
        if not found and mark:
            mark.touch()
        return found

    def run(unit):
        arguments = clang_arguments(unit["command"])
        used = headers.get(os.path.relpath(unit["object"], tree.build), [])
        portable = [a.replace(str(tree.root), "").replace(str(tree.build), "") for a in arguments]
        # Without ninja's record of the headers nothing is remembered.
        key = digest(world, *portable, tree.text(unit["file"]), *(tree.text(h) for h in sorted(used)))
        mark = cache / key if used else None
        if mark and mark.exists():
            return [], None
        if knows_diag(tree, unit["file"]):
            arguments = [*arguments, "-include", str(Path(__file__).parent / "analyzer.h")]
        extra = ["--checks=-clang-analyzer-*"] if is_test(unit["file"]) else []
        done = subprocess.run(
            [tool, "--quiet", *extra, str(tree.root / unit["file"]), "--", *arguments],
            cwd=unit["directory"],
            capture_output=True,
            text=True,
        )
        found = []
        for line in done.stdout.splitlines():
            match = FINDING.match(line)
            if match:
                path = os.path.relpath(unit["directory"] / match["path"], tree.root)
                found.append((path, int(match["line"]), f"{match['message']}; mend it, or say"
                              " /* NOLINTNEXTLINE(check): why */ above it"))  # fmt: skip
        if not found and done.returncode != 0:
            found.append((unit["file"], 1, f"{BROKE}: {done.stderr.strip()[-300:]}"))
        return found, mark

    # The largest first, so that no long one is left for the end.
    order = sorted(units, key=lambda u: -len(tree.text(u["file"])))
    with ThreadPoolExecutor() as pool:
        for found in pool.map(check, order):
            yield from found
