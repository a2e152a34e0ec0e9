"""Fused operators that onnxruntime's optimizer writes (domain com.microsoft), where standard ops say the same."""

from __future__ import annotations

from functools import reduce

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.pointwise import gelu, gelu_tanh
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import NormOp
from sparsec.ir.scalar import Scalar


@operator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(node: Node):
    """norm(input + skip (+ bias)) · gamma (+ beta); output 3 is the sum."""
    if node.wants(1) or node.wants(2):
        node.unsupported("also returns the statistics")
    simplified = node.op == "SkipSimplifiedLayerNormalization"
    beta, bias = (None, 3) if simplified else (3, 4)
    added = [node.input(0), node.input(1), *([node.input(bias)] if node.has(bias) else [])]
    total = node.map(added, lambda *terms: reduce(Scalar.__add__, terms))
    normal = node.emit(NormOp(total, [len(dims_of(total)) - 1], node.real("epsilon", 1e-12), center=not simplified))
    if beta is not None and node.has(beta):
        result = node.map([normal, node.input(2), node.input(beta)], lambda x, g, b: x * g + b)
    else:
        result = node.map([normal, node.input(2)], lambda x, g: x * g)
    return [result, None, None, total]


@operator("BiasGelu", "FastGelu", domain=MICROSOFT)
def bias_gelu(node: Node):
    function = gelu if node.op == "BiasGelu" else gelu_tanh
    if not node.has(1):
        return node.map([node.input(0)], function)
    return node.map([node.input(0), node.input(1)], lambda x, b: function(x + b))
