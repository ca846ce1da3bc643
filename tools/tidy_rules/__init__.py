"""One module a family of rules; RULES lists them all, cheap ones first."""

from . import calls, clang, layers, shape, symbols

RULES = {
    "text": shape.text,
    "size": shape.size,
    "layers": layers.layers,
    "libraries": layers.libraries,
    "calls": calls.calls,
    "atomics": calls.atomics,
    "result": calls.results,
    "functions": shape.functions,
    "headers": shape.headers,
    "globals": symbols.mutable_globals,
    "exports": symbols.exports,
    "unused": symbols.unused,
    "format": clang.format_check,
    "clang-tidy": clang.tidy,
}
