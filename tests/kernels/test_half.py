"""Convolutions with arithmetic on f16, over edge shapes on ARM, against exact sums of operands rounded likewise."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from conv_cases import KINDS, Shape, case, lowering
from op_runner import Case, check
from xdsl.dialects.builtin import StringAttr, f32
from xdsl.ir import SSAValue

from sparsec.ir import ConvOp, MatmulOp
from sparsec.ir.scalar import region
from sparsec.targets.cost import shipped
from sparsec.targets.isa import NEON, refine
from sparsec.targets.kernels import linear
from sparsec.targets.kernels.conv.lowering import candidates
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import F16_ROWS
from sparsec.targets.native import NativeTarget

HALF = refine(NEON, "", ("+fullfp16",))
ERROR = 2.0**-11  # of rounding a number near 1
every_row = pytest.mark.parametrize("row", F16_ROWS.values(), ids=F16_ROWS)


def rounded(shape: Shape, extras: list[np.ndarray], body=None) -> Case:
    """A case whose operands f16 holds exactly, so that sums alone are off, by as much as a block of K adds up to."""
    made = case(shape, extras, body)
    for array in made.arrays[:2]:
        array[...] = array.astype(np.float16)
    made.rtol, made.atol = 4 * ERROR, 8 * ERROR * made.arrays[1][0].size ** 0.5
    return made


def fitting(row: Row) -> list[Case]:
    cases = [rounded(shape, []) for kind in KINDS.values() for shape in kind]
    return [made for made in cases if isinstance(made.op, ConvOp) and row.fits(ConvShape.of(made.op))]


@every_row
def test_shapes(row: Row) -> None:
    cases = fitting(row)
    assert len(cases) > 40
    check(lowering(row), cases, HALF)


@every_row
def test_epilogues_and_batches(row: Row) -> None:
    body = region([f32] * 3, lambda x, bias, residual: (x + bias).max(0.0) + residual)
    random = np.random.default_rng(3)
    cases = []
    for shape in (Shape(300, 13, (7, 9), batch=2), Shape(40, 20, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2)):
        sizes = (shape.outputs, 1, 1), case(shape).expected()[0].shape
        cases.append(rounded(shape, [random.standard_normal(size).astype(np.float32) for size in sizes], body.clone()))
    check(lowering(row), cases, HALF)


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_only_f16_on_such_cpus_chooses_them(density: float) -> None:
    made = case(Shape(128, 128, (28, 28), density=density))
    op = made.op
    assert isinstance(op, ConvOp)

    def best(isa, precision) -> str:
        return candidates(op, made.weights, NativeTarget("test", (isa,), shipped(isa), precision))[0].row

    assert best(HALF, "f16") in F16_ROWS
    assert best(HALF, "f32") not in F16_ROWS
    assert best(NEON, "f16") not in F16_ROWS


def test_linear_layers() -> None:
    """Weights that f16 holds exactly give what f32 gives."""
    random = np.random.default_rng(4)
    cases = []
    for tokens, m, k in ((1, 5, 40), (1, 70, 33), (3, 64, 64), (23, 40, 130), (131, 33, 37)):
        x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((tokens, k), (m, k)))
        row = f"{'gemv' if tokens == 1 else 'gemm'}_f16_dense_n32"
        exact = w.astype(np.float16).astype(np.float32)
        cases.append(Case(partial(_matmul, row), [x, exact], constants=[1], rtol=2e-5, atol=2e-5))
    check(linear.lower, cases, HALF)


def _matmul(row: str, x: SSAValue, w: SSAValue) -> MatmulOp:
    op = MatmulOp(x, w, False, True)
    op.attributes["kernel"] = StringAttr(row)
    return op
