"""Strided Winograd convolutions over the edges of their tiles: sizes, pads, channels, batches, layouts, epilogues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_cases import Shape, case, lowering
from kernel_runner import every_isa
from op_runner import Case, check
from xdsl.dialects.builtin import f32

from sparsec.ir.scalar import region
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import STRIDED_WINOGRAD as ROW

PLAIN = Shape(3, 6, (17, 21), (7, 3), (2, 2), pads=(3, 1, 3, 1), density=1.0)
SIZES = [replace(PLAIN, size=size) for size in ((1, 1), (31, 2), (16, 32), (40, 70))]
PADS = [replace(PLAIN, pads=pads) for pads in ((0, 0, 0, 0), (4, 9, 1, 0), (0, 0, 5, 8))]
WINDOWS = [replace(PLAIN, kernel=kernel, pads=(3, 2, 3, 2)) for kernel in ((7, 1), (7, 2), (7, 7))]
CHANNELS = [replace(PLAIN, channels=c, outputs=m) for c, m in ((1, 1), (4, 5))]
LAYOUTS = [
    replace(PLAIN, row_major_source=True, batch=2),
    replace(PLAIN, row_major=True, batch=3),
    replace(PLAIN, size=(36, 36), row_major_source=True),
]
KINDS = {"sizes": SIZES, "pads": PADS, "windows": WINDOWS, "channels": CHANNELS, "layouts": LAYOUTS}
ROUNDING = 4  # of a sum of products, compared with a sum in order


def rounded(shape: Shape, *epilogue) -> Case:
    """The case of a shape, with the tolerance of Winograd's transforms."""
    made = case(shape, *epilogue)
    made.atol *= ROUNDING
    return made


@every_isa
@pytest.mark.parametrize("shapes", KINDS.values(), ids=KINDS)
def test_shapes(isa, shapes):
    cases = [rounded(shape) for shape in shapes]
    assert all(ROW.fits(ConvShape.of(one.op)) for one in cases)
    check(lowering(ROW), cases, isa)


@every_isa
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_epilogues(isa, long):
    """A number, one per channel, one per image and channel, and a residual, through a ReLU or a hyperbolic tangent."""

    def body(x, scale, bias, gate, residual):
        x = x * scale + bias
        return (x.call("tanh") if long else x.max(0.0)) * gate + residual

    random = np.random.default_rng(3)
    cases = []
    for shape in (replace(PLAIN, batch=2), replace(PLAIN, row_major=True)):
        result = case(shape).expected()[0].shape
        sizes = (), (shape.outputs, 1, 1), (shape.batch, shape.outputs, 1, 1), result
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        cases.append(rounded(shape, extras, region([f32] * 5, body)))
    check(lowering(ROW), cases, isa)


def test_only_windows_of_seven_rows_and_few_channels_fit():
    for other in (
        replace(PLAIN, strides=(1, 1)),
        replace(PLAIN, kernel=(5, 3)),
        replace(PLAIN, channels=140),
        replace(PLAIN, dilations=(2, 1)),
    ):
        assert not ROW.fits(ConvShape.of(case(other).op))
