"""sp.conv, dense and sparse, on every ISA: every row of the table over edge shapes, against the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from conv_cases import KINDS, Shape, case, check_groupings, lowering
from kernel_runner import every_isa, spread
from op_runner import Case, check, memory
from xdsl.dialects.builtin import f32

from sparsec import formats
from sparsec.ir import ConvOp
from sparsec.ir.dims import fixed
from sparsec.ir.scalar import region
from sparsec.target import Candidate
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX512, Isa, host_isas
from sparsec.targets.jit import Jit
from sparsec.targets.kernels.conv.lowering import candidates
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.stream import stored
from sparsec.targets.kernels.conv.table import ROWS, STRIDED_WINOGRAD, WINOGRAD
from sparsec.targets.native import NativeTarget

# Winograd's rows have edges of their own, in test_winograd.py and test_winograd_strided.py.
GENERAL = {name: row for name, row in ROWS.items() if row not in (*WINOGRAD, STRIDED_WINOGRAD)}
every_row = pytest.mark.parametrize("row", GENERAL.values(), ids=GENERAL)


def run(shapes: Sequence[Shape], row: Row, isa: Isa) -> None:
    check(lowering(row), [case(shape) for shape in shapes], isa)


@spread("shapes", KINDS, GENERAL)
def test_shapes(isa, row, shapes):
    run(shapes, row, isa)


@every_isa
@every_row
def test_epilogues(isa, row):
    """A number, one per channel, one per image and channel, and a residual; before and after the last block of K."""
    body = region([f32] * 5, lambda x, scale, bias, gate, residual: (x * scale + bias).max(0.0) * gate + residual)
    random = np.random.default_rng(3)
    cases = []
    for shape in (
        Shape(300, 13, (7, 9), batch=2),
        Shape(150, 13, (3, 11), batch=2),
        Shape(40, 13, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2),
        Shape(12, 10, (3, 3), batch=2, row_major=True),
        Shape(8, 12, (6, 6), (3, 3), groups=2, batch=2),
    ):
        sizes = (), (shape.outputs, 1, 1), (2, shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        cases.append(case(shape, extras, body.clone()))
    check(lowering(row), cases, isa)


def with_residual(shape: Shape) -> Case:
    """A bias and a residual are added, and then limited."""
    random = np.random.default_rng(4)
    sizes = (shape.outputs, 1, 1), case(shape).expected()[0].shape
    extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
    return case(shape, extras, region([f32] * 3, lambda x, bias, residual: (x + bias + residual).max(0.0)))


RESIDUALS = [
    *(Shape(channels, 13, (7, 9), batch=2) for channels in (30, 300)),
    Shape(150, 13, (3, 11), batch=2),
    Shape(40, 13, (6, 6), (3, 3), pads=(1, 1, 1, 1)),
    Shape(8, 12, (6, 6), (3, 3), groups=2, batch=2),
]


@every_isa
@every_row
def test_residuals(isa, row):
    check(lowering(row), [with_residual(shape) for shape in RESIDUALS], isa)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.name)
@every_row
def test_results_over_residuals(isa, row):
    """The same to the bit where the result lies in the residual's memory, chunk by chunk."""
    for shape in RESIDUALS:
        made = with_residual(shape)
        (one,) = lowering(row)(made.op, made.weights)
        if not one.kernel.overwrites:
            continue
        (residual,) = one.kernel.overwrites
        assert one.arguments[residual] is made.op.operands[3]
        apart, together = ([array.copy() for array in memory(made, one)] for _ in range(2))
        together[-1] = together[residual]
        jit = Jit([one.kernel], isa)
        jit(one.kernel, apart)
        for chunk in reversed(range(fixed(one.kernel.chunks))):
            jit(one.kernel, together, chunk, chunk + 1)
        np.testing.assert_array_equal(together[-1], apart[-1])


@spread("density", {"zeros": 0.0, "full": 1.0}, GENERAL)
def test_extreme_densities(isa, row, density):
    run([Shape(150, 20, (5, 7), density=density), Shape(20, 7, (5, 7), (3, 3), density=density)], row, isa)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.name)
@every_row
def test_chunks_in_any_grouping(isa, row):
    check_groupings(row, Shape(70, 700, (3, 5)), isa)
    check_groupings(row, Shape(20, 260, (9, 9), (3, 3), pads=(1, 1, 1, 1), batch=2), isa)
    check_groupings(row, Shape(32, 64, (12, 12), groups=8), isa)


def choice(shape: Shape) -> Candidate:
    made = case(shape)
    assert isinstance(made.op, ConvOp)
    target = NativeTarget("x86", (AVX512,), shipped(AVX512))
    found = candidates(made.op, made.weights, target)
    assert {candidate.row for candidate in found} == {
        row.name for row in ROWS.values() if row.fits(ConvShape.of(made.op))
    }
    assert [c.seconds for c in found] == sorted(c.seconds for c in found)
    assert all(0 < c.seconds < 1 and c.reason for c in found)
    return found[0]


def test_choice_follows_density():
    for kernel, pads, density in (((1, 1), (0, 0, 0, 0), 0.1), ((3, 3), (1, 1, 1, 1), 0.02)):
        dense = choice(Shape(64, 64, (28, 28), kernel, pads=pads, density=1.0))
        sparse = choice(Shape(64, 64, (28, 28), kernel, pads=pads, density=density))
        assert dense.format is not None
        assert sparse.format is not None
        assert dense.format.is_dense
        assert not sparse.format.is_dense
        assert sparse.seconds < dense.seconds / 2


@every_row
def test_format_holds_the_weights(row):
    """The format of each row, packed and unpacked, is the weight."""
    shape = Shape(10, 9, (5, 5), (3, 3), pads=(1, 1, 1, 1))
    made = case(shape)
    assert isinstance(made.op, ConvOp)
    weight = made.arrays[1]
    packed = formats.pack(weight, row.format(ConvShape.of(made.op)))
    np.testing.assert_array_equal(formats.unpack(packed), weight)
    if row.sparse:
        assert len(packed.values) == stored(weight, row.height)


@dataclass
class Blocked(Shape):
    """Blocks of `height` outputs have the same zeros."""

    height: int = 4


def blocked(shape: Blocked) -> Case:
    """Random operands; where the first output of a block has a weight, all have."""
    made = case(shape)
    weight = made.arrays[1]
    dense = np.random.default_rng(8).standard_normal(weight.shape).astype(np.float32)
    kept = weight[:: shape.height] != 0
    weight[...] = np.where(kept.repeat(shape.height, axis=0)[: len(weight)], dense, np.float32(0))
    return made


@spread("height", {"two": 2, "four": 4}, GENERAL)
def test_blocks_of_outputs(isa, row, height):
    """Blocks that are full, and a last one that is not."""
    shapes = [Blocked(70, m, (5, 7), density=0.2, height=height) for m in (8, 13)]
    shapes += [Blocked(20, 14, (7, 7), (3, 3), pads=(1, 1, 1, 1), density=0.1, batch=2, height=height)]
    check(lowering(row), [blocked(shape) for shape in shapes], isa)


@pytest.mark.parametrize("height", [2, 4])
def test_blocks_are_chosen_for_blocks(height):
    for kernel, pads in (((1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1, 1, 1))):
        made = blocked(Blocked(64, 64, (28, 28), kernel, pads=pads, density=0.2, height=height))
        assert isinstance(made.op, ConvOp)
        found = candidates(made.op, made.weights, NativeTarget("x86", (AVX512,), shipped(AVX512)))
        assert f"b{height}x1" in found[0].row
        assert f"d0%{height}: dense" in str(found[0].format)
