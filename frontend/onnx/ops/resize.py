"""Resize in its opsets, and Upsample before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import ResizeOp
from sparsec.ir.dims import Dim, floordiv

_COORDINATES = (
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)


@operator("Upsample")
def upsample(node: Node):
    x = node.input()
    scales = [float(v) for v in node.constant_input(1).flat] if node.has(1) else node.reals("scales") or []
    return _simple(node, x, scales)


def _simple(node: Node, x: SSAValue, scales: Sequence[float]) -> SSAValue:
    """Upsample and the first Resize: asymmetric coordinates, nearest rounds down."""
    mode = node.choice("mode", "nearest", "linear")
    scales = _checked(node, x, scales)
    shape = [_scaled(node, dim, scale) for dim, scale in zip(dims_of(x), scales, strict=True)]
    return node.emit(ResizeOp(x, shape, scales, mode, "asymmetric", "floor"))


def _checked(node: Node, x: SSAValue, scales: Sequence[float]) -> list[float]:
    rank = len(dims_of(x))
    if len(scales) != rank or not all(0 < scale < 2**20 for scale in scales):
        node.invalid(f"has scales {list(scales)} for {rank} axes")
    return list(scales)


def _scaled(node: Node, dim: Dim, scale: float) -> Dim:
    if float(scale).is_integer():
        return dim * int(scale)
    if not isinstance(dim, int) and (1 / scale).is_integer():
        return floordiv(dim, int(1 / scale))
    return math.floor(node.fixed(dim, f"scaling it by {scale}") * scale)


@operator("Resize")
def resize(node: Node):
    x = node.input()
    if node.opset < 11:
        return _simple(node, x, [float(v) for v in node.constant_input(1).flat])
    rank = len(dims_of(x))
    coordinates = node.choice("coordinate_transformation_mode", "half_pixel", *_COORDINATES)
    if coordinates == "tf_half_pixel_for_nn":
        node.unsupported(f"has the coordinates {coordinates!r}, which ONNX dropped in opset 13")
    axes = [node.axis(axis, rank) for axis in node.integers("axes") or range(rank)]
    shape, scales = _target(node, x, axes)
    if not all(0 < scale < 2**20 for scale in scales):
        node.invalid(f"has scales {scales}")
    return node.emit(
        ResizeOp(
            x,
            shape,
            scales,
            node.choice("mode", "nearest", "linear", "cubic"),
            coordinates,
            node.choice("nearest_mode", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
            node.real("cubic_coeff_a", -0.75),
            bool(node.integer("exclude_outside")),
            node.real("extrapolation_value"),
            bool(node.integer("antialias")),
            _roi(node, axes, rank) if coordinates == "tf_crop_and_resize" else None,
        )
    )


def _given(node: Node, index: int) -> bool:
    """Whether an input is there and not the empty tensor that stands for its absence."""
    return node.has(index) and node.inputs[index] is not None and _length(node, index) != 0


def _length(node: Node, index: int) -> int:
    return len(node.sizes(index)) if index == 3 else node.constant_input(index).size


def _target(node: Node, x: SSAValue, axes: list[int]) -> tuple[list[Dim], list[float]]:
    """The result's shape, and the scale of each axis."""
    shape, scales = list(dims_of(x)), [1.0] * len(dims_of(x))
    if _given(node, 2):
        for axis, scale in zip(axes, _some(node, node.constant_input(2).reshape(-1).tolist(), axes), strict=True):
            scales[axis] = float(scale)
            if not 0 < scale < 2**20:
                node.invalid(f"has the scale {scale}")
            shape[axis] = _scaled(node, shape[axis], float(scale))
        return shape, scales
    if not _given(node, 3):
        node.invalid("has neither scales nor sizes")
    for axis, size in zip(axes, _some(node, node.sizes(3), axes), strict=True):
        scales[axis] = _ratio(node, size, shape[axis])
        shape[axis] = size
    return _keep_aspect(node, x, shape, scales, axes)


def _some(node: Node, values: Sequence, axes: list[int]) -> Sequence:
    if len(values) != len(axes):
        node.invalid(f"has {len(values)} scales or sizes for {len(axes)} axes")
    return values


def _ratio(node: Node, size: Dim, dim: Dim) -> float:
    if size == dim:
        return 1.0
    if isinstance(size, int) and isinstance(dim, int):
        return size / dim
    factor = floordiv(size, dim)
    if isinstance(factor, int) and factor * dim == size:
        return float(factor)
    return node.fixed(size, "resizing") / node.fixed(dim, "resizing")


def _keep_aspect(
    node: Node, x: SSAValue, shape: list[Dim], scales: list[float], axes: list[int]
) -> tuple[list[Dim], list[float]]:
    """One scale for all axes where keep_aspect_ratio_policy says so."""
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return shape, scales
    scale = (min if policy == "not_larger" else max)(scales[axis] for axis in axes)
    for axis in axes:
        scales[axis] = scale
        shape[axis] = math.floor(node.fixed(dims_of(x)[axis], "keeping the aspect ratio") * scale + 0.5)
    return shape, scales


def _roi(node: Node, axes: list[int], rank: int) -> list[float]:
    """The region of interest of every axis: all starts, then all ends."""
    given = [float(v) for v in node.constant_input(1).flat]
    if len(given) != 2 * len(axes):
        node.invalid(f"has a region of interest of {len(given)} numbers for {len(axes)} axes")
    roi = [0.0] * rank + [1.0] * rank
    for place, axis in enumerate(axes):
        roi[axis], roi[rank + axis] = given[place], given[len(axes) + place]
    return roi
