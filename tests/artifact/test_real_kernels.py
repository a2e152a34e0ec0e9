"""Kernels of the compiler in artifacts: position-independent, and complete without libm."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from artifact import toy
from artifact.conftest import require_x86
from xdsl.utils.test_value import create_ssa_value

from sparsec.ir import SoftmaxOp, TensorType
from sparsec.ir.types import element_of
from sparsec.program import load
from sparsec.target import Buffer, Plan, Port, Step
from sparsec.targets import codegen
from sparsec.targets.builder import Builder
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.reductions import softmax
from sparsec.targets.link import link
from sparsec.targets.tools import llvm
from sparsec.weights import WeightStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "c" / "main.c"
SHAPE = (33, 101)


def build(path, target: str):
    """Softmax along the rows, twice."""
    isas = toy.ISAS[target]
    value = create_ssa_value(TensorType(SHAPE, element_of(np.dtype(np.float32))))
    (call,) = softmax.lower(SoftmaxOp(value, [1]), WeightStore())
    size = 4 * SHAPE[0] * SHAPE[1]
    x, middle, y = Buffer("input", 0, 0, size), Buffer("arena", 0, 0, size), Buffer("output", 0, 0, size)
    kernel = call.kernel
    passes = ((x, middle), (middle, y))
    steps = [Step("softmax", kernel.symbol, arguments, kernel.chunks, kernel.scratch) for arguments in passes]
    plan = Plan("net", (Port("x", "float32", SHAPE),), (Port("y", "float32", SHAPE),), steps, size, 2)
    objects = {isa.name: codegen.emit_object([kernel], isa) for isa in isas}
    weights = path.with_suffix(".bin")
    weights.write_bytes(b"")
    return toy.link_any(plan, objects, isas, weights, path, toy.EMIT[target])


@dataclass(frozen=True)
class CopyAndFill(Kernel):
    """Copies rows of x to y by memcpy, and fills the first elements with bytes 0x40 by memset."""

    @property
    def name(self) -> str:
        return "copy_and_fill"

    @property
    def chunks(self) -> int:
        return SHAPE[0]

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32", "f32"]) as ((x, y), _, begin, end):
            start, rows = begin * SHAPE[1], end - begin
            b.memcpy(y + start, x + start, rows * (SHAPE[1] * 4))
            b.memset(y + start, 0x40, rows * 4)


@pytest.mark.parametrize("flags", [(), ("-static",)])
def test_kernels_that_copy_and_fill(tmp_path, run_c, flags):
    """An object brings memcpy and memset along, which do not clash with those of a libc."""
    size, kernel = 4 * SHAPE[0] * SHAPE[1], CopyAndFill()
    steps = [Step("copy", kernel.symbol, (Buffer("input", 0, 0, size), Buffer("output", 0, 0, size)), SHAPE[0], 0)]
    (tmp_path / "weights.bin").write_bytes(b"")
    objects = {isa.name: codegen.emit_object([kernel], isa) for isa in toy.ISAS["x86"]}
    path = tmp_path / "model.o"
    plan = Plan("model", (Port("x", "float32", SHAPE),), (Port("y", "float32", SHAPE),), steps, 0, 2)
    link(plan, objects, toy.ISAS["x86"], tmp_path / "weights.bin", path, "obj")
    assert {" t memcpy", " t memset"} <= {line[16:] for line in llvm("llvm-nm", path).splitlines()}
    assert run_c(EXAMPLE, path, flags=flags).splitlines()[2] == "first value 3.00392"


@pytest.mark.parametrize("target", ["x86", "arm", "wasm"])
def test_softmax(tmp_path, target):
    if target == "arm" and not shutil.which("qemu-aarch64-static"):
        pytest.skip("no qemu-aarch64-static")
    if target == "wasm" and not importlib.util.find_spec("wasmtime"):
        pytest.skip("no wasmtime")
    if target == "x86":
        require_x86()
    x = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32) * 5
    expected = x
    for _ in range(2):
        powers = np.exp(expected - expected.max(1, keepdims=True))
        expected = powers / powers.sum(1, keepdims=True)
    (y,) = load(build(tmp_path / f"net.{toy.EMIT[target]}", target))(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
