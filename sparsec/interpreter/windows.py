"""Sliding windows: convolutions, transposed convolutions, pooling."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from sparsec.interpreter.scalars import evaluate_region
from sparsec.ir import Contraction, ConvOp, ConvTransposeOp, MatmulOp, PoolOp, type_of
from sparsec.ir.ops import values


def conv(op: ConvOp, x: np.ndarray, w: np.ndarray, *extras: np.ndarray) -> np.ndarray:
    """im2col, then one matmul a group; a depthwise convolution sums its taps."""
    groups, strides, dilations = op.groups.value.data, values(op.strides), values(op.dilations)
    outputs, kernel = type_of(op.result).static_shape, w.shape[2:]
    x = pad(x, values(op.pads), 0)
    taps = _taps(x, kernel, outputs[2:], strides, dilations)
    if w.shape[1] == 1 and groups == w.shape[0]:
        weights = w.reshape(groups, -1).T.reshape(-1, groups, *[1] * len(kernel))
        return finish(op, _total(tap * weight for tap, weight in zip(taps, weights, strict=True)), extras)
    columns = np.stack(list(taps), axis=2) if prod(kernel) > 1 else next(taps)
    columns = columns.reshape(x.shape[0], groups, w[0].size, prod(outputs[2:]))
    result = np.matmul(w.reshape(groups, w.shape[0] // groups, w[0].size), columns)
    return finish(op, result.reshape(outputs), extras)


def conv_transpose(op: ConvTransposeOp, x: np.ndarray, w: np.ndarray, *extras: np.ndarray) -> np.ndarray:
    """Every input element adds its multiple of the kernel to the full result, which the pads then crop."""
    groups, strides, dilations = op.groups.value.data, values(op.strides), values(op.dilations)
    n, c, *spatial = x.shape
    kernel, rank = w.shape[2:], len(spatial)
    products = np.matmul(
        w.reshape(groups, c // groups, -1).swapaxes(1, 2), x.reshape(n, groups, c // groups, prod(spatial))
    )
    products = products.reshape(n, groups * w.shape[1], prod(kernel), *spatial)
    extra = values(op.output_padding)
    full = [(spatial[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i] for i in range(rank)]
    result = np.zeros((n, groups * w.shape[1], *full), x.dtype)
    for index, tap in enumerate(_taps(result, kernel, spatial, strides, dilations)):
        tap += products[:, :, index]
    return finish(op, pad(result, [-size for size in values(op.pads)], 0), extras)


def matmul(op: MatmulOp, a: np.ndarray, b: np.ndarray, *extras: np.ndarray) -> np.ndarray:
    a = a.swapaxes(-1, -2) if op.transpose_a else a
    b = b.swapaxes(-1, -2) if op.transpose_b else b
    return finish(op, np.matmul(a, b), extras)


def finish(op: Contraction, accumulated: np.ndarray, extras: Sequence[np.ndarray]) -> np.ndarray:
    """The epilogue."""
    return evaluate_region(op.epilogue, [accumulated, *extras])[0]


def pool(op: PoolOp, x: np.ndarray) -> np.ndarray:
    match op.kind.data:
        case "max":
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            return functools.reduce(np.maximum, _pool_taps(op, pad(x, values(op.pads), lowest), lowest))
        case "average":
            total = _total(_pool_taps(op, pad(x.astype(np.float64), values(op.pads), 0), 0))
            inside = pad(np.ones((1, 1, *x.shape[2:])), values(op.pads), int(bool(op.count_pads)))
            return (total / _total(_pool_taps(op, inside, 0))).astype(x.dtype)
    raise ValueError(f"no pooling called {op.kind.data!r}")


def _pool_taps(op: PoolOp, padded: np.ndarray, filler: float) -> Iterator[np.ndarray]:
    """The taps of `padded`, continued by `filler` where the last windows hang over."""
    overhang = values(op.overhang)
    padded = pad(padded, (*[0] * len(overhang), *overhang), filler)
    outputs = type_of(op.result).static_shape[2:]
    return _taps(padded, values(op.kernel_shape), outputs, values(op.strides), values(op.dilations))


def _taps(
    x: np.ndarray, kernel: Sequence[int], outputs: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each element of the kernel in row-major order, the view [N, C, *outputs] of what it meets in each window."""
    for offsets in product(*map(range, kernel)):
        starts = (offset * dilation for offset, dilation in zip(offsets, dilations, strict=True))
        region = zip(starts, outputs, strides, strict=True)
        yield x[:, :, *(slice(start, start + (size - 1) * stride + 1, stride) for start, size, stride in region)]


def _total(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.add, arrays)


def pad(x: np.ndarray, pads: Sequence[int], filler: float) -> np.ndarray:
    """Pads the last axes by `pads` (all lows, then all highs) with `filler`; negative pads crop."""
    rank = len(pads) // 2
    if not any(pads):
        return x
    low, high = [0] * (x.ndim - rank) + list(pads[:rank]), [0] * (x.ndim - rank) + list(pads[rank:])
    x = x[tuple(slice(max(-a, 0), size - max(-b, 0)) for a, b, size in zip(low, high, x.shape, strict=True))]
    width = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    return np.pad(x, width, constant_values=np.asarray(filler).astype(x.dtype))
