"""Each rule fires on bad code, names what to do instead, and is silent on good code.

A small project is written into a temporary folder, built, and checked: once
good as it is, then once for every case below with one file changed or added.
"""

import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import RULES
from .shape import FILE_LINES_MAX
from .tree import Tree

GOOD = {
    "include/weir/backend.h": "/* ABI. */\n#pragma once\n#include <stdint.h>\n\nint32_t weir_version(void);\n",
    "src/base/result.h": """/* Results. */
#pragma once
#include <stdint.h>

typedef struct [[nodiscard]] result {
    uint16_t code;
} result;

static inline void ignore(result r)
{
    (void)r;
}
""",
    "src/base/span.h": '/* Spans. */\n#pragma once\n#include "base/result.h"\n\nresult span_check(int x);\nint span_sum(int a, int b);\n',
    "src/base/span.c": """#include "base/span.h"

result span_check(int x)
{
    return (result){x > 0};
}

int span_sum(int a, int b)
{
    return a + b;
}
""",
    "src/net/pool.h": "/* Pools. */\n#pragma once\n\nint pool_get(int x);\n",
    "src/net/pool.c": """#include "net/pool.h"

#include "base/span.h"

static const char *const names[] = {"a strcpy( in a string", "malloc("};

/* Not a call: free(x), TIME(0). */
int pool_get(int x)
{
    result r = span_check(x);
    /* Why: the answer is the same either way. */
    ignore(span_check(x + 1));
    return span_sum(r.code, names[x & 1][0]);
}
""",
    "src/cmd/main.c": '#include "net/pool.h"\n\nint main(int argc, char **argv)\n{\n    (void)argv;\n    return pool_get(argc);\n}\n',
    "src/base/span_test.c": '#include "base/span.h"\n\nint main(void)\n{\n    return span_sum(1, -1);\n}\n',
    "tools/tidy-exceptions.txt": "# none\n",
    "meson.build": """project('toy', 'c', default_options: ['c_std=gnu17', 'warning_level=2'])
inc = include_directories('include', 'src')
add_project_arguments('-Wno-pedantic', language: 'c')
executable('toy', files('src/base/span.c', 'src/net/pool.c', 'src/cmd/main.c'), include_directories: inc)
executable('span-test', files('src/base/span.c', 'src/base/span_test.c'), include_directories: inc)
""",
}

MAIN = GOOD["src/cmd/main.c"]
POOL = GOOD["src/net/pool.c"]
SPAN = GOOD["src/base/span.c"]
SPAN_TEST = GOOD["src/base/span_test.c"]


def pool_with(line):
    """pool.c with one more statement."""
    return POOL.replace("    result r =", f"    {line}\n    result r =")


def long_function(lines, above=""):
    return POOL + f"\n{above}int pool_long(int x);\nint pool_long(int x)\n{{\n" + "    x++;\n" * lines + "    return x;\n}\n"


def branches(count, above=""):
    body = "".join(f"    if (x == {i})\n        return {i * 7};\n" for i in range(count))
    return POOL + f"\n{above}int pool_long(int x);\nint pool_long(int x)\n{{\n{body}    return x;\n}}\n"


LONG = "/* long: one table, read from top to bottom. */\n"

