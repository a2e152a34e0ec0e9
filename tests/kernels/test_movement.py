"""Ops that only move elements, on every ISA, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa
from layouts import check_pieces, in_panels, panel, sample
from op_runner import Case, check

from sparsec.ir import (
    ConcatOp,
    DeinterleaveOp,
    ExpandOp,
    InterleaveOp,
    PadOp,
    Panel,
    PanelAttr,
    RelayoutOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    type_of,
)
from sparsec.targets.kernels import movement

DTYPES = ("float32", "float64", "int8", "float16", "bool", "int64")


def array(shape, dtype="float32") -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(shape) * 50).astype(dtype)


def relayout(shape, source: Panel | None, target: Panel | None) -> Case:
    encodings = [None if layout is None else PanelAttr(layout) for layout in (source, target)]
    made = Case(lambda x: RelayoutOp(x, encodings[1]), [array(shape)])
    made.op.operands[0]._type = type_of(made.op.operands[0]).with_encoding(encodings[0])
    return made


SHAPES = ((2, 3, 14, 14), (1, 5, 56, 56), (2, 3, 7, 9), (1, 2, 30, 20), (1, 2, 113, 112), (1, 1, 5, 3), (1, 1, 1, 1))
RELAYOUTS = [
    *(relayout(shape, None, panel(*shape[2:])) for shape in SHAPES),
    *(relayout(shape, panel(*shape[2:]), None) for shape in SHAPES),
    relayout((2, 3, 11, 20), Panel(5, 112), Panel(3, 64)),
    relayout((2, 3, 11, 20), Panel(11, 224), Panel(4, 80)),
]
PERMUTATIONS = (
    ((3, 4, 5), (0, 2, 1)),
    ((2, 64, 49), (0, 2, 1)),
    ((2, 49, 64), (0, 2, 1)),
    ((17, 33), (1, 0)),
    ((3, 50), (1, 0)),
    ((50, 3), (1, 0)),
    ((2, 100, 67), (2, 1, 0)),
    ((2, 3, 64, 64), (0, 2, 3, 1)),
    ((1, 64, 50, 3), (0, 3, 1, 2)),
    ((2, 3, 4, 5, 6), (0, 2, 1, 3, 4)),
    ((8, 5, 7, 9), (3, 1, 2, 0)),
    ((2, 16, 12, 64), (0, 2, 1, 3)),
)
TRANSPOSES = [
    Case(lambda x, perm=perm: TransposeOp(x, perm), [array(shape, dtype)])
    for dtype in DTYPES
    for shape, perm in PERMUTATIONS
]


def others(dtype) -> list[Case]:
    def slice_(shape, starts, steps, sizes):
        return Case(lambda x: SliceOp(x, starts, steps, sizes), [array(shape, dtype)])

    def concat(axis, *shapes):
        return Case(lambda *x: ConcatOp(x, axis), [array(shape, dtype) for shape in shapes])

    def expand(shape, result):
        return Case(lambda x: ExpandOp(x, result), [array(shape, dtype)])

    return [
        slice_((3, 10, 33), (1, 2, 3), (1, 2, 1), (2, 4, 20)),
        slice_((3, 10, 33), (2, 9, 32), (-1, -3, -1), (3, 4, 33)),
        slice_((2, 201), (2 - 1, 200), (-1, -2), (2, 100)),
        slice_((3, 201), (0, 1), (1, 2), (3, 100)),
        slice_((3, 201), (0, 1), (1, 5), (3, 40)),
        slice_((40, 3), (39, 2), (-1, -1), (40, 3)),
        concat(1, (2, 3, 9), (2, 1, 9), (2, 7, 9)),
        concat(2, (2, 3, 9), (2, 3, 1), (2, 3, 70)),
        concat(0, (2, 3, 9), (1, 3, 9)),
        concat(1, (70, 1), (70, 1)),
        expand((3, 1, 50), (2, 3, 4, 50)),
        expand((2, 3, 1, 1), (2, 3, 4, 50)),
        expand((2, 30, 1, 50, 1), (2, 30, 2, 50, 2)),
        expand((9, 1), (9, 3)),
        expand((), (100, 200)),
        Case(lambda x: ReshapeOp(x, (30, 20)), [array((20, 30), dtype)]),
        Case(lambda x: PadOp(x, (-1, 2), (2, -3), value=3.0), [array((30, 20), dtype)]),
        *(
            Case(lambda x, m=m: PadOp(x, (0, 1, 2, 3), (0, 0, 2, 4), m, 3.0), [array((2, 3, 5, 70), dtype)])
            for m in MODES
        ),
        *(Case(lambda x, m=m: PadOp(x, (3, 2), (5, 1), m, 3.0), [array((3, 2), dtype)]) for m in MODES),
        *(Case(lambda x, m=m: PadOp(x, (2, 1), (1, 2), m, 1.0), [array((1, 1), dtype)]) for m in MODES),
    ]


MODES = ("constant", "edge", "reflect", "wrap")
PANELS = [
    in_panels(Case(lambda *x: ConcatOp(x, 1), [array((2, 3, 14, 14)), array((2, 1, 14, 14)), array((2, 8, 14, 14))])),
    in_panels(Case(lambda *x: ConcatOp(x, 0), [array((2, 3, 14, 14)), array((1, 3, 14, 14))])),
    in_panels(Case(lambda x: SliceOp(x, (0, 2, 0, 0), (1, 2, 1, 1), (2, 3, 20, 20)), [array((2, 8, 20, 20))])),
    in_panels(Case(lambda x: SliceOp(x, (1, 7, 0, 0), (-1, -1, 1, 1), (2, 8, 56, 5)), [array((2, 8, 56, 5))])),
    in_panels(Case(lambda x: PadOp(x, (0, 2, 0, 0), (0, 3, 0, 0), value=1.5), [array((2, 4, 20, 20))])),
]
LARGE = [
    Case(lambda *x: ConcatOp(x, 1), [array((1, 64, 55, 55)), array((1, 64, 55, 55))]),
    Case(lambda x: TransposeOp(x, (0, 2, 3, 1)), [array((1, 64, 112, 112))]),
    Case(lambda x: TransposeOp(x, (1, 0)), [array((3, 50001))]),
    Case(lambda x: TransposeOp(x, (1, 0)), [array((50001, 5))]),
    Case(lambda x: TransposeOp(x, (1, 0)), [array((301, 407), "int8")]),
    Case(lambda x: SliceOp(x, (70000,), (-1,), (70001,)), [array((70001,))]),
    Case(lambda x: PadOp(x, (0, 0, 1, 1), (0, 0, 1, 1)), [array((1, 16, 112, 112))]),
]
INTERLEAVED = [
    lay(Case(lambda x, images=images, step=step: InterleaveOp(x, images, step), [array(shape)]))
    for shape, images, step in (
        ((16, 5, 7, 7), 16, 1),
        ((16, 3, 7, 7), 8, 1),
        ((6, 3, 14, 14), 3, 2),
        ((17, 2, 7, 7), 17, 2),
        ((32, 2, 30, 20), 16, 1),
        ((4, 3, 30, 21), 4, 2),
        ((4, 9, 1, 1), 2, 1),
        ((2, 3, 3, 2), 2, 1),
    )
    for lay in (in_panels, lambda case: case)
]
DEINTERLEAVED = [
    lay(Case(lambda x, images=images: DeinterleaveOp(x, images), [array(shape)]))
    for shape, images in (
        ((1, 5, 7, 112), 16),
        ((2, 3, 7, 56), 8),
        ((2, 3, 14, 42), 3),
        ((1, 3, 30, 320), 16),
        ((1, 70, 1, 16), 16),
        ((2, 3, 3, 4), 2),
    )
    for lay in (in_panels, lambda case: case)
]
GROUPS = {
    "interleaved": INTERLEAVED,
    "deinterleaved": DEINTERLEAVED,
    "relayout": RELAYOUTS,
    "transpose": TRANSPOSES,
    "panels": PANELS,
    "large": LARGE,
}
GROUPS |= {dtype: others(dtype) for dtype in DTYPES}


@every_isa
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_movement(group, isa):
    check(movement.lower, sample(group, isa), isa)


@pytest.mark.parametrize("index", range(len(LARGE)))
def test_movement_in_pieces(index):
    check_pieces(movement.lower, LARGE[index])


def test_movement_keeps_panels():
    assert all(movement.takes_panels(case.op) for case in PANELS)
    assert not movement.takes_panels(TRANSPOSES[0].op)
    spatial = Case(lambda x: SliceOp(x, (0, 0, 1, 0), (1, 1, 1, 1), (1, 2, 3, 4)), [array((1, 2, 4, 4))])
    assert not movement.takes_panels(spatial.op)


def test_nothing_to_move():
    case = Case(lambda x: ReshapeOp(x, (0, 3)), [array((3, 0))])
    assert movement.lower(case.op, case.weights) == []
