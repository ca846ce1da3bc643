"""What the program's and the backend's files must be like, read back with readelf and nm.

The flags are in meson.build, after the OpenSSF's "Compiler Options Hardening Guide for C and
C++". Control-flow protection (IBT, SHSTK) is looked for in our own objects: the linker marks
a program only if the C library's start-up code has it, too, which Debian 12's has not.
"""

import platform
import re
import subprocess

import pytest

from running import BUILD, SANITIZED, WEIR, build_option

pytestmark = pytest.mark.skipif(
    SANITIZED or build_option("b_coverage"), reason="a build with flags of its own"
)

BACKEND = BUILD / "backends" / "onnxruntime.so"
FILES = [WEIR, BACKEND]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def segments(file):
    """Type -> flags, of the program headers."""
    text = output("readelf", "-lW", file)
    return {m[1]: m[2].replace(" ", "") for m in re.finditer(r"^ +(\w+) +0x.* ([RWE ]{3}) 0x", text, re.M)}


def imports(file):
    return set(re.findall(r" [Uw] (\w+)", output("nm", "-D", "--undefined-only", file)))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_stack_and_heap_are_not_executable_and_no_segment_is_both_written_and_run(file):
    found = segments(file)
    assert found["GNU_STACK"] == "RW"
    text = output("readelf", "-lW", file)
    assert not re.search(r"^ +LOAD .* RWE 0x", text, re.M)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_relocations_are_read_only_once_all_symbols_are_bound_at_the_start(file):
    assert "GNU_RELRO" in segments(file)
    dynamic = output("readelf", "-dW", file)
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_code_lies_at_random_addresses(file):
    assert re.search(r"^  Type: +DYN", output("readelf", "-hW", file), re.M)


def test_the_program_is_position_independent():
    assert re.search(r"\(FLAGS_1\).*\bPIE\b", output("readelf", "-dW", WEIR))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_stack_smashing_ends_the_process(file):
    assert "__stack_chk_fail" in imports(file)


def test_copies_are_checked_against_their_target():
    checked = {name for name in imports(WEIR) if name.endswith("_chk")}
    assert {"__snprintf_chk", "__vsnprintf_chk", "__memcpy_chk"} <= checked


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a property of x86-64")
def test_our_own_objects_carry_marks_for_indirect_branches_and_a_shadow_stack():
    for library in sorted((BUILD / "src").glob("*/libweir-*.a")):
        notes = output("readelf", "-nW", library)
        objects = len(re.findall(r"^File: ", notes, re.M))
        assert objects > 0
        assert len(re.findall(r"x86 feature: IBT, SHSTK", notes)) == objects, library


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_library_is_looked_for_where_others_may_write(file):
    dynamic = output("readelf", "-dW", file)
    for path in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
        assert all(part.startswith(("/", "$ORIGIN")) for part in path.split(":")), path


def test_libraries_that_nobody_calls_are_not_linked():
    assert not re.search(r"^\s+\S", output("ldd", "-u", WEIR).replace("Unused direct dependencies:", ""), re.M)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_a_build_is_known_by_its_id(file):
    assert re.search(r"Build ID: [0-9a-f]{40}$", output("readelf", "-nW", file), re.M)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_only_what_is_public_is_visible(file):
    """The C library's copies (stdout), jemalloc's settings, and the backends' entry."""
    names = re.findall(r" [A-Z] ([\w.]+)", output("nm", "-D", "--defined-only", file))
    assert [n for n in names if not n.startswith("weir_")] in (
        [],
        ["malloc_conf", "stderr", "stdout"],
    )
