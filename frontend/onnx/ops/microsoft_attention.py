"""onnxruntime's Attention and MultiHeadAttention (domain com.microsoft), in the form that attention.py tells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.limits import MAX_FOLDED_BYTES, check_bytes
from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.attention import (
    Scores,
    attend,
    causal_mask,
    heads_of,
    join_heads,
    split_heads,
    with_past,
)
from sparsec.frontend.onnx.ops.constants import steps
from sparsec.frontend.onnx.ops.contraction import product
from sparsec.frontend.onnx.ops.indexing import slice_axis
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import ConcatOp, GatherOp, type_of
from sparsec.ir.dims import Dim
from sparsec.ir.shapes import format_shape


@operator("Attention", domain=MICROSOFT)
def attention(node: Node):
    """Queries, keys and values by one product with merged weights."""
    _no_cache(node, 6, "past_sequence_length")
    if node.integer("do_rotary"):
        node.unsupported("rotates queries and keys", "export them with RotaryEmbedding nodes")
    x, weights = node.input(0), node.input(1)
    if len(dims_of(x)) != 3 or len(dims_of(weights)) != 2:
        node.invalid(f"has an input {format_shape(dims_of(x))} and weights {format_shape(dims_of(weights))}")
    heads, sizes = node.integer("num_heads"), _merged_sizes(node, dims_of(weights)[1])
    merged = product(node, x, weights)
    if node.has(2):
        merged = node.map([merged, _vector(node, node.input(2), sum(sizes))], lambda x, b: x + b)
    starts = (0, sizes[0], sizes[0] + sizes[1])
    parts = [slice_axis(node, merged, 2, start, size) for start, size in zip(starts, sizes, strict=True)]
    q, k, v = (split_heads(node, part, heads) for part in parts)
    if node.has(4):
        k, v = (with_past(node, past, x) for past, x in zip(_split_pair(node, node.input(4)), (k, v), strict=True))
    past = dims_of(node.input(4))[3] if node.has(4) else 0
    result, _ = attend(node, q, k, v, _scores(node, q, k, past, 3, 5))
    return [join_heads(node, result), _join_pair(node, k, v) if node.wants(1) else None]


def _merged_sizes(node: Node, columns: Dim) -> list[int]:
    """How many channels of the merged weights are queries, keys and values; heads divide each."""
    width = node.fixed(columns, "splitting merged weights")
    sizes = node.integers("qkv_hidden_sizes") or [width // 3] * 3
    if len(sizes) != 3 or sum(sizes) != width or sizes[0] != sizes[1] or min(sizes) < 1:
        node.invalid(f"has qkv_hidden_sizes {sizes} for weights of {width} columns")
    for size in sizes:
        heads_of(node, "num_heads", size, node.integer("num_heads"))
    return sizes


def _vector(node: Node, value: SSAValue, size: int) -> SSAValue:
    if dims_of(value) != (size,):
        node.invalid(f"has a bias {format_shape(dims_of(value))} for {size} channels")
    return value


def _split_pair(node: Node, past: SSAValue) -> list[SSAValue]:
    """Keys and values [B, heads, S, D] of [2, B, heads, S, D]."""
    if len(dims_of(past)) != 5 or dims_of(past)[0] != 2:
        node.invalid(f"has a past {format_shape(dims_of(past))} instead of 2 × batch × heads × length × size")
    return [node.reshape(slice_axis(node, past, 0, index, 1), dims_of(past)[1:]) for index in range(2)]


def _join_pair(node: Node, k: SSAValue, v: SSAValue) -> SSAValue:
    if dims_of(k) != dims_of(v):
        node.invalid("returns keys and values of different sizes as one tensor")
    return node.emit(ConcatOp([node.reshape(x, [1, *dims_of(x)]) for x in (k, v)], 0))


def _no_cache(node: Node, index: int, name: str) -> None:
    if node.has(index) or node.integer("past_present_share_buffer"):
        node.unsupported(f"writes keys and values into a buffer that past and present share ({name})")


@operator("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(node: Node):
    """Queries, keys and values [B, S, heads · D], packed as [B, S, heads, 3 or 2, D], or keys and values with heads."""
    _no_cache(node, 8, "past_sequence_length")
    if node.has(9) or node.wants(3):
        node.unsupported("also takes cache_indirection or returns the scores")
    heads = node.positive("num_heads", [node.integer("num_heads")])[0]
    q, k, v = _add_bias(node, _inputs(node, heads), heads)
    if node.has(6) != node.has(7):
        node.invalid("has only one of past_key and past_value")
    if node.has(6):
        k, v = (with_past(node, node.input(index), x) for index, x in ((6, k), (7, v)))
    past = dims_of(node.input(6))[2] if node.has(6) else 0
    result, _ = attend(node, q, k, v, _scores(node, q, k, past, 4, 5))
    return [join_heads(node, result), k, v]


def _inputs(node: Node, heads: int) -> list[SSAValue]:
    """Queries, keys and values: each [B, S, heads · D], or [B, heads, S, D] where they come so."""
    if len(dims_of(node.input(0))) == 5:
        return _unpack(node, node.input(0), heads, 3)
    if not node.has(1):
        node.invalid("has neither keys nor queries that hold them")
    if len(dims_of(node.input(1))) == 5:
        return [node.input(0), *_unpack(node, node.input(1), heads, 2)]
    return [node.input(index) for index in range(3)]


def _unpack(node: Node, x: SSAValue, heads: int, count: int) -> list[SSAValue]:
    """The parts of [B, S, heads, count, D], each as [B, heads, S, D]."""
    batch, length, found, parts, size = dims_of(x)
    if (found, parts) != (heads, count):
        node.invalid(f"has a packed input {format_shape(dims_of(x))} for {heads} heads and {count} parts")
    cut = [slice_axis(node, x, 3, index, 1) for index in range(count)]
    return [node.transpose(node.reshape(part, [batch, length, heads, size]), [0, 2, 1, 3]) for part in cut]


def _add_bias(node: Node, parts: Sequence[SSAValue], heads: int) -> list[SSAValue]:
    """The parts with their biases (keys and values that come with heads have theirs already), split into heads."""
    bias, start, results = node.input(3) if node.has(3) else None, 0, []
    with_heads = [len(dims_of(part)) == 4 for part in parts]
    if any(len(dims_of(part)) not in (3, 4) for part in parts) or with_heads[1] != with_heads[2]:
        node.invalid(f"has inputs {', '.join(format_shape(dims_of(part)) for part in parts)}")
    for part, has_heads in zip(parts, with_heads, strict=True):
        shape = dims_of(part)
        if has_heads and shape[1] != heads:
            node.invalid(f"has an input {format_shape(shape)} for {heads} heads")
        hidden = node.fixed(shape[1] * shape[3] if has_heads else shape[2], "splitting it into heads")
        size = heads_of(node, "num_heads", hidden, heads)
        if bias is not None and (not has_heads or with_heads[0]):
            if start + hidden > node.fixed(_only(node, bias), "its bias"):
                node.invalid(f"has a bias {format_shape(dims_of(bias))} for more than {start + hidden - 1} channels")
            cut = slice_axis(node, bias, 0, start, hidden)
            cut = node.reshape(cut, [heads, 1, size]) if has_heads else cut
            part = node.map([part, cut], lambda x, b: x + b)
        start += hidden
        results.append(part if has_heads else split_heads(node, part, heads))
    return results


def _only(node: Node, bias: SSAValue) -> Dim:
    if len(dims_of(bias)) != 1:
        node.invalid(f"has a bias {format_shape(dims_of(bias))} instead of a vector")
    return dims_of(bias)[0]


# ---- masks


def _scores(node: Node, q: SSAValue, k: SSAValue, past: Dim, mask: int, bias: int) -> Scores:
    """Scale and masks; `mask` and `bias` are the places of these inputs."""
    (batch, _, queries, size), keys = dims_of(q), dims_of(k)[2]
    scale = node.real("scale") or 1 / math.sqrt(max(node.fixed(size, "the scale of scores"), 1))
    masks = [_padding(node, node.input(mask), batch, queries, keys)] if node.has(mask) else []
    masks += [node.input(bias)] if node.has(bias) else []
    masks += [causal_mask(node, queries, keys, past)] if node.integer("unidirectional") else []
    return Scores(scale, masks=masks)


def _padding(node: Node, mask: SSAValue, batch: Dim, queries: Dim, keys: Dim) -> SSAValue:
    """What to add to scores, `mask_filter_value` where the mask has 0: broadcasts to [B, heads, S, keys]."""
    shape = dims_of(mask)
    node.need_whole(mask)
    if len(shape) == 1:
        kept = _within(node, mask, batch, keys)
    elif shape in ((batch, keys), (batch, queries, keys)):
        kept = node.reshape(mask, [batch, 1, 1 if len(shape) == 2 else queries, keys])
    elif len(shape) == 4:
        node.unsupported("has a mask of four axes", "give it as attention_bias")
    else:
        node.invalid(f"has a mask {format_shape(shape)} for {batch} sequences, {queries} queries and {keys} keys")
    hidden = node.real("mask_filter_value", -10000.0)

    def function(kept, zero):
        return kept.compare("gt", 0).select(zero, zero.constant(hidden))

    return node.map([kept, node.constant(np.zeros((), np.float32))], function)


def _within(node: Node, ends: SSAValue, batch: Dim, keys: Dim) -> SSAValue:
    """1 for keys before the ends [B], and not before the starts, where these follow: [2 B]."""
    count = dims_of(ends)[0]
    column = node.cast(steps(node, keys), type_of(ends).element)
    one = node.scalar(1, ends)
    if count not in (batch, batch * 2):
        if count == batch * 3 + 2:
            node.unsupported("has a mask of offsets into packed sequences")
        node.invalid(f"has {count} lengths for {batch} sequences")
    end = node.reshape(slice_axis(node, ends, 0, 0, batch), [batch, 1, 1, 1])
    if count == batch:
        return node.map([end, column, one], lambda end, c, one: c.compare("lt", end).select(one, one.constant(0)))
    start = node.reshape(slice_axis(node, ends, 0, node.fixed(batch, "its mask"), batch), [batch, 1, 1, 1])

    def function(end, start, c, one):
        return (c.compare("lt", end) & c.compare("ge", start)).select(one, one.constant(0))

    return node.map([end, start, column, one], function)


# ---- relative positions


@operator("RelativePositionBias", domain=MICROSOFT)
def relative_position_bias(node: Node):
    """T5's bias (Raffel et al. 2020): for each head, what the table has for the bucket of key − query:
    [1, heads, queries, keys]. The table says buckets × heads, its elements lie in the order heads × buckets.
    """
    table = node.input(0)
    if len(dims_of(table)) != 2:
        node.invalid(f"has a table {format_shape(dims_of(table))} instead of buckets × heads")
    buckets, heads = (node.fixed(dim, "its table") for dim in dims_of(table))
    lengths = [node.positive("lengths", [int(node.one(index))])[0] for index in (1, 2)]
    furthest = node.positive("max_distance", [node.integer("max_distance")])[0]
    if buckets < (4 if node.integer("is_bidirectional") else 2) or furthest <= buckets // 2:
        node.invalid(f"has {buckets} buckets for distances up to {furthest}")
    check_bytes(lengths, 8, f"the places of {node.name}", MAX_FOLDED_BYTES)
    found = _buckets(lengths[0], lengths[1], buckets, furthest, bool(node.integer("is_bidirectional")))
    by_head = node.reshape(table, [heads, buckets])
    return node.reshape(node.emit(GatherOp(by_head, node.constant(found), "take", 1)), [1, heads, *lengths])


def _buckets(queries: int, keys: int, buckets: int, furthest: int, both_ways: bool) -> np.ndarray:
    distance = np.arange(keys) - np.arange(queries)[:, None]
    first = np.zeros_like(distance)
    if both_ways:
        buckets //= 2
        first = np.where(distance > 0, buckets, 0)
    far = np.abs(distance) if both_ways else np.maximum(-distance, 0)
    exact = buckets // 2
    with np.errstate(divide="ignore"):
        log = np.log(far.astype(np.float32) / np.float32(exact)) / np.float32(math.log(furthest / exact))
    large = exact + (np.maximum(log, 0) * (buckets - exact)).astype(np.int64)
    return first + np.where(far < exact, far, np.minimum(large, buckets - 1))
