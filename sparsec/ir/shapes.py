"""Shape rules of the `sp` dialect, for its verifier and for builders of ops. All raise ValueError with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.ir.dims import Dim, ceildiv, floordiv

Shape = tuple[Dim, ...]

LONGEST_DIM = 24  # characters of a size in messages


def broadcast(*shapes: Sequence[Dim]) -> Shape:
    """NumPy broadcasting; a symbolic size meets only itself or 1."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for axis, dim in enumerate(shape, start=rank - len(shape)):
            if dim == 1:
                continue
            if result[axis] not in (1, dim):
                raise ValueError(f"shapes {' and '.join(map(format_shape, shapes))} do not broadcast")
            result[axis] = dim
    return tuple(result)


def window(size: Dim, kernel: int, stride: int, dilation: int, low: int, high: int) -> Dim:
    """How many windows of a convolution or pooling fit along one axis of `size` elements."""
    count = floordiv(size + (low + high - dilation * (kernel - 1) - 1), stride) + 1
    if isinstance(count, int) and count < 1:
        raise ValueError(
            f"a window of {kernel} (dilation {dilation}) does not fit {size} elements padded by {low}+{high}"
        )
    return count


def conv(
    x: Shape, w: Shape, strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int], groups: int
) -> Shape:
    """[N, C, *spatial] ⊛ [M, C / groups, *kernel] → [N, M, *spatial]; pads as in ONNX (all lows, then all highs)."""
    rank = len(x) - 2
    if rank < 1 or len(w) != len(x) or any(len(v) != rank for v in (strides, dilations)) or len(pads) != 2 * rank:
        raise ValueError(f"ranks do not fit: input {format_shape(x)}, weight {format_shape(w)}, {rank} spatial axes")
    if x[1] != w[1] * groups:
        raise ValueError(
            f"input has {x[1]} channels, weight {format_shape(w)} with {groups} groups reads {w[1] * groups}"
        )
    if floordiv(w[0], groups) * groups != w[0]:
        raise ValueError(f"{w[0]} output channels do not divide into {groups} groups")
    return x[0], w[0], *pool(x[2:], w[2:], strides, dilations, pads)


def pool(
    spatial: Shape, kernel: Sequence[Dim], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> Shape:
    """The spatial sizes after sliding `kernel` over `spatial`."""
    rank = len(spatial)
    return tuple(
        window(spatial[i], int(kernel[i]), strides[i], dilations[i], pads[i], pads[rank + i])  # pyright: ignore
        for i in range(rank)
    )


def conv_transpose(
    x: Shape,
    w: Shape,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Shape:
    """[N, C, *spatial] with weight [C, M / groups, *kernel] → [N, M, *spatial]."""
    rank = len(x) - 2
    if x[1] != w[0]:
        raise ValueError(f"input has {x[1]} channels, weight {format_shape(w)} reads {w[0]}")
    spatial = (
        (x[2 + i] - 1) * strides[i] + (w[2 + i] - 1) * dilations[i] + 1 + output_padding[i] - pads[i] - pads[rank + i]
        for i in range(rank)
    )
    return x[0], w[1] * groups, *spatial


def matmul(a: Shape, b: Shape, transpose_a: bool, transpose_b: bool) -> Shape:
    """numpy.matmul of operands of rank ≥ 2 whose last two axes are swapped where asked."""
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"matmul takes operands of rank 2 or more, not {format_shape(a)} and {format_shape(b)}")
    rows, inner = (a[-1], a[-2]) if transpose_a else (a[-2], a[-1])
    inner_b, columns = (b[-1], b[-2]) if transpose_b else (b[-2], b[-1])
    if inner != inner_b:
        raise ValueError(f"inner sizes {inner} and {inner_b} of {format_shape(a)} and {format_shape(b)} differ")
    return *broadcast(a[:-2], b[:-2]), rows, columns


def reduce(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """`shape` with the (non-negative) `axes` reduced to 1 or removed."""
    check_axes(shape, axes)
    return tuple(1 if i in axes else dim for i, dim in enumerate(shape) if keepdims or i not in axes)


def check_axes(shape: Sequence[Dim], axes: Sequence[int]) -> None:
    """Raises ValueError unless `axes` are different axes of `shape`, counted from 0."""
    if any(not 0 <= axis < len(shape) for axis in axes):
        raise ValueError(f"axes {list(axes)} are outside {format_shape(shape)}")
    if len(set(axes)) != len(axes):
        raise ValueError(f"axes {list(axes)} are not all different")


def concat(shapes: Sequence[Shape], axis: int) -> Shape:
    """Shapes equal but for `axis`, whose sizes add up."""
    first = shapes[0]
    check_axes(first, [axis])
    for shape in shapes[1:]:
        if len(shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, shape, strict=True)) if i != axis
        ):
            raise ValueError(f"cannot concatenate {format_shape(first)} and {format_shape(shape)} along axis {axis}")
    total: Dim = 0
    for shape in shapes:
        total = total + shape[axis]
    return *first[:axis], total, *first[axis + 1 :]


def interleave(x: Shape, images: int, step: int) -> Shape:
    """[N, C, H, W] → [N / images, C, H, W · images], of every `step`-th row and column."""
    if len(x) != 4 or min(images, step) < 1:
        raise ValueError(f"{images} images of {format_shape(x)} cannot be interleaved in steps of {step}")
    return _quotient(x[0], images), x[1], ceildiv(x[2], step), ceildiv(x[3], step) * images


def deinterleave(x: Shape, images: int) -> Shape:
    """[n, C, H, W · images] → [n · images, C, H, W]."""
    if len(x) != 4 or images < 1:
        raise ValueError(f"{format_shape(x)} does not hold {images} images that are interleaved")
    return x[0] * images, *x[1:3], _quotient(x[3], images)


def _quotient(size: Dim, parts: int) -> Dim:
    if floordiv(size, parts) * parts != size:
        raise ValueError(f"{size} does not divide into {parts}")
    return floordiv(size, parts)


def scatter(x: Shape, indices: Shape, updates: Shape, kind: str, axis: int) -> None:
    """Raises ValueError where `updates` do not fit `indices` (kind elements, along `axis`, or nd)."""
    wanted: Shape | None = None
    if kind == "elements":
        check_axes(x, [axis])
        wanted = indices if len(indices) == len(x) else None
    elif indices and isinstance(depth := indices[-1], int) and depth <= len(x):
        wanted = (*indices[:-1], *x[depth:])
    if updates != wanted:
        raise ValueError(
            f"indices {format_shape(indices)} into {format_shape(x)} do not go with updates {format_shape(updates)}"
        )


def format_shape(shape: Sequence[Dim]) -> str:
    """`1x3x224x224`, for people: sums in parentheses, long expressions as `…`."""
    return "x".join(map(_format_dim, shape)) or "scalar"


def _format_dim(dim: Dim) -> str:
    text = str(dim)
    if isinstance(dim, int) or text.isidentifier():
        return text
    return f"({text})" if len(text) <= LONGEST_DIM else "…"
