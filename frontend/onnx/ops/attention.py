"""Attention, written as the products, maps and the softmax that it is made of; `passes/fuse_attention.py` joins them.

The form is the same for all operators: heads split by reshape and transpose, scores by one product, then maps (scale,
soft cap, masks as they are, so that they broadcast), the softmax over the keys, and the product with the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import i1, i32
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.constants import steps
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import ConcatOp, MatmulOp, PadOp, SoftmaxOp, type_of
from sparsec.ir.dims import Dim
from sparsec.ir.scalar import Scalar
from sparsec.ir.shapes import broadcast, format_shape
from sparsec.ir.types import is_float

BEFORE_CAP, BEFORE_MASK, BEFORE_SOFTMAX, PROBABILITIES = range(4)  # what qk_matmul_output may be
_FLOAT_TYPES = (1, 10, 11, 16)  # ONNX's numbers of float, float16, double, bfloat16


@dataclass(frozen=True)
class Scores:
    """How scores come from the products of queries and keys. Masks are boolean (False: −inf) or added.

    With `guard` a query that may attend to no key gives zeros instead of NaN.
    """

    scale: float
    softcap: float = 0.0
    masks: Sequence[SSAValue] = ()
    guard: bool = False


def heads_of(node: Node, name: str, hidden: Dim, count: int) -> int:
    """The size of a head, where `count` of them (the attribute `name`) share `hidden` channels."""
    count = node.positive(name, [count])[0]
    size = node.fixed(hidden, "splitting it into heads")
    if size % count or not size:
        node.invalid(f"has {size} channels, which do not divide into {count} heads ({name})")
    return size // count


def split_heads(node: Node, x: SSAValue, heads: int) -> SSAValue:
    """[B, S, heads · D] as [B, heads, S, D]."""
    batch, length, hidden = dims_of(x)
    return node.transpose(node.reshape(x, [batch, length, heads, heads_of(node, "heads", hidden, heads)]), [0, 2, 1, 3])


def join_heads(node: Node, x: SSAValue) -> SSAValue:
    """[B, heads, S, D] as [B, S, heads · D]."""
    batch, heads, length, size = dims_of(x)
    return node.reshape(node.transpose(x, [0, 2, 1, 3]), [batch, length, heads * size])


def attend(node: Node, q: SSAValue, k: SSAValue, v: SSAValue, how: Scores) -> tuple[SSAValue, list[SSAValue]]:
    """softmax(scores) · V of [B, heads, S, D]; and the scores in their four stages, see BEFORE_CAP."""
    node.need_float(q, k, v)
    _check(node, q, k, v, how.masks)
    k, v = (_repeat(node, x, dims_of(q)[1]) for x in (k, v))
    product = node.emit(MatmulOp(q, k, transpose_b=True))
    scaled = node.map([product], lambda s: s * how.scale) if how.scale != 1 else product
    cap = how.softcap
    capped = node.map([scaled], lambda s: (s * (1 / cap)).call("tanh") * cap) if cap else scaled
    masked = node.map([capped, *how.masks], _apply_masks) if how.masks else capped
    chances = node.emit(SoftmaxOp(masked, [3]))
    if how.guard:
        chances = node.map([chances], lambda p: p.compare("ne", p).select(p.constant(0.0), p))
    return node.emit(MatmulOp(chances, v)), [scaled, capped, masked, chances]


def _apply_masks(score: Scalar, *masks: Scalar) -> Scalar:
    for mask in masks:
        score = mask.select(score, score.constant(-math.inf)) if mask.element == i1 else score + mask
    return score


def _check(node: Node, q: SSAValue, k: SSAValue, v: SSAValue, masks: Sequence[SSAValue]) -> None:
    """Raises InvalidModel where the sizes do not fit together."""
    (batch, heads, queries, size), (k_batch, kv_heads, keys, k_size) = dims_of(q), dims_of(k)
    v_batch, v_heads, values, _ = dims_of(v)
    groups = node.fixed(kv_heads, "grouping heads")
    if groups < 1 or node.fixed(heads, "grouping heads") % groups or v_heads != groups:
        node.invalid(f"has {heads} heads of queries for {kv_heads} of keys and {v_heads} of values")
    for what, one, other in (
        ("batches", batch, k_batch),
        ("batches", batch, v_batch),
        ("channels a head", size, k_size),
        ("keys and values", keys, values),
    ):
        if isinstance(one, int) and isinstance(other, int) and one != other:
            node.invalid(f"has query, key and value that differ in {what}: {one} and {other}")
    for mask in masks:
        check_mask(node, mask, (batch, heads, queries, keys))


def check_mask(node: Node, mask: SSAValue, scores: tuple[Dim, ...]) -> None:
    """Raises InvalidModel where a mask does not broadcast to the scores."""
    shape = dims_of(mask)
    if len(shape) > 4 or any(
        isinstance(a, int) and isinstance(b, int) and a not in (1, b)
        for a, b in zip(shape[::-1], scores[::-1], strict=False)
    ):
        node.invalid(f"has a mask or bias {format_shape(shape)} for scores {format_shape(scores)}")
    broadcast(shape, scores)


def _repeat(node: Node, x: SSAValue, heads: Dim) -> SSAValue:
    """Each head of keys or values as often as heads of queries share it."""
    batch, count, length, size = dims_of(x)
    if count == heads:
        return x
    times = node.fixed(heads, "grouping heads") // node.fixed(count, "grouping heads")
    wide = node.expand(node.reshape(x, [batch, count, 1, length, size]), [batch, count, times, length, size])
    return node.reshape(wide, [batch, heads, length, size])


# ---- masks


def causal_mask(node: Node, queries: Dim, keys: Dim, past: Dim = 0) -> SSAValue:
    """Whether a query may attend to a key: [queries, keys]; `past` keys come before that of the first query.

    Behind a past both are counted from the end, so that its size may be a symbol.
    """
    rows = node.reshape(steps(node, queries, past != 0), [queries, 1])
    columns = steps(node, keys, past != 0)
    if past == 0:
        return node.map([rows, columns], lambda row, column: column.compare("le", row))
    later = node.fixed(keys - past - queries, "the causal mask")
    return node.map([rows, columns], lambda row, column: column.compare("ge", row + later if later else row))


def lengths_mask(node: Node, lengths: SSAValue, keys: Dim, queries: Dim | None = None) -> SSAValue:
    """Which keys are no padding: [B, 1, 1, keys] for `lengths` [B]. With `queries`, the causal mask where the last
    query of a sequence meets its last key: [B, 1, queries, keys].
    """
    if len(dims_of(lengths)) != 1:
        node.invalid(f"has lengths of shape {format_shape(dims_of(lengths))} instead of one a sequence")
    wide = node.cast(node.reshape(lengths, [*dims_of(lengths), 1, 1, 1]), i32)
    columns = steps(node, keys)
    if queries is None:
        return node.map([wide, columns], lambda n, column: column.compare("lt", n))
    left = node.reshape(steps(node, queries, from_end=True), [queries, 1])
    return node.map([wide, columns, left], lambda n, column, left: (column + left).compare("lt", n))


def pad_mask(node: Node, mask: SSAValue, keys: Dim) -> SSAValue:
    """A mask with fewer columns than keys, which hides the rest of them."""
    shape = dims_of(mask)
    if not shape or not isinstance(shape[-1], int) or not isinstance(keys, int) or shape[-1] in (1, keys):
        return mask
    if shape[-1] > keys:
        node.invalid(f"has a mask for {shape[-1]} keys, there are {keys}")
    rest = [0] * (len(shape) - 1) + [keys - shape[-1]]
    value = -math.inf if is_float(type_of(mask).element) else 0.0
    return node.emit(PadOp(mask, [0] * len(shape), rest, "constant", value))


# ---- opset 23 and 24


@operator("Attention")
def attention(node: Node):
    """[B, heads, S, D] or [B, S, heads · D], keys and values of fewer heads, of a past, or padded (opset 24)."""
    q, k, v = (_with_heads(node, index) for index in range(3))
    if node.has(4) != node.has(5):
        node.invalid("has only one of past_key and past_value")
    if node.has(6) and node.has(4):
        node.invalid("has both nonpad_kv_seqlen and a past")
    if node.has(4):
        k, v = (with_past(node, node.input(index), x) for index, x in ((4, k), (5, v)))
    size = node.fixed(dims_of(q)[3], "the scale of scores")
    cap, mode = node.real("softcap"), node.integer("qk_matmul_output_mode")
    if not 0 <= mode <= 3 or not (cap >= 0 and math.isfinite(cap)):
        node.invalid(f"has softcap {cap} and qk_matmul_output_mode {mode}; the latter must be 0 to 3")
    if node.integer("softmax_precision", 1) not in _FLOAT_TYPES:
        node.invalid(f"has softmax_precision {node.integer('softmax_precision')}, which is no type of floats")
    scale = node.real("scale", 1 / math.sqrt(max(size, 1)))
    masks = _masks(node, dims_of(q)[2], dims_of(k)[2])
    result, stages = attend(node, q, k, v, Scores(scale, cap, masks, guard=node.has(3) or node.has(6)))
    return [result if len(dims_of(node.input())) == 4 else join_heads(node, result), k, v, stages[mode]]


def _with_heads(node: Node, index: int) -> SSAValue:
    x, name = node.input(index), "kv_num_heads" if index else "q_num_heads"
    rank = len(dims_of(x))
    if rank not in (3, 4) or rank != len(dims_of(node.input(0))):
        node.invalid(f"has an input {index} with {rank} axes; query, key and value must all have 3 or all have 4")
    if rank == 3:
        heads_of(node, name, dims_of(x)[2], node.integer(name))
        return split_heads(node, x, node.integer(name))
    if name in node.attributes and node.integer(name) != dims_of(x)[1]:
        node.invalid(f"has {name} {node.integer(name)}, its input {index} has {dims_of(x)[1]} heads")
    return x


def with_past(node: Node, past: SSAValue, x: SSAValue) -> SSAValue:
    """Keys or values [B, heads, S, D] behind those of the past."""
    shape, expected = dims_of(past), dims_of(x)
    if len(shape) != 4 or shape[:2] != expected[:2] or shape[3] != expected[3]:
        node.invalid(f"has a past {format_shape(shape)} for keys or values {format_shape(expected)}")
    return node.emit(ConcatOp([past, x], 2))


def _masks(node: Node, queries: Dim, keys: Dim) -> list[SSAValue]:
    masks = [pad_mask(node, node.input(3), keys)] if node.has(3) else []
    causal = bool(node.integer("is_causal"))
    if node.has(6):
        masks.append(lengths_mask(node, node.input(6), keys))
        return [*masks, lengths_mask(node, node.input(6), keys, queries)] if causal else masks
    past = dims_of(node.input(4))[2] if node.has(4) else 0
    return [*masks, causal_mask(node, queries, keys, past)] if causal else masks
