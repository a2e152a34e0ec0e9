"""Ops that only move elements: relayout, transpose, slice, concat, pad, expand, … each as boxes to copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from xdsl.ir import Operation, SSAValue

from sparsec.ir import (
    ConcatOp,
    DeinterleaveOp,
    ExpandOp,
    InterleaveOp,
    PadOp,
    RelayoutOp,
    ReshapeOp,
    SliceOp,
    TensorType,
    TransposeOp,
    type_of,
)
from sparsec.ir.dims import Dim, Sym, fixed, is_symbolic
from sparsec.ir.ops import INSIDE, inputs_inside, values
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.movement.boxes import Box
from sparsec.targets.kernels.movement.copy import Copy
from sparsec.targets.kernels.movement.interleaving import deinterleaved, interleaved
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.space import Strides, broadcast_strides, row_major
from sparsec.weights import WeightStore

MOVEMENTS = (
    ConcatOp,
    DeinterleaveOp,
    ExpandOp,
    InterleaveOp,
    PadOp,
    RelayoutOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
)
_SPATIAL = (2, 3)


def accepts(op: Operation) -> bool:
    """Whether this op only moves elements."""
    return isinstance(op, MOVEMENTS)


def takes_panels(op: Operation) -> bool:
    """Panels are kept by concatenations, slices and pads of images or channels that leave the pixels alone."""
    match op:
        case RelayoutOp() | InterleaveOp() | DeinterleaveOp():
            return True
        case ConcatOp():
            return type_of(op.result).rank == 4 and op.axis.value.data not in _SPATIAL
        case SliceOp():
            x, y = type_of(op.input), type_of(op.result)
            return x.rank == 4 and x.shape[2:] == y.shape[2:] and values(op.steps)[2:] == (1, 1)
        case PadOp():
            return type_of(op.input).rank == 4 and not any(values(op.low)[2:] + values(op.high)[2:])
    return False


def takes_parts(op: Operation) -> bool:
    """Whether values that lie inside others may be moved, and be the result."""
    return isinstance(op, RelayoutOp | ConcatOp | SliceOp | InterleaveOp | DeinterleaveOp)


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """One call: the inputs, the result. None for a result without elements, or of which nothing has to be moved."""
    result = type_of(op.results[0])
    boxes = tuple(box for box in _BOXES[type(op)](op) if box.count)
    if not boxes:
        return []
    kernel = Copy(op.name.removeprefix("sp."), result.dtype.itemsize, len(op.operands), boxes)
    arguments: tuple[SSAValue, ...] = (*op.operands, op.results[0])
    return [Call(kernel, arguments, (len(arguments) - 1,))]


def _relayout(op: RelayoutOp) -> list[Box]:
    """The rows that lie in one panel on both sides move as one run of pixels."""
    source, target = Planes.sized(type_of(op.input)), Planes.sized(type_of(op.result))
    if source.panels != 1 and target.panels != 1:
        return [_rows(source, target, start, stop) for start, stop in _segments(source, target)]
    rows = min(planes.rows for planes in (source, target) if not is_symbolic(planes.rows))
    whole, height = source.height // rows, source.height
    box = _rows(source, target, 0, rows, whole)
    return [box] if height % rows == 0 else [box, _rows(source, target, whole * rows, height)]


def _segments(source: Planes, target: Planes) -> list[tuple[int, int]]:
    """Row ranges without a panel's edge inside."""
    fixed(source.height)
    edges = {*range(0, source.height, source.rows), *range(0, target.height, target.rows), source.height}
    return list(pairwise(sorted(edges)))


def _rows(source: Planes, target: Planes, start: int, stop: int, repeats: int = 1) -> Box:
    """All images and channels of rows [start, stop), and of the same number of rows behind them, `repeats` times."""
    sizes = source.images, repeats, source.channels, (stop - start) * source.width
    strides = [
        (planes.image_size, 0 if repeats == 1 else planes.fixed_row(stop), planes.stride, 1)
        for planes in (source, target)
    ]
    return Box.of(sizes, strides[0], strides[1], source.fixed_row(start), target.fixed_row(start))


def _transpose(op: TransposeOp) -> list[Box]:
    strides, result = row_major(type_of(op.input).shape), type_of(op.result).shape
    return [Box.of(result, [strides[axis] for axis in values(op.perm)], row_major(result))]


def _slice(op: SliceOp) -> list[Box]:
    if INSIDE in op.attributes:
        return []
    starts, steps = (_physical_axes(type_of(op.input), values(x), rest) for x, rest in ((op.starts, 0), (op.steps, 1)))
    strides = _strides(type_of(op.input))
    start = sum(first * stride for first, stride in zip(starts, strides, strict=True))
    moved = [step * stride for step, stride in zip(steps, strides, strict=True)]
    return [Box.of(type_of(op.result).physical_shape, moved, _strides(type_of(op.result)), start)]


