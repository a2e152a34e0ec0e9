"""Convolutions over edge shapes, for the tests of their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from op_runner import Case, memory
from xdsl.ir import Operation, Region

from sparsec.ir import ConvOp, Panel, PanelAttr, type_of
from sparsec.targets.isa import Isa
from sparsec.targets.jit import Jit
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.conv.lowering import call
from sparsec.targets.kernels.conv.row import Row
from sparsec.weights import WeightStore


@dataclass
class Shape:
    """A convolution of `channels` × `size` pixels to `outputs`."""

    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    batch: int = 1
    density: float = 0.3
    row_major_source: bool = False
    row_major: bool = False


def panel(height: int, width: int) -> Panel:
    """Panels of few vectors, of which small images need several."""
    rows = max(1, min(height, 48 // width))
    return Panel(rows, -(-rows * width // 16) * 16)


def case(shape: Shape, extras: Sequence[np.ndarray] = (), epilogue: Region | None = None) -> Case:
    """Random operands; weights with zeros, an output without weights, and a channel that no output reads."""
    random = np.random.default_rng(7)
    x = random.standard_normal((shape.batch, shape.channels, *shape.size)).astype(np.float32)
    w = random.standard_normal((shape.outputs, shape.channels // shape.groups, *shape.kernel)).astype(np.float32)
    w[random.random(w.shape) >= shape.density] = 0
    w[shape.outputs // 2] = 0

    def build(x, w, *extras):
        geometry = shape.strides, shape.dilations, shape.pads, shape.groups
        return ConvOp(x, w, *geometry, extras, epilogue)

    depth = w[0].size
    made = Case(build, [x, w, *extras], constants=[1], rtol=1e-5, atol=2e-6 * depth**0.5 + 1e-6, label=str(shape))
    if not shape.row_major:
        _set_panels(made.op, shape)
    return made


def _set_panels(op: Operation, shape: Shape) -> None:
    assert isinstance(op, ConvOp)
    result = type_of(op.result)
    values = [op.result, *(extra for extra in op.extras if type_of(extra).shape == result.shape)]
    values += [] if shape.row_major_source else [op.lhs]
    for value in values:
        value._type = type_of(value).with_encoding(PanelAttr(panel(*type_of(value).static_shape[2:])))


def lowering(row: Row):
    def lower(op: Operation, weights: WeightStore) -> list[Call]:
        assert isinstance(op, ConvOp)
        return [call(op, weights, row)]

    return lower


def check_groupings(row: Row, shape: Shape, isa: Isa) -> None:
    """Ranges of chunks, as threads get them, give what all chunks at once give; `isa` is one of this CPU."""
    made = case(shape)
    (one,) = lowering(row)(made.op, made.weights)
    assert one.kernel.chunks > 3
    whole, pieces = ([array.copy() for array in memory(made, one)] for _ in range(2))
    jit = Jit([one.kernel], isa)
    jit(one.kernel, whole)
    for begin, end in ((3, one.kernel.chunks), (0, 1), (1, 3)):
        jit(one.kernel, pieces, begin, end)
    np.testing.assert_array_equal(pieces[-1], whole[-1])


# Channels around the blocks of K, outputs around the tiles: each with several of the other.
POINTWISE = [Shape(k, m, (5, 7)) for k, m in ((1, 1), (1, 7), (5, 6), (63, 7), (64, 1), (64, 20), (65, 6), (65, 7))]
POINTWISE += [Shape(k, m, (5, 7)) for k, m in ((97, 20), (129, 13), (200, 1), (200, 6), (200, 20))]
POINTWISE += [Shape(200, 20, (128, 1)), Shape(130, 13, (256, 1))]  # rows of B 512 bytes apart
PIXELS = [Shape(9, 8, size) for size in ((1, 1), (1, 3), (7, 7), (14, 14), (3, 50), (2, 100), (13, 13))]
# One pixel behind full vectors.
ODD_PIXEL = [
    *(Shape(9, 8, size) for size in ((3, 11), (1, 49), (1, 17))),
    Shape(300, 13, (3, 11), batch=2),
    Shape(30, 14, (3, 11), (3, 3), pads=(1, 1, 1, 1)),
    Shape(140, 13, (7, 7), row_major=True, row_major_source=True),
]
WINDOWS = [
    Shape(5, 7, (9, 11), (3, 3), pads=(1, 1, 1, 1)),
    Shape(5, 7, (9, 11), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(5, 7, (12, 12), (3, 3), (2, 2), pads=(0, 0, 1, 1)),
    Shape(5, 7, (9, 11), (3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)),
    Shape(5, 7, (9, 11), (2, 3), (3, 1), pads=(0, 2, 1, 0)),
    Shape(3, 8, (33, 35), (7, 7), (2, 2), pads=(3, 3, 3, 3)),
    Shape(3, 4, (2, 3), (5, 5), pads=(2, 2, 2, 2)),
    Shape(3, 4, (2, 2), (3, 3), pads=(3, 3, 3, 3)),
    Shape(4, 4, (6, 40), (1, 1), (2, 2)),
    Shape(4, 4, (9, 9), (1, 1), (3, 3)),
    Shape(4, 4, (5, 5), (1, 1), pads=(1, 1, 1, 1)),
    Shape(4, 4, (17, 1), (3, 1), pads=(1, 0, 1, 0)),
    Shape(4, 4, (1, 70), (1, 5), pads=(0, 2, 0, 2)),
    Shape(40, 9, (10, 10), (3, 3), pads=(1, 1, 1, 1)),
    Shape(40, 9, (7, 48), (3, 3), dilations=(1, 16), pads=(1, 16, 1, 16)),
    Shape(5, 7, (5, 40), (3, 3), dilations=(2, 16), pads=(2, 16, 2, 16)),
    Shape(5, 7, (4, 33), (2, 3), dilations=(1, 16), pads=(0, 3, 1, 5)),
    Shape(5, 7, (3, 96), (5, 5), (2, 1), dilations=(1, 32), pads=(2, 64, 2, 64)),
    Shape(9, 7, (7, 21), (3, 3), dilations=(1, 3), pads=(1, 3, 1, 3)),
    Shape(3, 4, (6, 6), (3, 3), (2, 2), dilations=(2, 2), pads=(2, 2, 2, 2), batch=2),
]
GROUPS = [
    Shape(12, 18, (5, 5), groups=3),
    Shape(12, 24, (7, 9), (3, 3), pads=(1, 1, 1, 1), groups=4, batch=2),
    Shape(40, 40, (4, 4), (3, 3), (2, 2), pads=(1, 1, 1, 1), groups=20),
]
ROW_MAJOR = [
    Shape(3, 8, (17, 19), (3, 3), (2, 2), pads=(1, 1, 1, 1), row_major_source=True),
    Shape(3, 8, (9, 9), row_major_source=True),
    Shape(12, 10, (1, 1), row_major=True),
    Shape(12, 10, (4, 4), row_major=True, batch=2),
    Shape(5, 10, (5, 5), (5, 5), row_major=True),
    Shape(5, 10, (5, 7), (3, 3), pads=(1, 1, 1, 1), row_major=True),
    Shape(5, 70, (1, 1), (3, 3), pads=(1, 1, 1, 1), row_major=True, batch=2),
]


KINDS = {
    "pointwise": POINTWISE,
    "pixels": PIXELS,
    "odd pixel": ODD_PIXEL,
    "windows": WINDOWS,
    "groups": GROUPS,
    "row-major": ROW_MAJOR,
}
