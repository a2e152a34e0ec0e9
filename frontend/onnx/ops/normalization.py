"""Normalisation: statistics by `sp.norm`, scale and shift as maps; constant ones fold."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import LrnOp, NormOp, ReduceOp
from sparsec.ir.dims import Dim


def _per_channel(node: Node, value: SSAValue, rank: int) -> SSAValue:
    """A vector of one number a channel, as it broadcasts against [N, C, *spatial]."""
    return node.reshape(value, [*dims_of(value), *[1] * (rank - 2)])


@operator("BatchNormalization")
def batch_normalization(node: Node):
    """x·a + b with a = scale / √(var + ε), b = bias − mean·a, which fold where the statistics are constant."""
    if node.integer("training_mode") or any(node.wants(index) for index in range(1, 5)):
        node.unsupported("is in training mode", "export the model for inference")
    x, scale, bias, mean, var = (node.input(index) for index in range(5))
    epsilon = node.real("epsilon", 1e-5)
    a = node.map([scale, var], lambda s, v: s / (v + epsilon).call("sqrt"))
    b = node.map([bias, mean, a], lambda b, m, a: b - m * a)
    rank = len(dims_of(x))
    if any(len(dims_of(v)) != 1 for v in (scale, bias, mean, var)) or rank < 2:
        node.invalid("has statistics that are not vectors of one number a channel")
    return node.map([x, _per_channel(node, a, rank), _per_channel(node, b, rank)], lambda x, a, b: x * a + b)


@operator("InstanceNormalization")
def instance_normalization(node: Node):
    x, scale, bias = node.input(0), node.input(1), node.input(2)
    rank = len(dims_of(x))
    normal = node.emit(NormOp(x, range(2, rank), node.real("epsilon", 1e-5)))
    return scale_shift(node, normal, _per_channel(node, scale, rank), _per_channel(node, bias, rank))


def scale_shift(node: Node, x: SSAValue, scale: SSAValue | None, bias: SSAValue | None) -> SSAValue:
    """x · scale + bias, as far as these are given."""
    if scale is None:
        return x
    if bias is None:
        return node.map([x, scale], lambda x, s: x * s)
    return node.map([x, scale, bias], lambda x, s, b: x * s + b)


@operator("GroupNormalization")
def group_normalization(node: Node):
    """Statistics over channels / groups and space; scale and bias per channel since opset 21, per group before."""
    x, scale, bias = node.input(0), node.input(1), node.input(2)
    shape = dims_of(x)
    groups = node.positive("num_groups", [node.integer("num_groups")])[0]
    channels = node.fixed(shape[1], "grouping channels")
    if channels % groups:
        node.invalid(f"has {channels} channels, which {groups} groups do not divide")
    split: list[Dim] = [shape[0], groups, channels // groups, *shape[2:]]
    normal = node.emit(NormOp(node.reshape(x, split), range(2, len(split)), node.real("epsilon", 1e-5)))
    if node.opset < 21:
        scale, bias = (_per_channel(node, value, len(split)) for value in (scale, bias))
        return node.reshape(scale_shift(node, normal, scale, bias), shape)
    scale, bias = (_per_channel(node, value, len(shape)) for value in (scale, bias))
    return scale_shift(node, node.reshape(normal, shape), scale, bias)


@operator("LayerNormalization")
@operator("LayerNormalization", domain=MICROSOFT)
def layer_normalization(node: Node):
    x = node.input()
    node.need_float(x)
    rank = len(dims_of(x))
    axes = range(node.axis(node.integer("axis", -1), rank), rank)
    epsilon = node.real("epsilon", 1e-5)
    scale, bias = node.input(1), node.input(2) if node.has(2) else None
    result = scale_shift(node, node.emit(NormOp(x, axes, epsilon)), scale, bias)
    return [result, *statistics(node, x, axes, epsilon)]


def statistics(node: Node, x: SSAValue, axes: Sequence[int], epsilon: float) -> list[SSAValue | None]:
    """The optional outputs of LayerNormalization: the mean, and 1 / standard deviation."""
    if not (node.wants(1) or node.wants(2)):
        return []
    mean = node.emit(ReduceOp(x, "mean", axes, True))
    if not node.wants(2):
        return [mean]
    square = node.map([x, mean], lambda x, m: (x - m) * (x - m))
    variance = node.emit(ReduceOp(square, "mean", axes, True))
    return [mean, node.map([variance], lambda v: 1.0 / (v + epsilon).call("sqrt"))]


@operator("RMSNormalization", "SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=MICROSOFT)
def rms_normalization(node: Node):
    """x / √(mean(x²) + ε) · scale; onnxruntime's operator may also return 1 / √(mean(x²) + ε)."""
    x, epsilon = node.input(), node.real("epsilon", 1e-5)
    node.need_float(x)
    rank = len(dims_of(x))
    axes = range(node.axis(node.integer("axis", -1), rank), rank)
    result = scale_shift(node, node.emit(NormOp(x, axes, epsilon, center=False)), node.input(1), None)
    return [result, inverse_rms(node, x, axes, epsilon)] if node.wants(1) else result


def inverse_rms(node: Node, x: SSAValue, axes: Sequence[int], epsilon: float) -> SSAValue:
    """1 / √(mean(x²) + ε)."""
    square = node.emit(ReduceOp(node.map([x], lambda x: x * x), "mean", axes, True))
    return node.map([square], lambda v: 1.0 / (v + epsilon).call("sqrt"))


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node):
    x = node.input()
    axes = [node.axis(axis, len(dims_of(x))) for axis in node.integers("axes") or (0, 2, 3)]
    return node.emit(NormOp(x, axes, 1e-18))


@operator("LpNormalization")
def lp_normalization(node: Node):
    x, p = node.input(), node.integer("p", 2)
    axis = node.axis(node.integer("axis", -1), len(dims_of(x)))
    magnitude = x if p == 2 else node.map([x], lambda x: x.abs())
    total = node.emit(ReduceOp(magnitude, "sum_square" if p == 2 else "sum", [axis], True))
    norm = node.map([total], lambda s: s.call("sqrt")) if p == 2 else total
    return node.map([x, norm], lambda x, n: n.compare("eq", 0.0).select(x.constant(0.0), x / n))


@operator("LRN")
def lrn(node: Node):
    size = node.positive("size", [node.integer("size")])[0]
    x = node.input()
    node.need_float(x)
    if len(dims_of(x)) < 2:
        node.invalid("has an input without channels")
    return node.emit(LrnOp(x, size, node.real("alpha", 1e-4), node.real("beta", 0.75), node.real("bias", 1.0)))