def _concat(op: ConcatOp) -> list[Box]:
    axis = op.axis.value.data
    result = type_of(op.result)
    axis = 2 if result.panel is not None and axis == 1 else axis
    strides, boxes = _strides(result), []
    place: Dim = 0
    inside = inputs_inside(op)
    for index, value in enumerate(op.inputs):
        shape = type_of(value).physical_shape
        if index not in inside:
            boxes.append(Box.of(shape, _strides(type_of(value)), strides, 0, place * strides[axis], index))
        place += shape[axis]
    return boxes


def _expand(op: ExpandOp) -> list[Box]:
    result = type_of(op.result).shape
    return [Box.of(result, broadcast_strides(type_of(op.input).shape, result), row_major(result))]


def _reshape(op: ReshapeOp) -> list[Box]:
    shape = type_of(op.result).shape
    return [Box.of(shape, row_major(shape), row_major(shape))]


def _pad(op: PadOp) -> list[Box]:
    """One box for each combination of the axes' parts: before, inside, behind."""
    x = type_of(op.input)
    source, target = (type_of(value).physical_shape for value in (op.input, op.result))
    low, high = (_physical_axes(x, values(sizes), 0) for sizes in (op.low, op.high))
    parts = [_pad_parts(*axis, op.mode.data) for axis in zip(source, low, high, strict=True)]
    value = int(np.array(op.value.value.data).astype(x.dtype).view(f"i{x.dtype.itemsize}"))
    source_strides, target_strides = row_major(source), row_major(target)
    boxes = []
    for combination in product(*parts):
        filled = any(part.first is None for part in combination)
        first = sum((part.first or 0) * stride for part, stride in zip(combination, source_strides, strict=True))
        place = sum(part.start * stride for part, stride in zip(combination, target_strides, strict=True))
        moved = [part.step * stride for part, stride in zip(combination, source_strides, strict=True)]
        sizes = [part.size for part in combination]
        boxes.append(Box.of(sizes, moved, target_strides, first, place, None if filled else 0, value))
    return boxes


@dataclass(frozen=True)
class Part:
    """`size` places of an axis from `start` on show source elements `first`, first + step, …; None: the pad value."""

    start: Dim
    size: Dim
    first: int | None
    step: int


def _pad_parts(size: Dim, low: int, high: int, mode: str) -> list[Part]:
    """A padded axis as parts along which the source moves evenly."""
    if isinstance(size, Sym) and (mode == "constant" or not (low or high)):
        around = Part(0, low, None, 0), Part(low, size, 0, 1), Part(low + size, high, None, 0)
        return [part for part in around if part.size != 0]
    size = fixed(size)
    places = np.arange(-low, size + high)
    inside = (places >= 0) & (places < size)
    match mode:
        case "constant":
            shown = np.where(inside, places, -1)
        case "edge":
            shown = np.clip(places, 0, size - 1)
        case "reflect":
            folded = places % max(2 * (size - 1), 1)
            shown = np.minimum(folded, 2 * (size - 1) - folded)
        case "wrap":
            shown = places % size
        case _:
            raise ValueError(f"no padding called {mode!r}")
    edges = [0, *(np.flatnonzero(np.diff(inside)) + 1), len(shown)]
    return [part for start, stop in pairwise(edges) for part in _even_parts(shown, int(start), int(stop))]


def _even_parts(shown: np.ndarray, start: int, stop: int) -> list[Part]:
    """Places [start, stop) as parts of one step each."""
    parts: list[Part] = []
    while start < stop:
        first = int(shown[start])
        step = int(shown[start + 1]) - first if start + 1 < stop else 0
        size = 1
        while start + size < stop and int(shown[start + size]) == first + size * step:
            size += 1
        parts.append(Part(start, size, None if first < 0 else first, step))
        start += size
    return parts


def _strides(type_: TensorType) -> Strides:
    """Strides of the axes in memory."""
    strides = row_major(type_.physical_shape)
    if type_.panel is None or not type_.panel.pitch:
        return strides
    return (type_.panel.pitch * type_.physical_shape[1], type_.panel.pitch, *strides[2:])


def _physical_axes(type_: TensorType, logical: Sequence[int], rest: int) -> tuple[int, ...]:
    """Numbers for axes as numbers for the axes in memory; `rest` for the axes of the pixels in panels."""
    return tuple(logical) if type_.panel is None else (logical[0], rest, logical[1], rest)


_BOXES: dict[type[Operation], Callable[..., list[Box]]] = {
    ConcatOp: _concat,
    DeinterleaveOp: deinterleaved,
    ExpandOp: _expand,
    InterleaveOp: interleaved,
    PadOp: _pad,
    RelayoutOp: _relayout,
    ReshapeOp: _reshape,
    SliceOp: _slice,
    TransposeOp: _transpose,
}
