"""Operators that choose, join or move parts of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import ConcatOp, GatherOp, PadOp, ScatterOp, SliceOp, type_of
from sparsec.ir.dims import Dim, ceildiv, product


@operator("Concat")
def concat(node: Node):
    inputs = node.all_inputs()
    axis = node.axis(node.integer("axis", 1), len(dims_of(inputs[0])))
    return inputs[0] if len(inputs) == 1 else node.emit(ConcatOp(inputs, axis))


def slice_axis(node: Node, x: SSAValue, axis: int, start: int, size: Dim) -> SSAValue:
    """`size` elements from `start` on along one axis."""
    shape = dims_of(x)
    if start == 0 and size == shape[axis]:
        return x
    starts = [start if i == axis else 0 for i in range(len(shape))]
    return node.emit(SliceOp(x, starts, [1] * len(shape), [*shape[:axis], size, *shape[axis + 1 :]]))


@operator("Split")
def split(node: Node):
    x = node.input()
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    dim = dims_of(x)[axis]
    parts = node.integers("split") or (node.fixed_sizes(1) if node.has(1) else None)
    if parts is None:
        count = node.integer("num_outputs", node.wanted)
        each = ceildiv(node.fixed(dim, "splitting an axis"), node.positive("num_outputs", [count])[0])
        parts = [max(0, min(each, dim - each * index)) for index in range(count)]  # pyright: ignore
    if any(part < 0 for part in parts) or sum(parts) != dim:
        node.invalid(f"splits {dim} elements into {parts}")
    results, start = [], 0
    for part in map(int, parts):  # pyright: ignore
        results.append(slice_axis(node, x, axis, start if part else 0, part))
        start += part
    return results


@operator("Slice")
def slice_(node: Node):
    x = node.input()
    shape = dims_of(x)
    starts, ends, axes, steps = _bounds(node, len(shape))
    begin, step, sizes = [0] * len(shape), [1] * len(shape), list(shape)
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        axis = node.axis(axis, len(shape))
        if stride == 0:
            node.invalid("has a step of 0")
        begin[axis], sizes[axis] = slice_bounds(node, shape[axis], start, end, stride)
        step[axis] = stride
    if tuple(sizes) == shape and step == [1] * len(shape):
        return x
    return node.emit(SliceOp(x, begin, step, sizes))


def _bounds(node: Node, rank: int) -> tuple[Sequence[Dim], Sequence[Dim], Sequence[int], Sequence[int]]:
    """starts, ends, axes, steps: attributes before opset 10, inputs since."""
    if node.opset < 10:
        starts, ends = node.integers("starts") or [], node.integers("ends") or []
        return starts, ends, node.integers("axes") or range(len(starts)), [1] * len(starts)
    starts, ends = node.sizes(1), node.sizes(2)
    axes = node.fixed_sizes(3) if node.has(3) else range(len(starts))
    return starts, ends, axes, node.fixed_sizes(4) if node.has(4) else [1] * len(starts)


def slice_bounds(node: Node, dim: Dim, start: Dim, end: Dim, step: int) -> tuple[int, Dim]:
    """Where a Slice starts on an axis of `dim` elements, and how many it takes."""
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        chosen = range(*slice(start, _open_end(dim, end, step), step).indices(dim))
        return (chosen.start if len(chosen) else 0), len(chosen)
    if not isinstance(start, int) or start < 0 or step < 0:
        node.unsupported(f"slices an axis of {dim} from {start} by {step}: the start must be fixed and not negative")
    if isinstance(end, int):
        end = dim if end >= 2**31 - 1 else dim + end if end < 0 else end
    if isinstance(end, int) and not isinstance(dim, int):
        node.unsupported(f"takes elements {start} to {end} of an axis whose size {dim} may be smaller")
    return start, ceildiv(end - start, step)


def _open_end(dim: int, end: int, step: int) -> int | None:
    """ONNX's end for Python's slice: with a negative step, anything before the first element means "to the start"."""
    return None if step < 0 and end < -dim else end


@operator("Gather")
def gather(node: Node):
    x, indices = node.input(0), node.input(1)
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    picked = node.importer.constants.get(indices)
    if picked is not None and picked.size == 1 and isinstance(dims_of(x)[axis], int):
        return _gather_one(node, x, axis, int(picked.reshape(-1)[0]), picked.shape)
    check_places(node, indices, [dims_of(x)[axis]])
    return node.emit(GatherOp(x, indices, "take", axis))


def _gather_one(node: Node, x: SSAValue, axis: int, index: int, shape: tuple[int, ...]) -> SSAValue:
    """One place along an axis is a slice."""
    size = node.fixed(dims_of(x)[axis], "gathering")
    if not -size <= index < size:
        node.invalid(f"reads place {index} of an axis of {size}")
    part = slice_axis(node, x, axis, index % size, 1)
    return node.reshape(part, [*dims_of(x)[:axis], *shape, *dims_of(x)[axis + 1 :]])


@operator("Compress")
def compress(node: Node):
    """With a constant condition, a gather of the places where it holds."""
    x, chosen = node.input(0), np.flatnonzero(node.constant_input(1))
    if "axis" not in node.attributes:
        x = node.reshape(x, [product(dims_of(x))])
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    places = node.constant(chosen)
    check_places(node, places, [dims_of(x)[axis]])
    return node.emit(GatherOp(x, places, "take", axis))


@operator("GatherElements")
def gather_elements(node: Node):
    x = node.input(0)
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    check_places(node, node.input(1), [dims_of(x)[axis]])
    return node.emit(GatherOp(x, node.input(1), "elements", axis))


@operator("GatherND")
def gather_nd(node: Node):
    batch = node.integer("batch_dims")
    if batch < 0:
        node.invalid(f"has batch_dims {batch}")
    check_places(node, node.input(1), dims_of(node.input(0))[batch : batch + _depth(node)])
    return node.emit(GatherOp(node.input(0), node.input(1), "nd", batch_dims=batch))


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node):
    x = node.input(0)
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    check_places(node, node.input(1), [dims_of(x)[axis]])
    return node.emit(ScatterOp(x, node.input(1), node.input(2), "elements", axis, _reduction(node)))


@operator("ScatterND")
def scatter_nd(node: Node):
    check_places(node, node.input(1), dims_of(node.input(0))[: _depth(node)])
    return node.emit(ScatterOp(node.input(0), node.input(1), node.input(2), "nd", reduction=_reduction(node)))


def _reduction(node: Node) -> str:
    return node.choice("reduction", "none", "add", "mul", "max", "min")


def _depth(node: Node) -> int:
    """How many axes each index of GatherND or ScatterND addresses."""
    shape = dims_of(node.input(1))
    return node.fixed(shape[-1], "indexing") if shape else node.invalid("has indices of rank 0")


def check_places(node: Node, indices: SSAValue, sizes: Sequence[Dim]) -> None:
    """Raises InvalidModel where constant indices lie outside axes of `sizes` (the last axis of indices walks them)."""
    array = node.importer.constants.get(indices)
    if array is None or not array.size:
        return
    for place, size in enumerate(sizes):
        column = array if len(sizes) == 1 else array[..., place]
        if isinstance(size, int) and not (column.min() >= -size and column.max() < size):
            node.invalid(f"reads or writes place {column.max() if column.max() >= size else column.min()} of {size}")


@operator("Pad")
def pad(node: Node):
    x = node.input()
    rank = len(dims_of(x))
    pads = (node.integers("pads") if node.opset < 11 else node.fixed_sizes(1)) or []
    axes = [node.axis(axis, rank) for axis in node.fixed_sizes(3)] if node.has(3) else list(range(rank))
    if len(pads) != 2 * len(axes) or any(abs(amount) >= 2**31 for amount in pads):
        node.invalid(f"has pads {pads} for {len(axes)} axes")
    low, high = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        low[axis], high[axis] = pads[place], pads[len(axes) + place]
    value = node.real("value") if node.opset < 11 else _pad_value(node)
    mode = node.choice("mode", "constant", "edge", "reflect", "wrap")
    return x if not any(pads) else node.emit(PadOp(x, low, high, mode, value))


def _pad_value(node: Node) -> float:
    return float(node.one(2)) if node.has(2) else 0.0


@operator("OneHot")
def one_hot(node: Node):
    """values[1] where the index (negative ones from the end) is the place along the new axis, else values[0]."""
    indices, depth = node.input(0), int(node.one(1))
    off, on = (int(v) if type_of(node.input(2)).dtype.kind != "f" else float(v) for v in node.constant_input(2))
    depth = node.positive("depth", [depth])[0]
    shape = dims_of(indices)
    axis = node.axis(node.integer("axis", -1), len(shape) + 1)
    wide = node.reshape(indices, [*shape[:axis], 1, *shape[axis:]])
    dtype = type_of(indices).dtype
    steps = np.arange(depth).reshape([depth if i == axis else 1 for i in range(len(shape) + 1)])
    like = node.scalar(0, node.input(2))

    def function(index, place, zero):
        hit = index.compare("eq", place)
        return (hit | (index + depth).compare("eq", place)).select(zero.constant(on), zero.constant(off))

    return node.map([wide, node.constant(steps.astype(dtype)), like], function)


@operator("ReverseSequence")
def reverse_sequence(node: Node):
    x = node.input()
    lengths = node.constant_input(1)
    batch, time = node.integer("batch_axis", 1), node.integer("time_axis")
    if {batch, time} != {0, 1} or len(dims_of(x)) < 2:
        node.invalid(f"has batch_axis {batch} and time_axis {time}; they must be 0 and 1")
    size = node.fixed(dims_of(x)[time], "reversing sequences")
    if lengths.size and not (lengths.min() >= 0 and lengths.max() <= size):
        node.invalid(f"reverses more than the {size} elements of its time axis")
    steps = np.arange(size)
    table = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    table = table if batch == 0 else table.T
    table = table.reshape(*table.shape, *[1] * (len(dims_of(x)) - 2))
    return node.emit(GatherOp(x, node.expand(node.constant(table), dims_of(x)), "elements", time))
