"""Rotary position embeddings (Su et al. 2021): pairs of channels rotated by angles that grow with the position."""

from __future__ import annotations

from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.constants import steps
from sparsec.frontend.onnx.ops.indexing import check_places, slice_axis
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import ConcatOp, GatherOp
from sparsec.ir.dims import Dim
from sparsec.ir.shapes import format_shape


@operator("RotaryEmbedding")
def rotary_embedding(node: Node):
    """Opset 23: caches [positions, R / 2] that position_ids pick from, or [B, S, R / 2] without these."""
    cos, sin = node.input(1), node.input(2)
    if node.has(3):
        cos, sin = (_pick(node, cache, node.input(3)) for cache in (cos, sin))
    return _rotate(node, cos, sin)


@operator("RotaryEmbedding", domain=MICROSOFT)
def microsoft_rotary_embedding(node: Node):
    """position_ids are [B, S], or [1]: the position of the first token."""
    if node.integer("is_packed_batching") or node.real("scale", 1.0) != 1:
        node.unsupported("rotates packed batches or scales positions")
    ids = node.input(1)
    node.need_whole(ids)
    if dims_of(ids) == (1,):
        x = node.input()
        length = dims_of(x)[1 if len(dims_of(x)) == 3 else 2]
        places = node.cast(steps(node, length), i64)
        ids = node.reshape(node.map([places, node.cast(ids, i64)], lambda place, first: place + first), [1, length])
    return _rotate(node, *(_pick(node, node.input(index), ids) for index in (2, 3)))


def _pick(node: Node, cache: SSAValue, ids: SSAValue) -> SSAValue:
    """[B, S, R / 2] from [positions, R / 2]."""
    if len(dims_of(cache)) != 2 or len(dims_of(ids)) != 2:
        node.invalid(f"has a cache {format_shape(dims_of(cache))} and positions {format_shape(dims_of(ids))}")
    node.need_whole(ids)
    check_places(node, ids, [dims_of(cache)[0]])
    return node.emit(GatherOp(cache, ids, "take", 0))


def _rotate(node: Node, cos: SSAValue, sin: SSAValue) -> SSAValue:
    """The first R channels of each head rotated, the others as they are."""
    x = node.input()
    shape = dims_of(x)
    size, rotary = _sizes(node, shape, cos)
    if len(shape) == 3:
        heads = node.fixed(shape[2], "splitting it into heads") // size
        x = node.reshape(x, [*shape[:2], heads, size])
    cos, sin = (_beside_heads(node, cache, rotary, len(shape) == 3) for cache in (cos, sin))
    kept = slice_axis(node, x, 3, rotary, size - rotary) if rotary < size else None
    first, second = _pairs(node, slice_axis(node, x, 3, 0, rotary), rotary)
    real = node.map([first, second, cos, sin], lambda a, b, c, s: a * c - b * s)
    imaginary = node.map([first, second, cos, sin], lambda a, b, c, s: a * s + b * c)
    turned = _unpair(node, real, imaginary, rotary)
    turned = turned if kept is None else node.emit(ConcatOp([turned, kept], 3))
    return node.reshape(turned, shape)


def _sizes(node: Node, shape: tuple[Dim, ...], cos: SSAValue) -> tuple[int, int]:
    """Channels of a head, and how many of them are rotated."""
    if len(shape) not in (3, 4) or len(dims_of(cos)) != 3:
        node.invalid(f"has an input {format_shape(shape)} and angles {format_shape(dims_of(cos))}")
    heads, rotary = node.integer("num_heads"), node.integer("rotary_embedding_dim")
    width = node.fixed(dims_of(cos)[2], "its angles") * 2
    channels = node.fixed(shape[-1], "splitting it into heads")
    if len(shape) == 3 and heads == 0 and rotary == 0:
        heads = channels // max(width, 1)
    size = channels if len(shape) == 4 else channels // node.positive("num_heads", [heads])[0]
    if (len(shape) == 3 and size * heads != channels) or not 0 < width <= size or rotary not in (0, width):
        node.invalid(
            f"has {channels} channels in {heads} heads, of which {rotary or size} rotate by {width // 2} angles"
        )
    if rotary == 0 and width != size:
        node.invalid(f"has heads of {size} channels, and {width // 2} angles")
    return size, width


def _beside_heads(node: Node, cache: SSAValue, rotary: int, heads_last: bool) -> SSAValue:
    """Angles [B, S, R / 2] with an axis for the heads, which in [B, S, heads, D] come after the tokens."""
    if len(dims_of(cache)) != 3 or dims_of(cache)[2] != rotary // 2:
        node.invalid(f"has caches that differ: {format_shape(dims_of(cache))} for {rotary // 2} angles")
    batch, length, angles = dims_of(cache)
    return node.reshape(cache, [batch, length, 1, angles] if heads_last else [batch, 1, length, angles])


def _pairs(node: Node, x: SSAValue, rotary: int) -> tuple[SSAValue, SSAValue]:
    """The first and second channel of each pair: halves, or neighbours where they are interleaved."""
    half = rotary // 2
    if not node.integer("interleaved"):
        return slice_axis(node, x, 3, 0, half), slice_axis(node, x, 3, half, half)
    paired = node.reshape(x, [*dims_of(x)[:3], half, 2])
    first, second = (node.reshape(slice_axis(node, paired, 4, i, 1), [*dims_of(x)[:3], half]) for i in range(2))
    return first, second


def _unpair(node: Node, first: SSAValue, second: SSAValue, rotary: int) -> SSAValue:
    if not node.integer("interleaved"):
        return node.emit(ConcatOp([first, second], 3))
    wide = [node.reshape(part, [*dims_of(part), 1]) for part in (first, second)]
    return node.reshape(node.emit(ConcatOp(wide, 4)), [*dims_of(first)[:3], rotary])
