"""Operators that give the same elements another shape or order."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.limits import INT64_MAX
from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir.dims import Dim, floordiv, product
from sparsec.ir.shapes import broadcast, format_shape


@operator("Reshape")
def reshape(node: Node):
    x = node.input()
    return node.reshape(x, target_shape(node, dims_of(x), node.sizes(1)))


def target_shape(node: Node, shape: Sequence[Dim], target: Sequence[Dim]) -> list[Dim]:
    """The shape that Reshape's `target` means: 0 copies a size, one -1 is computed."""
    result = list(target)
    if not node.integer("allowzero"):
        for axis, dim in enumerate(target):
            if dim == 0 and axis >= len(shape):
                node.invalid(f"copies axis {axis} of a tensor of shape {format_shape(shape)}")
            result[axis] = shape[axis] if dim == 0 else dim
    if -1 in result:
        place = result.index(-1)
        result[place] = _remaining(node, shape, result[:place] + result[place + 1 :])
    if any(isinstance(dim, int) and not 0 <= dim <= INT64_MAX for dim in result):
        node.invalid(f"has the target shape {format_shape(target)}")
    if product(result) != product(shape):
        reason = f"reshapes {format_shape(shape)} to {format_shape(target)}, which differ in elements"
        node.misfit(reason, product(shape), product(result))
    return result


def _remaining(node: Node, shape: Sequence[Dim], others: Sequence[Dim]) -> Dim:
    """product(shape) / product(others); equal sizes cancel first, so that symbolic sums divide."""
    total, divisors = list(shape), []
    for dim in others:
        if dim in total:
            total.remove(dim)
        else:
            divisors.append(dim)
    divisor = product(divisors)
    if divisor == 0 or divisor == -1 or any(isinstance(dim, int) and dim < 0 for dim in others):
        node.invalid(f"has the target shape {format_shape(others)} beside -1, which leaves that size open")
    quotient = floordiv(product(total), divisor)
    if quotient * divisor != product(total):
        reason = f"cannot divide {format_shape(shape)} into {format_shape(others)} and one more axis"
        node.misfit(reason, product(shape), product(others))
    return quotient


@operator("Flatten")
def flatten(node: Node):
    x = node.input()
    shape = dims_of(x)
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        node.invalid(f"has the axis {axis} of a tensor with {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    return node.reshape(x, [product(shape[:axis]), product(shape[axis:])])


@operator("Squeeze")
def squeeze(node: Node):
    x = node.input()
    shape = dims_of(x)
    axes = node.axes(1, len(shape))
    if axes is None:
        axes = [axis for axis, dim in enumerate(shape) if dim == 1]
    if any(shape[axis] != 1 for axis in axes):
        node.invalid(f"squeezes the axes {axes} of {format_shape(shape)}, which are not all 1")
    return node.reshape(x, [dim for axis, dim in enumerate(shape) if axis not in axes])


@operator("Unsqueeze")
def unsqueeze(node: Node):
    x = node.input()
    given = node.integers("axes")
    count = len(given if given is not None else node.fixed_sizes(1))
    axes = node.axes(1, len(dims_of(x)) + count) or []
    dims = iter(dims_of(x))
    return node.reshape(x, [1 if axis in axes else next(dims) for axis in range(len(dims_of(x)) + count)])


@operator("Transpose")
def transpose(node: Node):
    x = node.input()
    rank = len(dims_of(x))
    perm = node.integers("perm") or list(range(rank))[::-1]
    if sorted(perm) != list(range(rank)):
        node.invalid(f"has perm {perm}, no permutation of {rank} axes")
    return node.transpose(x, perm)


@operator("Expand")
def expand(node: Node):
    x = node.input()
    return node.expand(x, broadcast(dims_of(x), node.sizes(1)))


@operator("Tile")
def tile(node: Node):
    """Each repeated axis gets an axis of its own before it, along which the input is broadcast."""
    x = node.input()
    shape, repeats = dims_of(x), node.sizes(1)
    if len(repeats) != len(shape) or any(isinstance(count, int) and count < 0 for count in repeats):
        node.invalid(f"repeats {format_shape(shape)} by {format_shape(repeats)}")
    split: list[Dim] = [size for dim in shape for size in (1, dim)]
    wide = [size for pair in zip(repeats, shape, strict=True) for size in pair]
    tiled = node.expand(node.reshape(x, split), wide)
    return node.reshape(tiled, [count * dim for count, dim in zip(repeats, shape, strict=True)])


@operator("DepthToSpace")
def depth_to_space(node: Node):
    x = node.input()
    n, c, h, w = _image(node, x)
    block = node.positive("blocksize", [node.integer("blocksize")])[0]
    depth = floordiv(c, block * block)
    if depth * block * block != c:
        node.invalid(f"has {c} channels, which blocks of {block}x{block} do not divide")
    if node.choice("mode", "DCR", "CRD") == "DCR":
        split, perm = [n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2]
    else:
        split, perm = [n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3]
    return node.reshape(node.transpose(node.reshape(x, split), perm), [n, depth, h * block, w * block])


@operator("SpaceToDepth")
def space_to_depth(node: Node):
    x = node.input()
    n, c, h, w = _image(node, x)
    block = node.positive("blocksize", [node.integer("blocksize")])[0]
    rows, columns = floordiv(h, block), floordiv(w, block)
    if rows * block != h or columns * block != w:
        node.invalid(f"has an image of {h}x{w}, which blocks of {block}x{block} do not divide")
    split = node.reshape(x, [n, c, rows, block, columns, block])
    return node.reshape(node.transpose(split, [0, 3, 5, 1, 2, 4]), [n, c * block * block, rows, columns])


def _image(node: Node, x: SSAValue) -> tuple[Dim, ...]:
    if len(dims_of(x)) != 4:
        node.invalid(f"has an input of shape {format_shape(dims_of(x))}; it needs 4 axes")
    return dims_of(x)
