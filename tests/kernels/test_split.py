"""f32 products on AMX, from pieces of bf16: over edge shapes on every ISA, and how near they come to exact results."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import KINDS, Shape, case, check_groupings, lowering
from kernel_runner import run_kernels, spread
from numpy.lib.stride_tricks import sliding_window_view
from op_runner import check, memory
from xdsl.dialects.builtin import f32

from sparsec.bf16 import as_f32, in_pieces, rounded
from sparsec.interpreter import logical
from sparsec.ir import type_of
from sparsec.ir.scalar import region
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX512, AVX512_TILES, ISAS, host_isas
from sparsec.targets.kernels.conv.lowering import candidates
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.split_row import SplitRow
from sparsec.targets.kernels.conv.table import DENSE
from sparsec.targets.native import NativeTarget

# The row of the table, and one whose blocks and units of panels are small.
ROWS = {"wide": SplitRow(1024, 128), "narrow": SplitRow(64, 32)}
every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
ALL = (AVX512_TILES, *ISAS.values())
every_isa = pytest.mark.parametrize("isa", ALL, ids=lambda isa: isa.name)


def run(row, cases, isa):
    check(lowering(row), [made for made in cases if row.fits(ConvShape.of(made.op))], isa)


@every_isa
def test_shapes(isa):
    shapes = [shape for kind, shapes in KINDS.items() if kind != "groups" for shape in shapes]
    run(ROWS["wide"], [case(shape) for shape in shapes], isa)


# Blocks of K that are full or not, blocks of outputs of one tile and two, panels of one tile to several strips.
BLOCKS = [Shape(k, m, (5, 7)) for k, m in ((31, 33), (32, 16), (64, 64), (65, 15), (200, 50), (257, 32))]
PANELS = [Shape(70, 40, size, batch=2) for size in ((128, 1), (96, 1), (12, 16), (7, 7), (40, 3))]
WINDOWS = [
    Shape(70, 40, (9, 11), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(70, 40, (9, 11), (1, 1), (2, 2), batch=2),
    Shape(33, 20, (9, 5), (2, 7), pads=(0, 6, 1, 6), batch=2),
    Shape(3, 40, (17, 19), (7, 7), (2, 2), pads=(3, 3, 3, 3)),
    Shape(40, 20, (12, 17), (3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)),
]


@spread("shapes", {"blocks": BLOCKS, "panels": PANELS, "windows": WINDOWS}, ROWS, ALL)
def test_blocks_panels_and_windows(isa, row, shapes):
    run(row, [case(shape) for shape in shapes], isa)


@every_isa
@every_row
def test_epilogues(isa, row):
    """A number, one per channel, one per image and channel, and a residual; a short and a long epilogue."""
    short = region([f32] * 5, lambda x, scale, bias, gate, residual: (x * scale + bias).max(0.0) * gate + residual)
    long = region([f32] * 5, lambda x, scale, bias, gate, residual: (x * scale + bias).call("exp") * gate + residual)
    random = np.random.default_rng(3)
    cases = []
    for shape in (Shape(150, 35, (7, 9), batch=2), Shape(40, 18, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2)):
        sizes = (), (shape.outputs, 1, 1), (2, shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [0.1 * random.standard_normal(size).astype(np.float32) for size in sizes]
        cases += [case(shape, extras, body.clone()) for body in (short, long)]
    for made in cases:
        made.rtol = 2e-5
    run(row, cases, isa)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.name)
@every_row
def test_chunks_in_any_grouping(isa, row):
    check_groupings(row, Shape(70, 700, (3, 5)), isa)
    check_groupings(row, Shape(200, 130, (8, 16)), isa)
    check_groupings(row, Shape(70, 750, (3, 5)), isa)  # parts of one block of outputs and of two
    check_groupings(row, Shape(20, 260, (9, 9), (3, 3), pads=(1, 1, 1, 1), batch=2), isa)


def test_pieces_are_exact():
    """Three pieces of bf16 hold all of an f32, those of the kernels' rounding too."""
    random = np.random.default_rng(0)
    values = (random.standard_normal(10000) * 2.0 ** random.integers(-80, 80, 10000)).astype(np.float32)
    pieces = in_pieces(values)
    for piece in pieces:
        np.testing.assert_array_equal(as_f32(rounded(piece)), piece)
    np.testing.assert_array_equal(sum(piece.astype(np.float64) for piece in pieces), values)


@pytest.mark.parametrize(
    "shape", [Shape(768, 96, (8, 16), density=1.0), Shape(64, 64, (28, 28), (3, 3), pads=(1, 1, 1, 1), density=1.0)]
)
@pytest.mark.parametrize("scale", [1.0, 2.0**60])
def test_accuracy(shape, scale):
    """Errors against f64 are not larger than those of FMA, also where all products have the same sign."""
    for positive in (False, True):
        errors = {}
        for name, row in (("fma", DENSE), ("tiles", ROWS["wide"])):
            made = case(shape)
            x, w = made.arrays
            x *= np.float32(scale)
            for array in (x, w) if positive else ():
                np.abs(array, out=array)
            errors[name] = _errors(made, row)
        for fma, tiles in zip(errors["fma"], errors["tiles"], strict=True):
            assert tiles <= fma


def _errors(made, row):
    """The largest and the root of the mean squared error of a row's kernel."""
    (call,) = lowering(row)(made.op, made.weights)
    ((*_, after),) = run_kernels([(call.kernel, memory(made, call))], AVX512_TILES)
    have = logical(after, type_of(call.arguments[-1])).astype(np.float64)
    x, w = (array.astype(np.float64) for array in made.arrays)
    pad = made.op.pads.get_values()[0]
    windows = sliding_window_view(np.pad(x, [(0, 0)] * 2 + [(pad, pad)] * 2), w.shape[2:], axis=(2, 3))
    want = np.einsum("nchwij,mcij->nmhw", windows, w)
    return abs(have - want).max(), ((have - want) ** 2).mean() ** 0.5


def test_only_tiles_get_the_row():
    made = case(Shape(768, 768, (8, 16), density=1.0))
    for isa, found in ((AVX512, False), (AVX512_TILES, True)):
        target = NativeTarget("x86", (isa,), shipped(isa))
        rows = [candidate.row for candidate in candidates(made.op, made.weights, target)]
        assert any("_amx_" in row for row in rows) == found
        assert ("_amx_" in rows[0]) == found
