"""Who may include whom, and which library is whose."""

import re

from .tree import is_test, line_of

# The may-use rule: a layer, and what it may include besides itself and include/weir.
# Roles are every other folder of src/. None: everything.
BELOW_NET = ["base", "io", "wire", "config", "obs"]
BELOW_MODEL = [*BELOW_NET, "net", "store"]
MAY_USE = {
    "include": [],
    "backends": [],
    "base": [],
    "io": ["base"],
    "wire": ["base"],
    "config": ["base", "io"],
    "obs": ["base", "io", "wire", "config"],
    "net": BELOW_NET,
    "store": [*BELOW_NET, "net"],
    "model": BELOW_MODEL,
    "run": BELOW_MODEL,
    "cmd": None,
    "tests": None,
}
FOR_ROLES = [*BELOW_MODEL, "model", "run"]

# A header from outside: the folders that may include it, and what others use instead.
OS_HEADERS = "the operating system is reached through io/io.h"
LIBRARIES = [
    (r"uv\.h|uv/.*", ["src/io/uv/"], "libuv stays under src/io/uv; use io/io.h"),
    (r"pthread\.h|threads\.h|semaphore\.h", ["src/io/"], "threads are io's; use io_work, io_lock or loop_post"),
    (
        r"sys/(socket|un|epoll|eventfd|timerfd|signalfd|inotify|select|wait|sendfile|mman)\.h"
        r"|netinet/.*|arpa/inet\.h|netdb\.h|poll\.h|dirent\.h|spawn\.h",
        ["src/io/"],
        OS_HEADERS,
    ),
    # For the numbers: what signals do is run's, how they come is io's.
    (r"signal\.h", ["src/io/", "src/run/"], OS_HEADERS),
    (r"openssl/.*|ares.*\.h|liburing.*|seccomp\.h", ["src/io/"], OS_HEADERS),
    (r"llhttp\.h|nghttp2/.*|yyjson\.h|protobuf-c/.*", ["src/wire/"], "formats are wire's; use the codec in src/wire"),
    (r"libfyaml\.h", ["src/config/"], "YAML is config's; use config/value.h"),
    (r"jemalloc/.*", ["src/base/alloc.c", "src/io/"], "use base/alloc.h"),
    (r"sqlite3\.h|libpq-fe\.h", ["src/store/"], "use src/store"),
    (r"onnxruntime.*|tensorflow/.*", ["backends/"], "engines are reached through include/weir/backend.h"),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def layer_of(path):
    """The layer that a file belongs to, or None where the rule has no say."""
    if is_test(path) or path.startswith("examples/"):
        return "tests"
    parts = path.split("/")
    if parts[0] in ("include", "backends"):
        return parts[0]
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def includes(tree, path):
    # Comments are blanked by their own rule, but quoted names must survive.
    code = tree.code(path)
    text = tree.text(path)
    for found in INCLUDE.finditer(text):
        if code[found.start() : found.end()].lstrip().startswith("#"):
            yield line_of(text, found.start()), found[1], found[2]


def layers(tree):
    """A folder includes only what the may-use rule allows it (design.md)."""
    for path in tree.c_files:
        layer = layer_of(path)
        if layer is None:
            yield path, 1, "a source belongs into a folder of src/; move it into its module"
            continue
        allowed = MAY_USE.get(layer, FOR_ROLES)
        for line, quote, name in includes(tree, path):
            if quote == "<":
                continue
            if (tree.root / path).parent.joinpath(name).is_file() and "/" not in name:
                if path.startswith("src/"):
                    yield path, line, f'write the include from src/: "{layer}/{name}"'
                continue
            target = name.split("/")[0]
            if path.startswith("backends/"):
                if name.startswith("../") or not (
                    (tree.root / "backends" / name).is_file()
                    or (tree.root / path).parent.joinpath(name).is_file()
                ):
                    yield path, line, (
                        f'a backend may not include "{name}"; it sees <weir/...> and its own'
                        " folder only, and asks the host for the rest"
                    )
                continue
            if allowed is None or target == layer:
                continue
            if target not in allowed:
                may = ", ".join(allowed) or "nothing but <weir/...>"
                yield path, line, (
                    f'{layer} may not include "{name}"; it may use {may}.'
                    " Move the shared part down, or pass in what is needed"
                )


def libraries(tree):
    """A library's header is included only by the module that wraps it."""
    for path in tree.c_files:
        if is_test(path):
            continue
        for line, _, name in includes(tree, path):
            for pattern, folders, instead in LIBRARIES:
                if not re.fullmatch(pattern, name):
                    continue
                # A backend is a plug-in: it may use the system, its engine and nothing of ours.
                plugin = path.startswith("backends/") and not name.startswith(("uv", "llhttp"))
                if not plugin and not path.startswith(tuple(folders)):
                    yield path, line, f"<{name}> belongs to {', '.join(folders)}; {instead}"
