"""Kernels of images that lie inside others, whose panels are further apart than their own channels take."""

from __future__ import annotations

import operator
from dataclasses import replace

import numpy as np
from conv_cases import Shape, case, lowering
from kernel_runner import every_isa
from layouts import in_panels
from op_runner import Case, Lower, check
from xdsl.dialects.builtin import f32

from sparsec.ir import ConcatOp, ConvOp, MapOp, PanelAttr, PoolOp, RelayoutOp, ResizeOp, SliceOp, type_of
from sparsec.ir.scalar import region
from sparsec.targets.kernels import map, movement, resize
from sparsec.targets.kernels.conv.table import ARM, BLOCKS, DENSE, SPARSE, STRIDED_WINOGRAD, TAPS, WINOGRAD
from sparsec.targets.kernels.windows import depthwise, pool

PLAIN = Shape(5, 7, (9, 11), (3, 3), pads=(1, 1, 1, 1), batch=2)
STEM = Shape(3, 5, (17, 21), (7, 3), (2, 2), pads=(3, 1, 3, 1), density=1.0, batch=2)
POINTWISE = Shape(70, 13, (13, 13), batch=2)
STRIDED = replace(PLAIN, strides=(2, 2))
GROUPS = Shape(12, 24, (7, 9), (3, 3), pads=(1, 1, 1, 1), groups=4, batch=2)
ROWS = {
    DENSE: (PLAIN, STRIDED, POINTWISE, GROUPS),
    SPARSE[0]: (PLAIN, STRIDED, POINTWISE, GROUPS),
    BLOCKS[1]: (PLAIN, POINTWISE),
    TAPS[0]: (PLAIN, STRIDED),
    WINOGRAD[0]: (replace(PLAIN, size=(8, 24)),),
    WINOGRAD[1]: (replace(PLAIN, size=(8, 24)),),
    STRIDED_WINOGRAD: (STEM,),
    ARM[0]: (PLAIN, POINTWISE),
    ARM[1]: (PLAIN, POINTWISE),
    ARM[-1]: (PLAIN, STRIDED),
}
EXTRA = 3  # channels of others


def apart(made: Case) -> Case:
    """The case with all panels further apart."""
    for value in (*made.op.operands, *made.op.results):
        type_ = type_of(value)
        if type_.panel:
            pitch = (type_.static_shape[1] + EXTRA) * type_.panel.stride
            value._type = type_.with_encoding(PanelAttr(replace(type_.panel, pitch=pitch)))
    return made


def residual(shape: Shape) -> Case:
    """A convolution to which an image is added that lies as its result does."""
    added = np.random.default_rng(3).standard_normal(case(shape).expected()[0].shape).astype(np.float32)
    made = apart(case(shape, [added], region([f32] * 2, operator.add)))
    made.atol *= 4
    return made


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


X = image(2, 6, 20, 30)
OTHERS: list[tuple[Lower, Case]] = [
    (map.lower, Case(lambda x, y: MapOp([x, y], region([f32] * 2, operator.mul)), [X, X])),
    (map.lower, Case(lambda x, y: MapOp([x, y], region([f32] * 2, operator.mul)), [X, image(6, 1, 1)])),
    (movement.lower, Case(lambda x, y: ConcatOp([x, y], 1), [X, image(2, 3, 20, 30)])),
    (movement.lower, Case(lambda x: SliceOp(x, (0, 1, 0, 0), (1, 2, 1, 1), (2, 3, 20, 30)), [X])),
    (movement.lower, Case(lambda x: RelayoutOp(x, None), [X])),
    (resize.lower, Case(lambda x: ResizeOp(x, (2, 6, 40, 60), (1, 1, 2, 2)), [X])),
    (pool.lower, Case(lambda x: PoolOp(x, "max", (5, 5), (1, 1), (1, 1), (2, 2, 2, 2)), [X])),
    (pool.lower, Case(lambda x: PoolOp(x, "average", (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), [X], rtol=1e-5, atol=1e-5)),
    (
        depthwise.lower,
        Case(
            lambda x, w, y: ConvOp(x, w, (1, 1), (1, 1), (1, 1, 1, 1), 6, [y], region([f32] * 2, operator.add)),
            [X, image(6, 1, 3, 3), X],
            constants=[1],
            rtol=1e-5,
            atol=1e-5,
        ),
    ),
]


@every_isa
def test_convolutions(isa):
    pairs = [(lowering(row), residual(shape)) for row, shapes in ROWS.items() for shape in shapes]
    check_all(pairs, isa)


@every_isa
def test_other_kernels(isa):
    check_all([(lower, apart(in_panels(made))) for lower, made in OTHERS], isa)


@every_isa
def test_layouts_change(isa):
    """Parts to and from row-major."""
    inside, outside = (Case(lambda x: RelayoutOp(x, None), [X]) for _ in range(2))
    inside.op.result._type = type_of(apart(in_panels(Case(lambda x: RelayoutOp(x, None), [X]))).op.result)
    outside.op.input._type = inside.op.result.type
    check(movement.lower, [inside, outside], isa)


def check_all(pairs, isa) -> None:
    """All cases, each with its own lowering, compiled together."""
    lowers = {made.op: lower for lower, made in pairs}
    check(lambda op, weights: lowers[op](op, weights), [made for _, made in pairs], isa)
