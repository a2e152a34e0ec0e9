"""The convolutions and linear layers made for ARM, on ARM, and on AVX2 and wasm, where nothing chooses them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from conv_cases import GROUPS, KINDS, Shape, case, lowering
from op_runner import Case, check
from xdsl.dialects.builtin import StringAttr, f32
from xdsl.ir import SSAValue

from sparsec.ir import ConvOp, MatmulOp
from sparsec.ir.scalar import region
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX2, NEON, WASM, Isa
from sparsec.targets.kernels import linear
from sparsec.targets.kernels.conv.lowering import candidates
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.stream import pack_stream
from sparsec.targets.kernels.conv.table import ARM_ROWS
from sparsec.targets.native import NativeTarget

every_row = pytest.mark.parametrize("row", ARM_ROWS.values(), ids=ARM_ROWS)
ONE_OF_EACH = list({type(row): row for row in ARM_ROWS.values()}.values())
# Tiles of 1 to 16 vectors, and rows of weights with 0 to 100 non-zeros.
WIDTHS = [Shape(70, 19, (1, 4 * vectors - 1), density=0.1) for vectors in (1, 2, 3, 4, 5, 7, 8, 11, 14, 15, 16)]
DENSITIES = [Shape(100, 17, (3, 19), density=density) for density in (0.0, 0.01, 0.05, 0.5, 1.0)]


@pytest.mark.parametrize("row", ONE_OF_EACH, ids=lambda row: row.name)
@pytest.mark.parametrize("isa", [NEON, AVX2, WASM], ids=lambda isa: isa.name)
def test_shapes(row: Row, isa: Isa) -> None:
    shapes = [shape for kind in KINDS.values() for shape in kind] if isa == NEON else [*GROUPS, *DENSITIES]
    check(lowering(row), [case(shape) for shape in shapes], isa)


@every_row
def test_widths_and_densities(row: Row) -> None:
    check(lowering(row), [case(shape) for shape in (*WIDTHS, *DENSITIES)], NEON)


@every_row
def test_epilogues(row: Row) -> None:
    body = region([f32] * 3, lambda x, bias, residual: (x + bias).max(0.0) + residual)
    random = np.random.default_rng(3)
    cases = []
    for shape in (Shape(300, 13, (7, 9), batch=2), Shape(40, 20, (6, 6), (3, 3), pads=(1, 1, 1, 1))):
        sizes = (shape.outputs, 1, 1), case(shape).expected()[0].shape
        cases.append(case(shape, [random.standard_normal(size).astype(np.float32) for size in sizes], body.clone()))
    check(lowering(row), cases, NEON)


def test_only_arm_chooses_them() -> None:
    made = case(Shape(64, 64, (28, 28), density=0.1))
    op = made.op
    assert isinstance(op, ConvOp)

    def rows(isa: Isa) -> set[str]:
        return {found.row for found in candidates(op, made.weights, NativeTarget("test", (isa,), shipped(isa)))}

    assert not rows(AVX2) & set(ARM_ROWS)
    dense = {name for name in rows(NEON) if "dense" in name}
    assert dense == {"conv_f32_dense_m8k128"}
    assert any("quads" in name for name in rows(NEON))


def test_steps_of_four_hold_the_same_words() -> None:
    """In a stream of steps, the words of a row lie in another order: bytes, then values."""
    random = np.random.default_rng(5)
    weight = np.where(random.random((9, 40)) < 0.3, random.standard_normal((9, 40)), 0).astype(np.float32)
    weight[2, :6] = 1
    places = 64 * np.arange(40)
    one, four = (pack_stream(weight, 1, 1, places, 1, together) for together in (1, 4))
    assert sorted(one) == sorted(four)
    assert not np.array_equal(one, four)


@pytest.mark.parametrize("isa", [NEON, AVX2], ids=lambda isa: isa.name)
def test_sparse_linear_layers(isa: Isa) -> None:
    random = np.random.default_rng(4)
    cases = []
    for tokens, m, k in ((4, 5, 40), (23, 19, 130), (64, 20, 300), (70, 65, 64), (131, 33, 37)):
        x, values = (random.standard_normal(shape).astype(np.float32) for shape in ((tokens, k), (m, k)))
        w = np.where(random.random((m, k)) < 0.2, values, np.float32(0))
        for row in ("spmm_f32_quads_t64k128", "spmm_f32_quads_t32k256"):
            cases.append(Case(partial(_matmul, row), [x, w], constants=[1], rtol=1e-5, atol=1e-4))
    check(linear.lower, cases, isa)


def _matmul(row: str, x: SSAValue, w: SSAValue) -> MatmulOp:
    op = MatmulOp(x, w, False, True)
    op.attributes["kernel"] = StringAttr(row)
    return op


def test_only_arm_chooses_sparse_linear_steps() -> None:
    w = np.where(np.random.default_rng(6).random((256, 256)) < 0.1, np.float32(1), np.float32(0))
    made = Case(lambda x, w: MatmulOp(x, w, False, True), [np.zeros((128, 256), np.float32), w], constants=[1])
    for isa in (NEON, AVX2):
        best = linear.candidates(made.op, made.weights, NativeTarget("test", (isa,), shipped(isa)))[0]
        assert ("quads" in best.row) == (isa == NEON)
