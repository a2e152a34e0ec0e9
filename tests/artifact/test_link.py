"""What a linked artifact contains and shows, and the C programs that use it."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

from sparsec.artifact import read_artifact
from sparsec.errors import SparsecError, UsageError
from sparsec.targets import link_wasm
from sparsec.targets.glue import FUNCTIONS, TVM_FFI
from sparsec.targets.link import link
from sparsec.targets.link_wasm import Delivery
from sparsec.targets.tools import llvm, zig

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "c" / "main.c"
LIBC = {"memcpy", "memset"}
WEAK = {"getauxval", "pthread_create", "pthread_join"}
WEAK_TVM_FFI = {"TVMFFIErrorSetRaisedFromCStrParts", "TVMFFIStringFromByteArray"}


@pytest.mark.parametrize("target", ["x86", "arm"])
def test_library_shows_only_its_abi_and_needs_only_libc(built, target):
    path = built(target, threads=2)
    symbols = {name: kind for kind, name in re.findall(r"([a-zA-Z]) (\w+)$", llvm("llvm-nm", "-D", path), re.MULTILINE)}
    defined = {name for name, kind in symbols.items() if kind not in "Uw"}
    assert defined == {*(f"toy_{function}" for function in FUNCTIONS), *TVM_FFI}
    assert {name for name, kind in symbols.items() if kind == "U"} <= LIBC
    assert {name for name, kind in symbols.items() if kind == "w"} <= WEAK | WEAK_TVM_FFI
    assert "NEEDED" not in llvm("llvm-readelf", "-d", path)


@pytest.mark.parametrize("emit", ["obj", "a"])
@pytest.mark.parametrize("target", ["x86", "arm"])
def test_object_shows_only_its_abi_and_needs_nobody(built, target, emit):
    """What is weak may be missing: threads of its own, and the question which features the CPU has."""
    path = built(target, emit=emit, threads=2)
    symbols = re.findall(r"([a-zA-Z]) (\w+)$", llvm("llvm-nm", "-g", path), re.MULTILINE)
    defined = {name for kind, name in symbols if kind not in "Uw"}
    assert defined == {f"toy_{function}" for function in (*FUNCTIONS, "_weights", "_manifest")}
    assert {name for kind, name in symbols if kind == "w"} <= WEAK
    assert not [name for kind, name in symbols if kind == "U"]


def test_text_is_not_writable_and_nothing_is_relocated_in_it(built):
    headers = llvm("llvm-readelf", "-lWd", built("x86"))
    assert "TEXTREL" not in headers
    assert not re.search(r"LOAD .* RWE", headers)
    assert re.search(r"GNU_STACK .* RW ", headers)


def test_weights_lie_in_read_only_memory(tmp_path):
    """One megabyte of weights makes one megabyte of read-only mapping, and none that could be written."""
    plan = toy.toy_plan()
    weights = toy.toy_weights(tmp_path)
    with weights.open("ab") as file:
        file.truncate(1 << 20)
    path = tmp_path / "toy.so"
    link(plan, toy.toy_objects(tmp_path, toy.ISAS["x86"]), toy.ISAS["x86"], weights, path, "so")
    library = ctypes.CDLL(str(path))
    sizes = {"r": 0, "w": 0}
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            first, last = (int(end, 16) for end in line.split()[0].split("-"))
            sizes["w" if line.split()[1][1] == "w" else "r"] += last - first
    assert library.toy_isa_count() == 2
    assert sizes["r"] >= 1 << 20
    assert sizes["w"] <= 1 << 14


def test_two_models_in_one_program(built, run_c):
    objects = [built("x86", emit="obj", name=name, threads=2) for name in ("first", "second")]
    assert run_c(HERE / "two_models.c", *objects) == "-2 -2 1\n"
    libraries = [built("x86", name=name, threads=2) for name in ("first", "second")]
    assert run_c(HERE / "two_models.c", *libraries) == "-2 -2 1\n"


@pytest.mark.parametrize("emit", ["so", "obj", "a"])
def test_example_in_c(built, run_c, tmp_path, emit):
    path = built("x86", emit=emit, name="model")
    x = np.full(toy.SHAPE, 2, np.float32)
    x.tofile(tmp_path / "x.bin")
    lines = run_c(EXAMPLE, path, arguments=(tmp_path / "x.bin",)).splitlines()
    assert lines[:2] == ["input x: float32 67x50", 'output y"\\ü: float32 67x50']
    assert float(lines[2].split()[-1]) == pytest.approx(toy.expected(x)[0, 0], abs=1e-4)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_header_is_c_and_cpp(built, tmp_path, language):
    header = built("x86").with_suffix(".h")
    standard = "-std=c99" if language == "c" else "-std=c++11"
    flags = ["-target", "x86_64-linux-musl", "-Wall", "-Werror", standard, "-x", language]
    zig("cc", "-c", *flags, header, "-o", tmp_path / "header.o")
    assert " *   0  x  float32[67, 50]" in header.read_text()


def test_queries(native):
    library = ctypes.CDLL(str(native))
    for name, result in (("input_name", ctypes.c_char_p), ("output_name", ctypes.c_char_p), ("error", ctypes.c_char_p)):
        getattr(library, f"toy_{name}").restype = result
    library.toy_manifest.restype = library.toy_isa_name.restype = library.toy_input_dtype.restype = ctypes.c_char_p
    library.toy_input_shape.restype = ctypes.POINTER(ctypes.c_int64)
    library.toy_input_bytes.restype = ctypes.c_size_t
    assert (library.toy_input_count(), library.toy_output_count(), library.toy_isa_count()) == (1, 1, 2)
    assert (library.toy_input_name(0), library.toy_output_name(0).decode()) == (b"x", 'y"\\ü')
    assert tuple(library.toy_input_shape(0)[:2]) == toy.SHAPE
    assert (library.toy_input_rank(0), library.toy_input_bytes(0)) == (2, 4 * 67 * 50)
    assert (library.toy_input_dtype(0), library.toy_isa_name(1)) == (b"float32", b"avx2")
    assert json.loads(library.toy_manifest()) == read_artifact(native).manifest
    for index in (-1, 1):
        assert library.toy_input_name(index) is None
        assert (library.toy_input_rank(index), library.toy_input_bytes(index)) == (-1, 0)
    assert b"null pointer" in library.toy_error(1)
    assert library.toy_error(99) == b"unknown error code"


def test_null_pointers_are_refused(native, x):
    library = ctypes.CDLL(str(native))
    good, null = (ctypes.c_void_p * 1)(x.ctypes.data), (ctypes.c_void_p * 1)()
    workspace = ctypes.c_void_p(x.ctypes.data)
    cases = ((None, good, workspace), (good, None, workspace), (null, good, workspace), (good, null, workspace))
    assert [library.toy_run(*case) for case in (*cases, (good, good, None))] == [1] * 5
    assert library.toy_run_isa(good, good, workspace, None, 2) == 3


@pytest.mark.parametrize("name", ["", "1st", "my-model", "a b", "ü", "a" * 101])
def test_name_that_c_cannot_take(tmp_path, name):
    with pytest.raises(UsageError, match="cannot begin a C function"):
        toy.build(tmp_path, name=name)


def test_emit_that_a_target_lacks(tmp_path):
    with pytest.raises(UsageError, match="--emit wasm cannot be linked for avx512: use so or obj or a"):
        toy.build(tmp_path, "x86", emit="wasm")


@pytest.mark.parametrize("target", ["x86", "wasm"])
def test_failure_leaves_no_files(tmp_path, target):
    """A kernel that is missing is found by the linker, not when the artifact runs."""
    isas, weights = toy.ISAS[target], toy.toy_weights(tmp_path)
    objects = toy.toy_objects(tmp_path / "kernels", isas)
    plan = toy.toy_plan()
    step = plan.steps[0]
    plan.steps.append(type(step)("lost", "lost", step.arguments, 1, 0))
    output = tmp_path / "out" / "toy.so"
    linker, last = (link_wasm.link, Delivery(separate=True)) if target == "wasm" else (link, toy.EMIT[target])
    with pytest.raises(SparsecError, match="lost__"):
        linker(plan, objects, isas, weights, output, last)
    assert list(output.parent.iterdir()) == []


def test_model_without_steps_inputs_or_scalars(tmp_path):
    from sparsec.program import load
    from sparsec.target import Plan, Port

    path = tmp_path / "empty.so"
    plan = Plan("empty", (), (Port("scalar", "float32", ()), Port("nothing", "int64", (0, 3))), [], 0, 2)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"")
    objects = toy.toy_objects(tmp_path / "kernels", toy.ISAS["x86"])
    link(plan, objects, toy.ISAS["x86"], weights, path, "so")
    assert [y.shape for y in load(path)()] == [(), (0, 3)]
