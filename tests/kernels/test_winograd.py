"""Winograd convolutions over the edges of their tiles: sizes, pads, channels, batches, layouts, epilogues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_cases import Shape, case, check_groupings, lowering
from kernel_runner import every_isa, spread
from op_runner import Case, check
from xdsl.dialects.builtin import f32

from sparsec.ir.scalar import region
from sparsec.targets.isa import host_isas
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import WINOGRAD

every_row = pytest.mark.parametrize("row", WINOGRAD, ids=lambda row: row.name)

PLAIN = Shape(5, 7, (9, 11), (3, 3), pads=(1, 1, 1, 1), density=1.0)
SIZES = [replace(PLAIN, size=size) for size in ((1, 1), (1, 9), (9, 1), (3, 4), (4, 16), (5, 17), (7, 7), (10, 10))]
LARGE = [replace(PLAIN, channels=3, size=size) for size in ((14, 14), (20, 20), (13, 40), (25, 31))]
PADS = [replace(PLAIN, pads=pads) for pads in ((0, 0, 0, 0), (2, 2, 2, 2), (0, 1, 2, 0), (1, 0, 0, 2))]
CHANNELS = [replace(PLAIN, channels=c, outputs=m) for c, m in ((1, 1), (64, 24), (37, 25), (70, 12), (72, 53))]
LAYOUTS = [
    replace(PLAIN, size=(8, 8), batch=3),
    replace(PLAIN, size=(8, 24), row_major=True, row_major_source=True),
    replace(PLAIN, size=(9, 7), row_major=True, batch=2),
    replace(PLAIN, size=(24, 24), row_major_source=True),
]
KINDS = {"sizes": SIZES, "large": LARGE, "pads": PADS, "channels": CHANNELS, "layouts": LAYOUTS}


ROUNDING = 4  # of a sum of products, compared with a sum in order


def rounded(shape: Shape, *epilogue) -> Case:
    """The case of a shape, with the tolerance of Winograd's transforms."""
    made = case(shape, *epilogue)
    made.atol *= ROUNDING
    return made


@spread("shapes", KINDS, {row.name: row for row in WINOGRAD})
def test_shapes(isa, row, shapes):
    cases = [rounded(shape) for shape in shapes]
    assert all(row.fits(ConvShape.of(one.op)) for one in cases)
    check(lowering(row), cases, isa)


@every_isa
@every_row
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_epilogues(isa, row, long):
    """A number, one per channel, one per image and channel, and a residual, through a ReLU or a hyperbolic tangent."""

    def body(x, scale, bias, gate, residual):
        x = x * scale + bias
        return (x.call("tanh") if long else x.max(0.0)) * gate + residual

    random = np.random.default_rng(3)
    cases = []
    for shape in (replace(PLAIN, batch=2), replace(PLAIN, size=(14, 14), outputs=26), replace(PLAIN, row_major=True)):
        result = case(shape).expected()[0].shape
        sizes = (), (shape.outputs, 1, 1), (shape.batch, shape.outputs, 1, 1), result
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        cases.append(rounded(shape, extras, region([f32] * 5, body)))
    check(lowering(row), cases, isa)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.name)
@every_row
def test_chunks_in_any_grouping(isa, row):
    """Parts of the outputs, and rows of tiles."""
    check_groupings(row, replace(PLAIN, outputs=70, size=(7, 7)), isa)
    check_groupings(row, replace(PLAIN, channels=32, size=(64, 48), batch=3), isa)


def test_other_windows_are_refused():
    wrong = (
        replace(PLAIN, kernel=(5, 5)),
        replace(PLAIN, strides=(2, 2)),
        replace(PLAIN, strides=(1, 2)),
        replace(PLAIN, dilations=(2, 2)),
        replace(PLAIN, kernel=(1, 3)),
        replace(PLAIN, channels=6, outputs=6, groups=2),
    )
    for shape in wrong:
        assert not any(row.fits(ConvShape.of(case(shape).op)) for row in WINOGRAD)


def test_rounding_of_a_deep_sum():
    """Errors of both transforms together are below 1e-5 of the largest result, over 512 channels."""
    shape = Shape(512, 12, (8, 8), (3, 3), pads=(1, 1, 1, 1), density=1.0)
    made = case(shape)
    made.rtol, made.atol = 0, 1e-5 * abs(made.expected()[0]).max()
    isas = host_isas()
    if not isas:
        pytest.skip("no x86 machine")
    for row in WINOGRAD:
        check(lowering(row), [made], isas[0])
