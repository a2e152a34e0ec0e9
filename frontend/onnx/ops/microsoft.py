"""Fused operators that onnxruntime's optimizer writes (domain com.microsoft), where standard ops say the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.indexing import check_places, slice_axis
from sparsec.frontend.onnx.ops.normalization import inverse_rms, scale_shift, statistics
from sparsec.frontend.onnx.ops.pointwise import gelu, gelu_tanh
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import GatherOp, NormOp, ReduceOp
from sparsec.ir.scalar import Scalar
from sparsec.ir.shapes import format_shape


@operator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(node: Node):
    """norm(input + skip (+ bias)) · gamma (+ beta); outputs 1 and 2 are the statistics, 3 is the sum."""
    simplified = node.op == "SkipSimplifiedLayerNormalization"
    beta, bias = (5, 3) if simplified else (3, 4)
    added = [node.input(0), node.input(1), *([node.input(bias)] if node.has(bias) else [])]
    total = node.map(added, lambda *terms: reduce(Scalar.__add__, terms))
    axes, epsilon = [len(dims_of(total)) - 1], node.real("epsilon", 1e-12)
    if simplified and node.wants(1):
        node.unsupported("also returns the mean")
    return [_norm(node, total, 2, beta, epsilon, not simplified), *_moments(node, total, axes, epsilon), total]


def _norm(node: Node, x: SSAValue, gamma: int, beta: int, epsilon: float, center: bool = True) -> SSAValue:
    """The last axis normalised, scaled and shifted by the inputs `gamma` and `beta`, where the latter is given."""
    normal = node.emit(NormOp(x, [len(dims_of(x)) - 1], epsilon, center))
    for index in (gamma, beta):
        if node.has(index) and dims_of(node.input(index)) != dims_of(x)[-1:]:
            node.invalid(
                f"has a scale or shift {format_shape(dims_of(node.input(index)))} for {dims_of(x)[-1]} channels"
            )
    return scale_shift(node, normal, node.input(gamma), node.input(beta) if node.has(beta) else None)


def _moments(node: Node, x: SSAValue, axes: Sequence[int], epsilon: float) -> list[SSAValue | None]:
    """The outputs 1 and 2 as far as they are wanted."""
    if node.op == "SkipSimplifiedLayerNormalization":
        return [None, inverse_rms(node, x, axes, epsilon) if node.wants(2) else None]
    return [*statistics(node, x, axes, epsilon), None, None][:2]


@operator("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(node: Node):
    """norm(word + position (+ segment)); output 1 counts the ones of each row of the mask, 2 is the sum."""
    ids = node.input(0)
    if len(dims_of(ids)) != 2:
        node.invalid(f"has ids {format_shape(dims_of(ids))} instead of batch × length")
    if node.has(1) != node.has(4):
        node.invalid("has only one of segment_ids and segment_embedding")
    terms = [_embed(node, 2, ids), _positions(node)]
    if node.has(4):
        terms.append(_embed(node, 4, node.input(1)))
    total = node.map(terms, lambda *terms: reduce(Scalar.__add__, terms))
    result = _norm(node, total, 5, 6, node.real("epsilon", 1e-12))
    return [result, _count_ones(node) if node.wants(1) else None, total]


def _embed(node: Node, table: int, ids: SSAValue) -> SSAValue:
    """Rows of the table in input `table`."""
    node.need_whole(ids)
    shape = dims_of(node.input(table))
    if len(shape) != 2 or len(dims_of(ids)) != 2:
        node.invalid(f"has a table {format_shape(shape)} and ids {format_shape(dims_of(ids))}; both need two axes")
    check_places(node, ids, shape[:1])
    return node.emit(GatherOp(node.input(table), ids, "take", 0))


def _positions(node: Node) -> SSAValue:
    """The embeddings of position_ids, or of 0, 1, 2…"""
    if node.has(8):
        return _embed(node, 3, node.input(8))
    table, length = node.input(3), dims_of(node.input(0))[1]
    rows = dims_of(table)[0]
    if isinstance(rows, int) and isinstance(length, int) and length > rows:
        node.invalid(f"has {length} tokens, and embeddings of {rows} positions")
    return slice_axis(node, table, 0, 0, length)


def _count_ones(node: Node) -> SSAValue:
    if not node.has(7):
        return node.expand(node.constant(np.zeros(1, np.int32)), dims_of(node.input(0))[:1])
    node.need_whole(node.input(7))
    ones = node.map([node.input(7)], lambda m: m.compare("eq", 1).select(m.constant(1), 0).to(i32))
    return node.emit(ReduceOp(ones, "sum", [1], False))


@operator("BiasGelu", "FastGelu", domain=MICROSOFT)
def bias_gelu(node: Node):
    node.need_float(node.input(0))
    function = gelu if node.op == "BiasGelu" else gelu_tanh
    if not node.has(1):
        return node.map([node.input(0)], function)
    return node.map([node.input(0), node.input(1)], lambda x, b: function(x + b))
