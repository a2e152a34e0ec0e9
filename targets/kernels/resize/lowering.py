"""Resize: which elements make up which, and with what weights, is computed when compiling (`axis_taps`) and packed.

Two kernels: rows of planes, for images whose last two axes change (in panels too), and any other set of axes.
"""

from __future__ import annotations

from hashlib import sha256
from math import prod

import numpy as np
from xdsl.ir import Operation

from sparsec.interpreter.resize import AxisTaps, axis_taps
from sparsec.ir import ResizeOp, TensorType, type_of
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.resize.any import ResizeAny
from sparsec.targets.kernels.resize.rows import ResizeRows
from sparsec.targets.kernels.resize.sampling import Sampling
from sparsec.weights import WeightStore

TERMS = 4096  # of one sum over any axes, at most
WRITTEN_OUT = 256  # columns whose places become part of the code, at most


def accepts(op: Operation) -> bool:
    """Whether this is a resize of fixed sizes, of the last two axes or with few enough taps to be written out."""
    if not isinstance(op, ResizeOp) or not all(isinstance(dim, int) for dim in type_of(op.input).shape):
        return False
    taps, rank = axis_taps(op), type_of(op.input).rank
    return set(taps) <= {rank - 2, rank - 1} or prod(t.indices.shape[1] for t in taps.values()) <= TERMS


def takes_panels(op: Operation) -> bool:
    """Resized pixels stay in panels."""
    if not isinstance(op, ResizeOp) or not accepts(op) or type_of(op.input).rank != 4:
        return False
    return set(axis_taps(op)) <= {2, 3}


def takes_parts(op: Operation) -> bool:
    """Values that lie inside others are read and written where only rows and columns change."""
    return takes_panels(op)


def lower(op: ResizeOp, weights: WeightStore) -> list[Call]:
    """One call: input, index and weight tables of the axes, result. None for a result without elements."""
    x, y = type_of(op.input), type_of(op.result)
    if not prod(y.static_shape):
        return []
    taps = {axis: _without_zeros(found) for axis, found in axis_taps(op).items()}
    extrapolation = op.extrapolation.value.data if any(t.outside.any() for t in taps.values()) else None
    sampling = Sampling(op.mode.data, element(x.element), extrapolation)
    rank = x.rank
    if rank >= 2 and set(taps) <= {rank - 2, rank - 1}:
        both = [taps.get(axis) or _kept(x.static_shape[axis]) for axis in (rank - 2, rank - 1)]
        kernel = ResizeRows(
            sampling,
            _planes(x),
            _planes(y),
            both[0].indices.shape[1],
            both[1].indices.shape[1],
            _repeat(both[1]),
            tuple(map(tuple, both[1].indices.T.tolist())) if len(both[1].indices) <= WRITTEN_OUT else None,
        )
    else:
        both = list(taps.values())
        shapes = x.static_shape, y.static_shape
        kernel = ResizeAny(sampling, *shapes, tuple((axis, t.indices.shape[1]) for axis, t in taps.items()))
    tables = [table for found in both for table in _tables(found, sampling)]
    return [Call(kernel, (op.input, *tables, op.result), (len(tables) + 1,))]


def _planes(type_: TensorType) -> Planes:
    """The planes of a value of any rank: leading axes are channels of one image."""
    if type_.rank == 4:
        return Planes.of(type_)
    *channels, height, width = type_.static_shape
    return Planes(1, prod(channels), height, width, max(height, 1), height * width)


def _kept(size: int) -> AxisTaps:
    """An axis that stays as it is."""
    return AxisTaps(np.arange(size)[:, None], np.ones((size, 1)), np.zeros(size, bool))


def _repeat(taps: AxisTaps) -> int:
    """How often each element of the axis is repeated, in order; 0 where it is something else."""
    size, width = len(taps.indices), int(taps.indices.max()) + 1
    if taps.indices.shape[1] != 1 or size % width or taps.outside.any() or not (taps.coefficients == 1).all():
        return 0
    return size // width if (taps.indices[:, 0] == np.arange(size) // (size // width)).all() else 0


def _without_zeros(taps: AxisTaps) -> AxisTaps:
    """The same sums without terms whose weight is 0, as far as all outputs have such."""
    used = taps.coefficients != 0
    count = max(1, int(used.sum(axis=1).max()))
    order = np.argsort(~used, axis=1, kind="stable")[:, :count]
    coefficients = np.take_along_axis(taps.coefficients, order, 1)
    return AxisTaps(np.take_along_axis(taps.indices, order, 1), coefficients, taps.outside)


def _tables(taps: AxisTaps, sampling: Sampling) -> list[Packed]:
    """Indices [taps, size] and weights [taps, size]; a last row of weights is 0 outside, where the value is given."""
    weights = taps.coefficients.T
    if sampling.extrapolation is not None:
        weights = np.vstack([weights, ~taps.outside])
    dtype = np.float64 if sampling.computed == "f64" else np.float32
    arrays = np.ascontiguousarray(taps.indices.T, np.int32), np.ascontiguousarray(weights, dtype)
    return [_packed(array) for array in arrays]


def _packed(array: np.ndarray) -> Packed:
    return Packed(f"resize_{sha256(array.tobytes()).hexdigest()[:16]}", lambda: array)
