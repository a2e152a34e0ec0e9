"""Which ops can work on interleaved images (see interleave_images): connected ones, on images of one size."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from sparsec.ir import ConcatOp, Contraction, ConvOp, MapOp, PoolOp, ReduceOp, SliceOp, WeightOp, type_of
from sparsec.ir.ops import values

_LARGEST = 13  # rows and columns over which a mean is two pools

Key = tuple[int, int, int]
"""Images, height, width."""


def regions(ops: Sequence[Operation]) -> list[list[Operation]]:
    """Connected ops that can work on interleaved images of one size, those of convolutions."""
    able = {op: key for op in ops if (key := key_of(op)) and _is_able(op)}
    found: list[list[Operation]] = []
    left = set(able)
    for op in able:
        if op in left:
            part = _connected(op, able)
            left -= part
            if any(isinstance(member, ConvOp) for member in part):
                found.append([member for member in ops if member in part])
    return found


def _connected(start: Operation, able: dict[Operation, Key]) -> set[Operation]:
    """The ops that only ops of the same images part from `start`."""
    found, waiting = {start}, [start]
    while waiting:
        op = waiting.pop()
        readers = [use.operation for result in op.results for use in result.uses]
        makers = [value.owner for value in streams(op) if isinstance(value.owner, Operation)]
        near = [other for other in readers if other in able and op.results[0] in streams(other)] + makers
        for other in near:
            if other in able and other not in found and able[other] == able[start]:
                found.add(other)
                waiting.append(other)
    return found


def key_of(op: Operation) -> Key | None:
    """The images that `op` works on, if these are several of fixed size in f32: its result's, of a mean its input's."""
    if len(op.results) != 1 or isinstance(op, WeightOp):
        return None
    type_ = type_of(op.input if isinstance(op, ReduceOp) else op.results[0])
    if type_.rank != 4 or type_.element != f32:
        return None
    n, c, h, w = type_.shape
    if not (isinstance(n, int) and isinstance(c, int) and isinstance(h, int) and isinstance(w, int)):
        return None
    return (n, h, w) if n > 1 and h * w > 1 else None


def _is_able(op: Operation) -> bool:
    """Whether `op` means the same on interleaved images, but for windows over whole pixels."""
    result = op.results[0]
    match op:
        case ConvOp():
            constant = isinstance(op.rhs.owner, WeightOp)
            return constant and (_keeps_size(op) or _is_strided(op)) and all(_fits(x, result) for x in op.extras)
        case MapOp():
            return all(_fits(value, result) for value in op.inputs) and bool(streams(op))
        case PoolOp():
            return _keeps_size(op) and not any(values(op.overhang))
        case ConcatOp():
            return op.axis.value.data == 1
        case SliceOp():
            x, y = type_of(op.input).shape, type_of(result).shape
            return (x[0], *x[2:]) == (y[0], *y[2:]) and all(step == 1 for step in values(op.steps))
        case ReduceOp():
            pixels = type_of(op.input).shape[2:]
            return op.kind.data == "mean" and values(op.axes) == (2, 3) and max(pixels) <= _LARGEST  # pyright: ignore
    return False


def _keeps_size(op: ConvOp | PoolOp) -> bool:
    """Whether a window stands at every pixel."""
    strides, source = values(op.strides), op.operands[0]
    return set(strides) == {1} and type_of(source).shape[2:] == type_of(op.results[0]).shape[2:]


def _is_strided(op: ConvOp) -> bool:
    """Whether a convolution of one tap reads every so many pixels."""
    one_tap = type_of(op.rhs).shape[2:] == (1, 1) and not any(values(op.pads))
    return one_tap and len(set(values(op.strides))) == 1


def _fits(value: SSAValue, result: SSAValue) -> bool:
    """Whether `value` is as large as the result, or has one number for each channel, or for all."""
    type_, whole = type_of(value), type_of(result).shape
    shape = (*(1,) * (4 - type_.rank), *type_.shape)
    return type_.element == f32 and (shape == whole or shape[0] == shape[2] == shape[3] == 1)


def streams(op: Operation) -> list[SSAValue]:
    """The operands of an op that are images; the others are weights, or the same for all pixels."""
    whole = type_of(op.results[0]).shape
    match op:
        case Contraction():
            return [op.lhs, *(extra for extra in op.extras if type_of(extra).shape == whole)]
        case MapOp():
            return [value for value in op.inputs if type_of(value).shape == whole]
    return list(op.operands)
