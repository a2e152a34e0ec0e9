"""Kernels of the compiler in artifacts: position-independent, and complete without libm."""

from __future__ import annotations

import importlib.util
import shutil

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
from sparsec.targets.kernels import softmax
from sparsec.targets.link import link
from sparsec.weights import WeightStore

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
    link(plan, objects, isas, weights, path, toy.EMIT[target])
    return path


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
