"""sp.conv, dense and sparse, on every ISA: every row of the table over edge shapes, against the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check, memory
from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, Region

from sparsec import formats
from sparsec.ir import ConvOp, Panel, PanelAttr, type_of
from sparsec.ir.scalar import region
from sparsec.target import Candidate
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX512, Isa, host_isas
from sparsec.targets.jit import Jit
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.conv.lowering import call, candidates
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import ROWS
from sparsec.targets.native import NativeTarget
from sparsec.weights import WeightStore

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


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


def run(shapes: Sequence[Shape], row: Row, isa: Isa) -> None:
    check(lowering(row), [case(shape) for shape in shapes], isa)


def lowering(row: Row):
    def lower(op: Operation, weights: WeightStore) -> list[Call]:
        assert isinstance(op, ConvOp)
        return [call(op, weights, row)]

    return lower


POINTWISE = [Shape(k, m, (5, 7)) for k in (1, 5, 63, 64, 65, 200) for m in (1, 6, 7, 20)]
PIXELS = [Shape(9, 8, size) for size in ((1, 1), (1, 3), (7, 7), (14, 14), (3, 50), (2, 100), (13, 13))]
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


KINDS = {"pointwise": POINTWISE, "pixels": PIXELS, "windows": WINDOWS, "groups": GROUPS, "row-major": ROW_MAJOR}


@every_isa
@every_row
@pytest.mark.parametrize("shapes", KINDS.values(), ids=KINDS)
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
        Shape(40, 13, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2),
        Shape(12, 10, (3, 3), batch=2, row_major=True),
        Shape(8, 12, (6, 6), (3, 3), groups=2, batch=2),
    ):
        sizes = (), (shape.outputs, 1, 1), (2, shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        cases.append(case(shape, extras, body.clone()))
    check(lowering(row), cases, isa)


@every_isa
@every_row
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_extreme_densities(isa, row, density):
    run([Shape(150, 20, (5, 7), density=density), Shape(20, 7, (5, 7), (3, 3), density=density)], row, isa)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.name)
@every_row
def test_chunks_in_any_grouping(isa, row):
    """Ranges of chunks, as threads get them, give what all chunks at once give."""
    for shape in (
        Shape(70, 400, (3, 5)),
        Shape(20, 260, (9, 9), (3, 3), pads=(1, 1, 1, 1), batch=2),
        Shape(32, 64, (12, 12), groups=8),
    ):
        made = case(shape)
        (one,) = lowering(row)(made.op, made.weights)
        assert one.kernel.chunks > 4
        arrays = memory(made, one)
        whole, pieces = ([array.copy() for array in arrays] for _ in range(2))
        jit = Jit([one.kernel], isa)
        jit(one.kernel, whole)
        for begin, end in ((3, one.kernel.chunks), (0, 1), (1, 3)):
            jit(one.kernel, pieces, begin, end)
        np.testing.assert_array_equal(pieces[-1], whole[-1])


def choice(shape: Shape) -> Candidate:
    made = case(shape)
    assert isinstance(made.op, ConvOp)
    target = NativeTarget("x86", (AVX512,), shipped(AVX512))
    found = candidates(made.op, made.weights, target)
    assert {candidate.row for candidate in found} == set(ROWS)
    assert [c.seconds for c in found] == sorted(c.seconds for c in found)
    assert all(0 < c.seconds < 1 and c.reason for c in found)
    return found[0]


def test_choice_follows_density():
    for kernel, pads in (((1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1, 1, 1))):
        dense = choice(Shape(64, 64, (28, 28), kernel, pads=pads, density=1.0))
        sparse = choice(Shape(64, 64, (28, 28), kernel, pads=pads, density=0.1))
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
        assert len(packed.values) == np.count_nonzero(weight)
