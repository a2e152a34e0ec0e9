"""Depthwise convolution on every ISA, in panels and row-major, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa
from layouts import check_pieces, in_pairs, in_panels, sample
from op_runner import Case, check
from xdsl.dialects.builtin import f32

from sparsec.ir import ConvOp, type_of
from sparsec.ir.scalar import region
from sparsec.targets.isa import host_isas
from sparsec.targets.kernels.windows import depthwise

WIDTHS = (1, 2, 3, 5, 7, 8, 9, 13, 14, 15, 16, 17, 28, 30, 33, 56, 112)


def case(
    x, k=3, strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1), multiplier=1, residual=False, panels=True
) -> Case:
    """A depthwise convolution of [n, c, h, w] with bias and activation, and a second operand of the result's shape."""
    random = np.random.default_rng(3)
    kernel = (k, k) if isinstance(k, int) else k
    outputs = x[1] * multiplier
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in (x, (outputs, 1, *kernel), (outputs, 1, 1))]

    def build(x, w, *extras):
        body = region([f32] * (len(extras) + 1), lambda total, *rest: sum(rest, total).max(0.0))
        return ConvOp(x, w, strides, dilations, pads, type_of(x).static_shape[1], extras, body)

    if residual:
        shape = type_of(Case(build, arrays, constants=[1]).op.results[0]).static_shape
        arrays.append(random.standard_normal(shape).astype(np.float32))
    made = Case(build, arrays, constants=[1, 2], rtol=1e-5, atol=1e-5, label=f"{strides} {dilations} {pads}")
    return in_panels(made) if panels else made


SAME = [case((1, 2, size, size), panels=panels) for panels in (True, False) for size in WIDTHS]
HALVED = [case((2, 3, size, size), strides=(2, 2), panels=panels) for panels in (True, False) for size in WIDTHS]
RECTANGLES = [
    case((2, 3, height, width), strides=strides, panels=panels, residual=True)
    for panels in (True, False)
    for height, width in ((1, 40), (40, 1), (3, 17), (17, 3), (20, 15), (113, 2), (5, 113))
    for strides in ((1, 1), (2, 1), (1, 2))
]
WINDOWS = [
    case((1, 3, 15, 17), panels=panels, **options)
    for panels in (True, False)
    for options in (
        {"k": 1, "pads": (0, 0, 0, 0)},
        {"k": 2, "pads": (0, 0, 1, 1)},
        {"k": 5, "pads": (2, 2, 2, 2), "multiplier": 2},
        {"k": 7, "pads": (3, 3, 3, 3), "strides": (2, 2)},
        {"k": (3, 5), "pads": (1, 2, 1, 2), "strides": (3, 3)},
        {"k": (1, 3), "pads": (0, 1, 0, 1), "strides": (4, 2)},
        {"k": 3, "pads": (4, 5, 4, 5), "dilations": (4, 5)},
        {"k": 3, "pads": (0, 0, 0, 0), "dilations": (2, 3), "strides": (2, 2)},
        {"k": 3, "pads": (3, 0, 5, 9), "strides": (1, 2)},
    )
]
LARGE = [
    case((2, 3, 20, 40), panels=panels, residual=True, **options)
    for panels in (True, False)
    for options in (
        {"k": 17, "pads": (8, 8, 8, 8)},
        {"k": (15, 16), "pads": (3, 0, 9, 5), "strides": (2, 5), "multiplier": 2},
        {"k": (9, 30), "pads": (8, 20, 8, 11), "dilations": (2, 1), "strides": (1, 9)},
    )
]
GROUPS = {"large": LARGE, "same": SAME, "halved": HALVED, "rectangles": RECTANGLES, "windows": WINDOWS}


@every_isa
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_depthwise(group, isa):
    check(depthwise.lower, sample(group, isa), isa)


PAIRS = [
    *(case((1, 4, size, size)) for size in WIDTHS[::3]),
    *(case((2, 6, size, size), strides=(2, 2)) for size in WIDTHS[::3]),
    *(case((1, 38, height, width)) for height, width in ((1, 40), (40, 1), (20, 15), (5, 113))),
    case((1, 4, 15, 17), k=(3, 5), pads=(1, 2, 1, 2), strides=(3, 3)),
    case((1, 4, 15, 17), k=3, pads=(3, 0, 5, 9), strides=(1, 2)),
    case((1, 4, 15, 17), k=3, pads=(4, 5, 4, 5), dilations=(4, 5)),
]


@pytest.mark.parametrize("isa", host_isas("bf16"), ids=lambda isa: isa.name)
def test_pairs(isa):
    cases = [in_pairs(made) for made in sample(PAIRS, isa)]
    assert all(depthwise.takes_pairs(made.op, (made.op.lhs, made.op.result)) for made in cases)
    check(depthwise.lower, cases, isa)


@pytest.mark.parametrize("size", [14, 56, 113])
def test_depthwise_in_pieces(size):
    check_pieces(depthwise.lower, case((2, 37, size, size), strides=(1, 1)))


def test_large_windows_are_loops():
    assert all(call.kernel.large for made in LARGE for call in depthwise.lower(made.op, made.weights))


def test_depthwise_declines_other_convolutions():
    grouped = case((1, 4, 8, 8)).op
    assert depthwise.accepts(grouped)
    assert depthwise.takes_panels(grouped)
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in ((1, 4, 8, 8), (4, 2, 3, 3))]
    other = Case(lambda x, w: ConvOp(x, w, (1, 1), (1, 1), (1, 1, 1, 1), 2), arrays, constants=[1]).op
    assert not depthwise.accepts(other)