# (what it shows, rule, changed files, a part of the message or None for silence)
CASES = [
    ("base includes net", "layers", {"src/base/span.c": '#include "net/pool.h"\n' + SPAN}, "base may not include"),
    ("net includes a role", "layers", {"src/serve/x.h": "#pragma once\n", "src/net/pool.c": '#include "serve/x.h"\n' + POOL}, "net may not include"),
    ("a role includes another role", "layers", {"src/serve/x.h": "#pragma once\n", "src/gateway/y.h": '#pragma once\n#include "serve/x.h"\n'}, "gateway may not include"),
    ("a backend includes base", "layers", {"backends/toy/b.c": '#include "base/span.h"\n'}, "asks the host for the rest"),
    ("a test may include everything", "layers", {"src/base/x_test.c": '#include "net/pool.h"\n'}, None),
    ("a role may include net", "layers", {"src/serve/x.c": '#include "net/pool.h"\n'}, None),
    ("an include without its folder", "layers", {"src/net/pool.c": POOL.replace('"net/pool.h"', '"pool.h"')}, "write the include from src/"),
    ("libuv outside src/io/uv", "libraries", {"src/net/pool.c": "#include <uv.h>\n" + POOL}, "use io/io.h"),
    ("threads outside io", "libraries", {"src/base/span.c": "#include <pthread.h>\n" + SPAN}, "threads are io's"),
    ("an engine outside backends", "libraries", {"src/net/pool.c": "#include <onnxruntime/onnxruntime_c_api.h>\n" + POOL}, "include/weir/backend.h"),
    ("strcpy", "calls", {"src/net/pool.c": pool_with("strcpy(a, b);")}, "struct text"),
    ("sprintf", "calls", {"src/base/span.c": SPAN.replace("    return a", "    sprintf(a, b);\n    return a")}, "struct text"),
    ("atoi, even in a test", "calls", {"src/base/span_test.c": SPAN_TEST.replace("return", "atoi(0);\n    return")}, "base/number.h"),
    ("raw malloc in base", "calls", {"src/base/span.c": SPAN.replace("    return a", "    malloc(1);\n    return a")}, "base/alloc.h"),
    ("raw malloc in base/alloc.c is allowed", "calls", {"src/base/alloc.c": "void *f(void)\n{\n    return malloc(1);\n}\n"}, None),
    ("a socket outside io", "calls", {"src/net/pool.c": pool_with("socket(1, 2, 3);")}, "stream_"),
    ("a file outside io", "calls", {"src/net/pool.c": pool_with("fopen(a, b);")}, "file_"),
    ("the clock outside io", "calls", {"src/net/pool.c": pool_with("clock_gettime(0, t);")}, "loop_now"),
    ("randomness outside io", "calls", {"src/net/pool.c": pool_with("rand();")}, "process_random"),
    ("a thread outside io", "calls", {"src/net/pool.c": pool_with("pthread_create(a, b, c, d);")}, "io_work"),
    ("a thread-local above io", "calls", {"src/net/pool.c": "static _Thread_local int x;\n" + POOL}, "struct loop"),
    ("a process outside io", "calls", {"src/net/pool.c": pool_with("fork();")}, "io/io.h"),
    ("printing outside commands", "calls", {"src/net/pool.c": pool_with('printf("x");')}, "roles log"),
    ("a member named like a call is no call", "calls", {"src/net/pool.c": pool_with("ops->open(x); ops.read(x);")}, None),
    ("a call in a comment or a string is no call", "calls", {"src/net/pool.c": pool_with('x = "strcpy(a, b)"; /* malloc(1) */')}, None),
    ("an exception with its reason", "calls", {"src/net/pool.c": pool_with("sleep(1);"), "tools/tidy-exceptions.txt": "calls src/net/pool.c:sleep it is tired\n"}, None),
    ("atomics above io", "atomics", {"src/net/pool.c": "static _Atomic int x;\n" + POOL}, "ring, ref and quota"),
    ("atomics in the run slots are allowed", "atomics", {"src/model/slots.c": "static _Atomic int x;\n"}, None),
    ("a result dropped by a bare call", "result", {"src/net/pool.c": pool_with("span_check(2);")}, "pass it on with TRY"),
    ("a result cast away", "result", {"src/net/pool.c": pool_with("(void)span_check(2);")}, "pass it on with TRY"),
    ("a result dropped after if", "result", {"src/net/pool.c": pool_with("if (x) {\n        span_check(2);\n    }")}, "not looked at"),
    ("ignore without a reason", "result", {"src/net/pool.c": POOL.replace("    /* Why: the answer is the same either way. */\n", "")}, "write a comment beside it"),
    ("a function of the same name that returns no result", "result", {"src/net/pool.c": pool_with("span_check(2);").replace("static const char", "static int span_check(int x);\nstatic const char")}, None),
    ("ignore beside its reason on the line", "result", {"src/net/pool.c": POOL.replace("    /* Why: the answer is the same either way. */\n", "").replace("x + 1));", "x + 1)); /* the same */")}, None),
    ("a mutable global above io", "globals", {"src/net/pool.c": "int pool_count;\n" + pool_with("pool_count++;")}, "hang it from"),
    ("a static variable in a function", "globals", {"src/net/pool.c": pool_with("static int count; names[0][0] == 'x' ? count++ : 0;")}, "hang it from"),
    ("a mutable global in io is io's", "globals", {"src/io/x.c": "int io_count;\n", "meson.build": GOOD["meson.build"] + "static_library('io', 'src/io/x.c')\n"}, None),
    ("a plug-in that exports another name", "exports", {"backends/toy/b.c": "int other(void);\nint other(void)\n{\n    return 1;\n}\n", "meson.build": GOOD["meson.build"] + "subdir('backends')\n", "backends/meson.build": "shared_module('toy-backend', 'toy/b.c')\n"}, "make it static"),
    ("a plug-in that exports its entry", "exports", {"backends/toy/b.c": "int weir_backend(void);\nint weir_backend(void)\n{\n    return 1;\n}\n", "meson.build": GOOD["meson.build"] + "subdir('backends')\n", "backends/meson.build": "shared_module('toy-backend', 'toy/b.c')\n"}, None),
    ("a header that needs another before it", "headers", {"src/net/pool.h": "#pragma once\n\nint pool_get(uint32_t x);\n"}, "include what it uses"),
    ("a source over the limit", "size", {"src/net/big.c": "int x;\n" * (FILE_LINES_MAX + 1)}, "second module inside"),
    ("a source at the limit", "size", {"src/net/big.c": "int x;\n" * FILE_LINES_MAX}, None),
    ("a long function", "functions", {"src/net/pool.c": long_function(70)}, "/* long: why */"),
    ("a long function with its reason", "functions", {"src/net/pool.c": long_function(70).replace("int pool_long(int x)\n{", LONG + "int pool_long(int x)\n{")}, None),
    ("a function that fits", "functions", {"src/net/pool.c": long_function(60)}, None),
    ("a function too complex", "functions", {"src/net/pool.c": branches(15)}, "complexity 16"),
    ("a function complex enough", "functions", {"src/net/pool.c": branches(14)}, None),
    ("a function that only tests use", "unused", {"src/net/pool.c": POOL.replace("span_sum(r.code, names[x & 1][0])", "r.code")}, "only tests use span_sum"),
    ("a function that nothing uses", "unused", {"src/net/pool.c": POOL + "\nint pool_extra(void);\nint pool_extra(void)\n{\n    return 1;\n}\n"}, "nothing uses pool_extra"),
    ("a function that only its own file uses", "unused", {"src/net/pool.c": POOL.replace("int pool_get", "int pool_own(int x);\nint pool_own(int x)\n{\n    return x;\n}\n\nint pool_get").replace("return span_sum(", "return pool_own(x) + span_sum(")}, "make it static"),
    ("an inline function that nothing uses", "unused", {"src/net/pool.h": GOOD["src/net/pool.h"] + "static inline int pool_twice(int x)\n{\n    return x + x;\n}\n"}, "nothing uses pool_twice"),
    ("an exception for a public set", "unused", {"src/net/pool.c": POOL + "\nint pool_extra(void);\nint pool_extra(void)\n{\n    return 1;\n}\n", "tools/tidy-exceptions.txt": "unused pool_ext* a set that users expect\n"}, None),
    ("code that is not formatted", "format", {"src/net/pool.c": POOL.replace("    return", "  return")}, "make format"),
    ("a bug that clang-tidy sees", "clang-tidy", {"src/net/pool.c": POOL.replace("return span_sum", "int *p = 0;\n    if (x > 3) {\n        return *p;\n    }\n    return span_sum")}, "ereference of null pointer"),
    ("unfinished work", "text", {"src/net/pool.c": "/* TO" + "DO: the rest. */\n" + POOL}, "finish it"),
    ("a header without a guard", "text", {"src/net/x.h": "int x;\n"}, "#pragma once"),
    ("no newline at the end", "text", {"src/net/x.c": "int x;"}, "add one"),
]  # fmt: skip

