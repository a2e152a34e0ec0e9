"""Sizes of a run in Python, C, TVM-FFI and on the command line; what is refused, and how."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sized_models
from artifact.conftest import Compiler, require_x86, run_c  # noqa: F401

import sparsec
from sparsec.compiler import Options, compile_file
from sparsec.errors import TargetError, UnsupportedModel, UsageError
from sparsec.program import Program, load
from sparsec.transport import emulator

try:  # before MLIR's libraries are loaded, behind which it crashes
    import tvm_ffi
except ImportError:
    tvm_ffi = None

TWO = """two (float[batch, seq, 16] x, float[batch, seq] scale) => (float[batch, seq, 16] y) {
    column = Unsqueeze(scale, minus)
    y = Mul(x, column)
}"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    require_x86()
    return sized_models.write(tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def program(model) -> Program:
    result = compile_file(model, model.with_name("two.so"), Options(dims={"batch": (1, 3), "seq": (2, 40)}))
    return load(result.output)


def arrays(batch: int, seq: int, other: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((batch, seq, 16), np.float32), rng.random((other or batch, seq), np.float32)


def test_python(program):
    x, scale = arrays(3, 7)
    (y,) = program(x, scale)
    np.testing.assert_array_equal(y, x * scale[..., None])
    assert program.ranges == {"batch": (1, 3), "seq": (2, 40)}
    assert "x: float32[batch, seq, 16]" in repr(program)
    assert "for batch 1..3, seq 2..40" in repr(program)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (arrays(4, 7), "input 'x': batch = 4, and the model was compiled for batch = 1 to 3"),
        (arrays(1, 1), "input 'x': seq = 1, and the model was compiled for seq = 2 to 40"),
        (arrays(2, 7, 3), "input 'scale' has batch = 3, and input 'x' has batch = 2"),
        ((arrays(2, 7)[0][0], arrays(2, 7)[1]), r"input 'x': expected float32\[batch, seq, 16\], got float32\[7, 16\]"),
        ((arrays(2, 7)[0][..., :8], arrays(2, 7)[1]), r"expected float32\[2, 7, 16\], got float32\[2, 7, 8\]"),
    ],
)
def test_wrong_inputs(program, given, message):
    with pytest.raises(UsageError, match=message):
        program(*given)


def test_wrong_sizes(program):
    with pytest.raises(UsageError, match="sizes are given of batch, and wanted of batch, seq"):
        program.workspace_bytes_for(batch=1)
    with pytest.raises(UsageError, match="seq = 41, and the model was compiled for seq = 2 to 40"):
        program.workspace_bytes_for(batch=1, seq=41)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (
            {"batch": (1, 3)},
            "Fix seq with --dim seq=N, or with --shape; or give ranges, as in --dim seq=1..8",
        ),
        ({"batch": (3, 1), "seq": 4}, "--dim batch: 3..1 is no range"),
        ({"batch": (0, 3), "seq": 4}, "--dim batch: 0 is not a size"),
        ({"batch": range(1, 9, 2), "seq": 4}, "no range of sizes"),
        ({"batch": "seq", "seq": "batch"}, "seq is no size of its own|batch is no size of its own"),
        ({"batch": 1, "seq": 4, "n": (1, 2)}, "no input has a symbolic size called 'n'"),
    ],
)
def test_wrong_ranges(model, dims, message):
    with pytest.raises(UsageError, match=message):
        sparsec.compile(model, dims=dims)


def test_ranges_that_break_the_model(tmp_path):
    """Positions beyond the table, and sizes below 1."""
    path = sized_models.write(tmp_path, sized_models.PIECES)
    with pytest.raises(UsageError, match=r"does not work with .*seq = 129"):
        sparsec.compile(path, dims={"batch": 1, "seq": (1, 129)})
    shorter = sized_models.write(
        tmp_path, "shorter (float[n, 4] x) => (float[m, 4] y) { y = Slice(x, one, far, start) }"
    )
    with pytest.raises(UsageError, match="an axis of n - 1, which is 0 with n = 1: narrow the range"):
        sparsec.compile(shorter, dims={"n": (1, 8)})


