"""Ops that combine elements along axes. Sums of floats are kept in f64 and rounded once."""

from __future__ import annotations

import numpy as np

from sparsec.interpreter.windows import pad
from sparsec.ir import CumsumOp, LrnOp, NormOp, ReduceOp, SoftmaxOp, TopkOp
from sparsec.ir.ops import values


def reduce(op: ReduceOp, x: np.ndarray) -> np.ndarray:
    axes, keepdims, kind = values(op.axes), bool(op.keepdims), op.kind.data
    if kind in ("argmax", "argmin"):
        return _argument(op, x, axes[0])
    if kind in ("max", "min"):
        return (np.max if kind == "max" else np.min)(x, axis=axes, keepdims=keepdims)
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return _SUMS[kind](wide, axis=axes, keepdims=keepdims).astype(x.dtype)


def _integer_mean(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The mean; of integers, truncated towards zero as in C."""
    return np.trunc(np.mean(x, axis=axis, keepdims=keepdims))


_SUMS = {
    "sum": np.sum,
    "prod": np.prod,
    "mean": lambda x, axis, keepdims: (np.mean if x.dtype.kind == "f" else _integer_mean)(x, axis, keepdims=keepdims),
    "sum_square": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
}


def _argument(op: ReduceOp, x: np.ndarray, axis: int) -> np.ndarray:
    find = np.argmax if op.kind.data == "argmax" else np.argmin
    if not op.select_last:
        return find(x, axis=axis, keepdims=bool(op.keepdims)).astype(np.int64)
    last = x.shape[axis] - 1
    return (last - find(np.flip(x, axis), axis=axis, keepdims=bool(op.keepdims))).astype(np.int64)


def softmax(op: SoftmaxOp, x: np.ndarray) -> np.ndarray:
    axes = values(op.axes)
    shifted = x - np.max(x, axis=axes, keepdims=True)
    exponents = np.exp(shifted)
    total = np.sum(exponents, axis=axes, keepdims=True, dtype=np.float64)
    return (shifted - np.log(total) if op.log else exponents / total).astype(x.dtype)


def norm(op: NormOp, x: np.ndarray) -> np.ndarray:
    axes, wide = values(op.axes), x.astype(np.float64)
    if op.center:
        wide = wide - np.mean(wide, axis=axes, keepdims=True)
    variance = np.mean(wide * wide, axis=axes, keepdims=True)
    return (wide / np.sqrt(variance + op.epsilon.value.data)).astype(x.dtype)


def lrn(op: LrnOp, x: np.ndarray) -> np.ndarray:
    size, channels = op.size.value.data, x.shape[1]
    low = (size - 1) // 2
    squares = np.moveaxis(x.astype(np.float64) ** 2, 1, -1)
    squares = pad(squares, (low, size - 1 - low), 0)
    total = np.moveaxis(sum(squares[..., tap : tap + channels] for tap in range(size)), -1, 1)  # pyright: ignore
    scale = op.bias.value.data + op.alpha.value.data / size * total
    return (x / scale**op.beta.value.data).astype(x.dtype)


def cumsum(op: CumsumOp, x: np.ndarray) -> np.ndarray:
    axis = op.axis.value.data
    x = np.flip(x, axis) if op.reverse else x
    total = np.cumsum(x, axis=axis, dtype=np.float64 if x.dtype.kind == "f" else x.dtype)
    if op.exclusive:
        total = np.moveaxis(total, axis, -1)
        total = np.moveaxis(pad(total[..., :-1], (1, 0), 0), -1, axis)
    return (np.flip(total, axis) if op.reverse else total).astype(x.dtype)


def topk(op: TopkOp, x: np.ndarray) -> list[np.ndarray]:
    """A stable sort; for the largest, of the reversed axis read backwards, so that the lower index still wins ties."""
    axis = op.axis.value.data
    if op.largest:
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    indices = np.take(order, np.arange(op.k.value.data), axis=axis)
    return [np.take_along_axis(x, indices, axis), indices.astype(np.int64)]