NEEDS_BUILD = {"globals", "exports", "unused", "clang-tidy"}


class Project:
    """A folder with the good project; each case is laid over it and taken away again."""

    def __init__(self, root, real_root):
        self.root = root
        self.build = root / "build"
        for path in (".clang-format", ".clang-tidy"):
            (root / path).write_text((real_root / path).read_text())
        (root / ".gitignore").write_text("/build/\n")
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.changed = {}
        self.lay({})
        self.run("meson", "setup", "build")

    def lay(self, files):
        for path in self.changed.keys() - files.keys() - GOOD.keys():
            (self.root / path).unlink()
        for path, content in {**GOOD, **files}.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists() or file.read_text() != content:
                file.write_text(content)
        self.changed = files

    def run(self, *command):
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-800:]}{done.stderr[-800:]}")

    def findings(self, rule, files):
        self.lay(files)
        if rule in NEEDS_BUILD:
            self.run("ninja", "-C", "build")
        tree = Tree(self.root, self.build)
        found = list(RULES[rule](tree))
        return found, tree.exceptions.stale()


def main(real_root):
    passed = failed = 0
    begun = time.monotonic()

    def judge(title, good, seen):
        nonlocal passed, failed
        passed, failed = passed + bool(good), failed + (not good)
        if not good:
            print(f"self-test: {title}: FAILED; the rule said: {seen or 'nothing'}")

    with tempfile.TemporaryDirectory(prefix="weir-tidy-") as folder:
        project = Project(Path(folder), real_root)
        for rule in RULES:
            found, _ = project.findings(rule, {})
            judge(f"{rule} is silent on good code", not found, found)
        for title, rule, files, message in CASES:
            try:
                found, stale = project.findings(rule, files)
            except Exception as error:  # counted, and the next case goes on
                traceback.print_exc(file=sys.stdout)
                judge(title, False, error)
                continue
            if message is None:
                judge(title, not found and not stale, found + stale)
            else:
                judge(title, any(message in text for _, _, text in found), found)
        stale = {"tools/tidy-exceptions.txt": "unused nobody_* it was needed once\nunused x\n"}
        project.lay(stale)
        judge("an exception that nothing needs", len(Tree(project.root, project.build).exceptions.stale()) == 2, "")
        covered = {rule for _, rule, _, message in CASES if message}
        judge("every rule has a case in which it fires", covered == set(RULES), set(RULES) - covered)
    print(f"tidy: {passed} passed, {failed} failed")
    print(f"tidy: self-test took {time.monotonic() - begun:.1f} s")
    return 1 if failed else 0