@pytest.mark.parametrize("highest", [2**40, 2**60])
def test_ranges_beyond_all_memory(tmp_path, highest):
    path = sized_models.write(tmp_path, "far (float[n, 64] x) => (float[n, 64] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match=r"bytes with n = \d+: narrow the range"):
        sparsec.compile(path, dims={"n": (1, highest)})


def test_one_size_by_two_names(tmp_path):
    text = "names (float[a, 8] x, float[b, 8] z) => (float[a, 8] y) { y = Add(x, z) }"
    path = sized_models.write(tmp_path, text)
    with pytest.raises(UsageError, match="or --dim b=a where they are always equal"):
        sparsec.compile(path, dims={"a": (1, 4), "b": (1, 4)})
    program = sparsec.compile(path, dims={"a": (1, 4), "b": "a"})
    x = np.ones((3, 8), np.float32)
    np.testing.assert_array_equal(program(x, x)[0], 2 * x)


def test_c_program(program, run_c):  # noqa: F811
    source = Path(__file__).with_name("sized.c")
    printed = run_c(source, program.path, flags=(f'-DMODEL_HEADER="{program.path.stem}.h"',))
    assert json.loads(printed) == {
        "sizes": [["batch", 1, 3], ["seq", 2, 40]],
        "rank": 3,
        "dims": [2, 5, 16],
        "bytes": 2 * 5 * 16 * 4,
        "workspace": program.workspace_bytes_for(batch=2, seq=5),
        "codes": [0, 5, 5, 1],
        "error": "a size is out of the range that the model was compiled for (batch 1 to 3, seq 2 to 40)",
        "wrong": 0,
        "plain": 0,
    }


def test_tvm_ffi(program):
    if tvm_ffi is None:
        pytest.skip("no apache-tvm-ffi")
    module = tvm_ffi.load_module(str(program.path))
    x, scale = arrays(2, 9)
    y = np.zeros_like(x)
    space = np.empty(module.workspace_size(2, 9), np.uint8)
    assert space.nbytes == program.workspace_bytes_for(batch=2, seq=9)
    assert module.workspace_size() == program.workspace_bytes
    module.run(*map(tvm_ffi.from_dlpack, (x, scale, y, space)))
    np.testing.assert_array_equal(y, x * scale[..., None])
    with pytest.raises(ValueError, match="out of the range"):
        module.run(*map(tvm_ffi.from_dlpack, (*arrays(2, 41), y, space)))
    with pytest.raises(ValueError, match="input scale needs a contiguous tensor"):
        module.run(*map(tvm_ffi.from_dlpack, (x, arrays(2, 9, 3)[1], y, space)))


def command(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["sparsec", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_command_line(model, tmp_path):
    artifact = tmp_path / "two.so"
    ranges = "--dim", "batch=1..3", "--dim", "seq=1..20"
    done = command("compile", model, *ranges, "-o", artifact, "--verify")
    for sizes in ("batch 1, seq 1", "batch 3, seq 5", "batch 3, seq 20"):
        assert f"from onnxruntime, {sizes}" in done.stderr
    assert "batch 1..3, seq 1..20" in done.stderr
    assert json.loads(command("run", artifact, "--dim", "seq=7", "--json").stdout)["outputs"][0]["shape"] == "3x7x16"
    assert "batch = 4" in command("run", artifact, "--dim", "batch=4", code=2).stderr
    assert "has no size called 'n'" in command("run", artifact, "--dim", "n=4", code=2).stderr
    assert "median ms" in command("bench", artifact, "--dim", "batch=1", "--time", "0.1").stdout
    assert "the lowest size comes first" in command("compile", model, "--dim", "batch=3..1", code=2).stderr
    assert "wasm takes fixed sizes only" in command("compile", model, *ranges, "--target", "wasm", code=2).stderr
    assert "batch 1..3, seq 1..20" in command("explain", artifact).stdout


def test_no_kernel_for_symbols(tmp_path):
    """What only runs with fixed sizes is named, with what to do."""
    pool = "AveragePool<kernel_shape=[2, 2], strides=[2, 2]>"
    text = f"down (float[1, 3, h, h] x) => (float[1, 3, a, b] y) {{ y = {pool}(x) }}"
    path = sized_models.write(tmp_path, text)
    with pytest.raises(UnsupportedModel, match=r"(?s)no kernel for 1 op.*AveragePool.*1x3xhxh.*fix .*--dim h=N"):
        sparsec.compile(path, dims={"h": (2, 64)})


def test_arm(tmp_path):
    """The same artifact for another machine, under qemu."""
    try:
        emulator()
    except TargetError as error:
        pytest.skip(str(error))
    path = sized_models.write(tmp_path, sized_models.MLP)
    program = sparsec.compile(path, "arm", dims={"batch": (1, 5)})
    program.save(tmp_path / "m.so")
    for batch in (1, 4):
        given = sized_models.inputs(path, {"batch": batch})
        assert sized_models.worst(program.run(**given), path, given) < 2e-5


def test_object_and_llvm(model, tmp_path):
    """Outputs other than libraries know of sizes too."""
    dims = {"batch": (1, 3), "seq": (1, 20)}
    for emit in ("obj", "llvm"):
        result = compile_file(model, tmp_path / f"two.{emit}", Options(dims=dims, emit=emit))
        assert result.output.stat().st_size
    assert "two_run_sized" in (tmp_path / "two.h").read_text()
