"""ONNX's Resize: interpolation is separable, so each axis in turn is a weighted sum of a few gathered elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.ir import ResizeOp, type_of


@dataclass(frozen=True)
class AxisTaps:
    """One resized axis: output i is the sum over t of coefficients[i, t] · x[indices[i, t]].

    Where `outside` holds, tf_crop_and_resize gives the extrapolation value instead. Nearest has one tap of 1.
    """

    indices: np.ndarray
    coefficients: np.ndarray
    outside: np.ndarray


def resize(op: ResizeOp, x: np.ndarray) -> np.ndarray:
    """Computes in f64 and rounds once; integers saturate."""
    result = x if op.mode.data == "nearest" else x.astype(np.float64)
    outside: list[np.ndarray] = []
    for axis, taps in axis_taps(op).items():
        taken = np.moveaxis(np.take(result, taps.indices, axis=axis), (axis, axis + 1), (-2, -1))
        summed = taken[..., 0] if op.mode.data == "nearest" else (taken * taps.coefficients).sum(axis=-1)
        result = np.moveaxis(summed, -1, axis)
        outside.append(taps.outside.reshape([-1 if i == axis else 1 for i in range(x.ndim)]))
    for mask in outside:
        if mask.any():
            result = np.where(mask, op.extrapolation.value.data, result)
    return _round(result, x.dtype)


def axis_taps(op: ResizeOp) -> dict[int, AxisTaps]:
    """What each axis that changes is computed from; needs static shapes."""
    shape, sizes = type_of(op.input).static_shape, type_of(op.result).static_shape
    result = {}
    for axis, (scale, width, size) in enumerate(zip(op.scales, shape, sizes, strict=True)):
        roi = _roi(op, axis)
        if scale.value.data == 1 and size == width and roi == (0, 1):
            continue
        position = _position(op, scale.value.data, width, size, roi)
        beyond = (position < 0) | (position > width - 1)
        outside = beyond & (op.coordinates.data == "tf_crop_and_resize")
        result[axis] = AxisTaps(*_taps(op, position, width, scale.value.data), outside)
    return result


def _roi(op: ResizeOp, axis: int) -> tuple[float, float]:
    if op.coordinates.data != "tf_crop_and_resize" or op.roi is None:
        return 0, 1
    reals = [value.value.data for value in op.roi]
    return reals[axis], reals[axis + len(reals) // 2]


def _position(op: ResizeOp, scale: float, width: int, size: int, roi: tuple[float, float]) -> np.ndarray:
    """Where each of `size` outputs lies on an input axis of `width` elements."""
    x, length = np.arange(size, dtype=np.float64), scale * width
    match op.coordinates.data:
        case "align_corners":
            return x * (width - 1) / (length - 1) if length != 1 else np.zeros(size)
        case "asymmetric":
            return x / scale
        case "tf_crop_and_resize":
            start, end = roi[0] * (width - 1), roi[1] * (width - 1)
            return start + x * (end - start) / (length - 1) if length != 1 else np.full(size, (start + end) / 2)
        case "pytorch_half_pixel":
            return (x + 0.5) / scale - 0.5 if length != 1 else np.full(size, -0.5)
        case "half_pixel":
            return (x + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return width / 2 * (1 - size / length) + (x + 0.5) / scale - 0.5
    raise ValueError(f"no coordinate transformation called {op.coordinates.data!r}")


def _taps(op: ResizeOp, position: np.ndarray, width: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices [outputs, taps] inside the axis, and their coefficients."""
    if op.mode.data == "nearest":
        indices = np.clip(_nearest(op.nearest_mode.data, position), 0, width - 1)[:, None]
        return indices, np.ones(indices.shape)
    shrink = min(scale, 1.0) if op.antialias else 1.0
    indices, coefficients = _neighbours(op, position, shrink)
    if op.exclude_outside:
        coefficients = np.where((indices < 0) | (indices >= width), 0, coefficients)
    total = coefficients.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, width - 1), coefficients / np.where(total == 0, 1, total)


def _neighbours(op: ResizeOp, position: np.ndarray, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Input indices [outputs, taps] in reach of the filter, which `shrink` widens, and their coefficients."""
    radius = (2 if op.mode.data == "cubic" else 1) / shrink
    taps = int(2 * np.ceil(radius)) + 1
    indices = np.floor(position).astype(np.int64)[:, None] + np.arange(taps) - taps // 2
    distance = np.abs(indices - position[:, None]) * shrink
    return indices, _filter(op, distance)


def _filter(op: ResizeOp, t: np.ndarray) -> np.ndarray:
    """The value of the interpolation kernel at distance `t`: a triangle, or Keys' cubic with coefficient a."""
    if op.mode.data == "linear":
        return np.maximum(1 - t, 0)
    if op.mode.data != "cubic":
        raise ValueError(f"no interpolation called {op.mode.data!r}")
    a = op.cubic_coeff.value.data
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _nearest(mode: str, position: np.ndarray) -> np.ndarray:
    match mode:
        case "round_prefer_floor":
            rounded = np.ceil(position - 0.5)
        case "round_prefer_ceil":
            rounded = np.floor(position + 0.5)
        case "floor":
            rounded = np.floor(position)
        case "ceil":
            rounded = np.ceil(position)
        case _:
            raise ValueError(f"no rounding called {mode!r}")
    return rounded.astype(np.int64)


def _round(result: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f" or result.dtype == dtype:
        return result.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(result), limits.min, limits.max).astype(dtype)
