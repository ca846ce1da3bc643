"""What the built objects say: mutable globals, exported names, functions without a user."""

import re
import subprocess

from .tree import is_test

NO_BUILD = "nothing built to look at; run `make tidy`, which builds first"
WRITABLE = re.compile(r"^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*)")
INLINE = re.compile(r"^static\s+inline\s+[^;{}=]*?\b(\w+)\s*\(", re.MULTILINE)
ABI_NAME = re.compile(r"\b(weir_\w+)\s*\(")


def nm(path, *options):
    return subprocess.run(
        ["nm", *options, str(path)], capture_output=True, text=True, check=True
    ).stdout


def symbols_of(tree):
    """{source: (defined functions and data, undefined names, writable data)} of every object."""
    if not hasattr(tree, "_symbols"):
        tree._symbols = {}
        for unit in tree.units or []:
            if not unit["object"].exists():
                continue
            defined, undefined, writable = {}, set(), []
            for line in nm(unit["object"], "-f", "sysv").splitlines():
                parts = [p.strip() for p in line.split("|")]
                if len(parts) != 7 or parts[0] == "Name":
                    continue
                name, kind, section = parts[0], parts[2], parts[6]
                if name.startswith("DW.ref."):  # the compiler's own, for unwinding
                    continue
                if kind in "Uv" or (kind == "w" and section == "*UND*"):
                    undefined.add(name)
                elif kind in "TDRBVWCG":
                    defined[name] = kind
                if WRITABLE.match(section) and kind in "bBdDCVsSgG":
                    writable.append(name)
            old = tree._symbols.get(unit["file"])
            if old:  # the same source in two targets
                defined, undefined = {**old[0], **defined}, old[1] | undefined
                writable = sorted({*old[2], *writable})
            tree._symbols[unit["file"]] = (defined, undefined, writable)
    return tree._symbols


def line_named(tree, path, name):
    found = re.search(rf"\b{re.escape(name)}\b", tree.code(path))
    return tree.code(path).count("\n", 0, found.start()) + 1 if found else 1


def unbuilt(tree):
    """Why the objects tell nothing now, or None: no rule passes because there are none."""
    if not tree.units:
        return "build", 1, NO_BUILD
    late = []
    for unit in tree.units:
        file, object_ = tree.root / unit["file"], unit["object"]
        # What neither the program nor a test is made of is built by those who want it.
        if unit["file"].endswith(("_bench.c", "_fuzz.c")) or unit["file"].startswith("bench/"):
            continue
        if not object_.exists() or object_.stat().st_mtime < file.stat().st_mtime:
            late.append(unit["file"])
    if late:
        return late[0], 1, f"its object and {len(late) - 1} more are missing or old: {NO_BUILD}"
    return None


def mutable_globals(tree):
    """No mutable global and no static variable above io."""
    if unbuilt(tree):
        yield unbuilt(tree)
        return
    for path, (_, _, writable) in symbols_of(tree).items():
        if is_test(path) or path.startswith(("src/io/", "src/base/")):
            continue
        for name in writable:
            plain = name.split(".")[0]
            if not tree.exceptions.allow("globals", plain):
                yield path, line_named(tree, path, plain), (
                    f"{plain} is a mutable global; hang it from the module's own struct, made at"
                    " boot and passed on, or make it const"
                )


def exports(tree):
    """A plug-in exports only names that begin with weir_."""
    if not tree.build.exists():
        return
    for library in sorted(tree.build.glob("backends/**/*.so")):
        if ".p/" in str(library):
            continue
        for line in nm(library, "-D", "--defined-only").splitlines():
            name = line.split()[-1].split("@")[0]
            if not name.startswith(("weir_", "_init", "_fini")):
                yield "backends", 1, (
                    f"{library.name} exports {name}; make it static (only weir_ names are exported)"
                )


def uses(tree, path, name):
    """How often a name stands in a file's code."""
    return len(re.findall(rf"\b{re.escape(name)}\b", tree.code(path)))


def unused(tree):
    """No function that nothing but tests uses; none exported that only its own file uses."""
    if unbuilt(tree):
        yield unbuilt(tree)
        return
    built = symbols_of(tree)
    production = {f: s for f, s in built.items() if not is_test(f)}
    called = {}
    for path, (_, undefined, _) in built.items():
        for name in undefined:
            called.setdefault(name, set()).add(path)
    public = set()
    for path in tree.c_files:
        if path.startswith("include/"):
            public.update(ABI_NAME.findall(tree.code(path)))

    def judge(path, name, own, users):
        if name in public or name == "main" or tree.exceptions.allow("unused", name):
            return None
        line = line_named(tree, path, name)
        if any(not is_test(u) for u in users):
            return None
        if not own and users:
            return path, line, (
                f"only tests use {name}; remove it, or test what uses it"
                " (a codec's public set goes into tools/tidy-exceptions.txt with its reason)"
            )
        if not own:
            return path, line, f"nothing uses {name}; remove it"
        if not users:
            return path, line, f"only its own file uses {name}; make it static and take it out of the header"
        return None

    for path, (defined, _, _) in production.items():
        for name in defined:
            # Its definition is one mention, a prototype in the same file none.
            own = uses(tree, path, name) - prototypes_in_source(tree, path, name) > 1
            found = judge(path, name, own, called.get(name, set()) - {path})
            if found:
                yield found
    yield from unused_inlines(tree, judge)


def prototypes_in_source(tree, path, name):
    """Forward declarations at the left margin; calls are indented."""
    return len(
        re.findall(
            rf"^(?!static)\w[\w\s*]*\b{re.escape(name)}\s*\([^;{{}}]*\)[^;{{}}]*;",
            tree.code(path),
            re.MULTILINE,
        )
    )


def unused_inlines(tree, judge):
    """Inline functions leave no symbol: their mentions are counted instead."""
    mentions = {}
    for path in tree.c_files:
        for word in re.findall(r"\b[a-z_]\w*\b", tree.code(path)):
            mentions.setdefault(word, {}).setdefault(path, 0)
            mentions[word][path] += 1
    for path in tree.c_files:
        if not path.endswith(".h") or path.startswith("include/") or is_test(path):
            continue
        for name in INLINE.findall(tree.code(path)):
            places = mentions.get(name, {})
            own = places.get(path, 0) > 1
            users = set(places) - {path}
            # "Only its own file uses it" is no fault of an inline helper.
            if own and not users:
                continue
            found = judge(path, name, own, users)
            if found:
                yield found
