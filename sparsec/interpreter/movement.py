"""Ops that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsec.interpreter.windows import pad as pad_constant
from sparsec.ir import (
    ConcatOp,
    DeinterleaveOp,
    ExpandOp,
    GatherOp,
    InterleaveOp,
    PadOp,
    RelayoutOp,
    ReshapeOp,
    ScatterOp,
    SliceOp,
    TransposeOp,
    type_of,
)
from sparsec.ir.ops import values


def reshape(op: ReshapeOp, x: np.ndarray) -> np.ndarray:
    return x.reshape(type_of(op.result).static_shape)


def relayout(op: RelayoutOp, x: np.ndarray) -> np.ndarray:
    return x


def transpose(op: TransposeOp, x: np.ndarray) -> np.ndarray:
    return x.transpose(values(op.perm))


def slice_(op: SliceOp, x: np.ndarray) -> np.ndarray:
    for axis, size in enumerate(type_of(op.result).static_shape):
        indices = values(op.starts)[axis] + values(op.steps)[axis] * np.arange(size)
        if size != x.shape[axis] or not np.array_equal(indices, np.arange(size)):
            x = np.take(x, indices, axis=axis)
    return x


def concat(op: ConcatOp, *inputs: np.ndarray) -> np.ndarray:
    return np.concatenate(inputs, axis=op.axis.value.data)


def expand(op: ExpandOp, x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, type_of(op.result).static_shape)


def interleave(op: InterleaveOp, x: np.ndarray) -> np.ndarray:
    images, step = op.images.value.data, op.step.value.data
    x = x[:, :, ::step, ::step]
    grouped = x.reshape(-1, images, *x.shape[1:])
    return grouped.transpose(0, 2, 3, 4, 1).reshape(type_of(op.result).static_shape)


def deinterleave(op: DeinterleaveOp, x: np.ndarray) -> np.ndarray:
    grouped = x.reshape(*x.shape[:3], -1, op.images.value.data)
    return grouped.transpose(0, 4, 1, 2, 3).reshape(type_of(op.result).static_shape)


def pad(op: PadOp, x: np.ndarray) -> np.ndarray:
    low, high = values(op.low), values(op.high)
    if op.mode.data == "constant":
        return pad_constant(x, (*low, *high), op.value.value.data)
    x = pad_constant(x, [min(size, 0) for size in (*low, *high)], 0)
    width = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    return np.pad(x, width, mode=op.mode.data)  # pyright: ignore[reportArgumentType, reportCallIssue]


def gather(op: GatherOp, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    match op.kind.data:
        case "take":
            return np.take(x, indices, axis=op.axis.value.data)
        case "elements":
            return x[_along_axis(indices, op.axis.value.data)]
        case "nd":
            batch = np.ogrid[tuple(map(slice, indices.shape[:-1]))][: op.batch_dims.value.data]
            return x[(*batch, *np.moveaxis(indices, -1, 0))]
    raise ValueError(f"no gather called {op.kind.data!r}")


_REDUCTIONS: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scatter(op: ScatterOp, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """Updates are applied in row-major order, so the last of several to one element stays (reduction none)."""
    elements = op.kind.data == "elements"
    where = _along_axis(indices, op.axis.value.data) if elements else tuple(np.moveaxis(indices, -1, 0))
    result, reduction = x.copy(), op.reduction.data
    if reduction == "none":
        result[where] = updates
        return result
    apply: Callable[..., None] = _REDUCTIONS[reduction].at
    apply(result, where, updates)
    return result


def _along_axis(indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The index that reads or writes element `indices[i, j, ...]` of `axis` at [i, j, ...] of the others."""
    grid = list(np.ogrid[tuple(map(slice, indices.shape))])
    grid[axis] = indices
    return tuple(grid)
