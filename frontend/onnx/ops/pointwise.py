"""Activations and other functions of one tensor: each is one `sp.map`."""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import type_of
from sparsec.ir.scalar import Scalar
from sparsec.ir.types import ui8


def sigmoid(x: Scalar) -> Scalar:
    return 1.0 / (1.0 + (-x).call("exp"))


def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) without overflow."""
    return x.max(0.0) + (-x.abs()).call("exp").call("log1p")


def gelu(x: Scalar) -> Scalar:
    return x * 0.5 * (1.0 + (x * math.sqrt(0.5)).call("erf"))


def gelu_tanh(x: Scalar) -> Scalar:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return x * 0.5 * (1.0 + inner.call("tanh"))


def sign(x: Scalar) -> Scalar:
    positive = x.compare("gt", 0).select(x.constant(1), x)
    return x.compare("lt", 0).select(x.constant(-1), positive)


_NAMED = (  # the scalar function has the operator's name
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log", "Sin",
    "Sinh", "Sqrt", "Tan", "Tanh",
)  # fmt: skip
FLOAT_FUNCTIONS: dict[str, Callable[[Scalar], Scalar]] = {
    "HardSwish": lambda x: x * (x * (1 / 6) + 0.5).max(0.0).min(1.0),
    "IsNaN": lambda x: x.compare("ne", x),
    "Mish": lambda x: x * softplus(x).call("tanh"),
    "Reciprocal": lambda x: 1.0 / x,
    "Round": lambda x: x.call("roundeven"),
    "Sigmoid": sigmoid,
    "Softplus": softplus,
    "Softsign": lambda x: x / (1.0 + x.abs()),
}  # fmt: skip

NUMBER_FUNCTIONS: dict[str, Callable[[Scalar], Scalar]] = {
    "Abs": Scalar.abs,
    "BitwiseNot": lambda x: ~x,
    "Neg": lambda x: -x,
    "Not": lambda x: ~x,
    "Relu": lambda x: x.max(0),
    "Sign": sign,
}


# Those that onnxruntime fuses into contractions, with the defaults of their parameters.
ACTIVATIONS: dict[str, tuple[tuple[float, ...], Callable[..., Scalar]]] = {
    "Clip": ((-math.inf, math.inf), lambda x, low, high: x.max(low).min(high)),
    "Elu": ((1.0,), lambda x, alpha: x.compare("lt", 0).select(alpha * x.call("expm1"), x)),
    "HardSigmoid": ((0.2, 0.5), lambda x, alpha, beta: (x * alpha + beta).max(0.0).min(1.0)),
    "LeakyRelu": ((0.01,), lambda x, alpha: x.compare("lt", 0).select(x * alpha, x)),
    "Relu": ((), lambda x: x.max(0)),
    "Sigmoid": ((), sigmoid),
    "Softplus": ((), softplus),
    "Softsign": ((), lambda x: x / (1.0 + x.abs())),
    "Tanh": ((), lambda x: x.call("tanh")),
    "ThresholdedRelu": ((1.0,), lambda x, alpha: x.compare("gt", alpha).select(x, 0.0)),
}


@operator(*_NAMED)
def named_function(node: Node):
    x = node.input()
    node.need_float(x)
    return node.map([x], lambda x: x.call(node.op.lower()))


@operator(*FLOAT_FUNCTIONS)
def float_function(node: Node):
    x = node.input()
    node.need_float(x)
    return node.map([x], FLOAT_FUNCTIONS[node.op])


@operator(*NUMBER_FUNCTIONS)
def number_function(node: Node):
    x = node.input()
    if type_of(x).element == ui8 and node.op in ("Abs", "Relu"):
        return x
    return node.map([x], NUMBER_FUNCTIONS[node.op])


@operator("Gelu")
def gelu_(node: Node):
    x = node.input()
    node.need_float(x)
    return node.map([x], gelu_tanh if node.choice("approximate", "none", "tanh") == "tanh" else gelu)


@operator("Gelu", domain="com.microsoft")
def microsoft_gelu(node: Node):
    node.need_float(node.input())
    return node.map([node.input()], gelu)


@operator("QuickGelu", domain="com.microsoft")
def quick_gelu(node: Node):
    node.need_float(node.input())
    alpha = node.real("alpha", 1.702)
    return node.map([node.input()], lambda x: x * sigmoid(x * alpha))


@operator("Swish")
def swish(node: Node):
    alpha = node.real("alpha", 1.0)
    return node.map([node.input()], lambda x: x * sigmoid(x if alpha == 1 else x * alpha))


@operator("Elu", "LeakyRelu", "ThresholdedRelu")
def with_alpha(node: Node):
    """Activations of one parameter."""
    (default,), function = ACTIVATIONS[node.op]
    alpha = node.real("alpha", default)
    return node.map([node.input()], lambda x: function(x, alpha))


@operator("PRelu")
def prelu(node: Node):
    x, slope = node.input(0), node.input(1)
    if node.opset < 7 and len(dims_of(slope)) == 1:  # one slope a channel, before broadcasting came
        slope = node.reshape(slope, [*dims_of(slope), *[1] * (len(dims_of(x)) - 2)])
    return node.map([x, slope], lambda x, s: x.compare("lt", 0).select(x * s, x))


@operator("Celu")
def celu(node: Node):
    alpha = node.real("alpha", 1.0)
    if alpha == 0:
        node.invalid("has alpha = 0, by which it divides")
    return node.map([node.input()], lambda x: x.max(0.0) + (alpha * (x * (1 / alpha)).call("expm1")).min(0.0))


@operator("Selu")
def selu(node: Node):
    alpha = node.real("alpha", 1.67326319217681884765625)
    gamma = node.real("gamma", 1.05070102214813232421875)
    return node.map([node.input()], lambda x: x.compare("le", 0).select(gamma * alpha * x.call("expm1"), x * gamma))


@operator("HardSigmoid")
def hard_sigmoid(node: Node):
    defaults, function = ACTIVATIONS["HardSigmoid"]
    alpha, beta = (node.real(name, default) for name, default in zip(("alpha", "beta"), defaults, strict=True))
    return node.map([node.input()], lambda x: function(x, alpha, beta))


@operator("Shrink")
def shrink(node: Node):
    bias, threshold = node.real("bias", 0.0), node.real("lambd", 0.5)

    def function(x: Scalar) -> Scalar:
        high = x.compare("gt", threshold).select(x - bias, 0)
        return x.compare("lt", -threshold).select(x + bias, high)

    x = node.input()
    node.need_float(x)
    return node.map([x], function)


@operator("IsInf")
def is_inf(node: Node):
    negative, positive = node.integer("detect_negative", 1), node.integer("detect_positive", 1)
    x = node.input()
    node.need_float(x)
    if negative and positive:
        return node.map([x], lambda x: x.abs().compare("eq", math.inf))
    if not negative and not positive:
        return node.map([x], lambda x: x.compare("ne", x) & x.compare("eq", x))
    return node.map([x], lambda x: x.compare("eq", math.inf if positive else -math.inf))


@operator("Clip")
def clip(node: Node):
    x = node.input()
    if node.opset < 11:
        bounds = [node.real(name, default) for name, default in (("min", -math.inf), ("max", math.inf))]
        low, high = (None if math.isinf(bound) else node.scalar(bound, x) for bound in bounds)
    else:
        low, high = (node.input(index) if node.has(index) else None for index in (1, 2))
    return clamp(node, x, low, high)


def clamp(node: Node, x: SSAValue, low: SSAValue | None, high: SSAValue | None) -> SSAValue:
    """min(max(x, low), high); constant bounds become constants of the region."""
    bounds = [node.number(bound) for bound in (low, high)]
    given = [b for b, number in zip((low, high), bounds, strict=True) if b is not None and number is None]

    def function(x: Scalar, *others: Scalar) -> Scalar:
        rest = iter(others)
        for bound, number, pick in zip((low, high), bounds, (Scalar.max, Scalar.min), strict=True):
            if bound is not None:
                x = pick(x, next(rest) if number is None else number)
        return x

    return node.map([x, *given], function)
