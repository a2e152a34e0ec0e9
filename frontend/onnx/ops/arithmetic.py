"""Pointwise operators of several operands, and casts: each is one `sp.map`."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import f32

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.frontend.onnx.tensors import dtype_of
from sparsec.ir import type_of
from sparsec.ir.scalar import Scalar
from sparsec.ir.types import element_of, is_float, ui8

ARITHMETIC: dict[str, Callable[[Scalar, Scalar], Scalar]] = {
    "Add": lambda a, b: a + b,
    "BitwiseAnd": lambda a, b: a & b,
    "BitwiseOr": lambda a, b: a | b,
    "BitwiseXor": lambda a, b: a ^ b,
    "And": lambda a, b: a & b,
    "Div": lambda a, b: a / b,
    "Mul": lambda a, b: a * b,
    "Or": lambda a, b: a | b,
    "Sub": lambda a, b: a - b,
    "Xor": lambda a, b: a ^ b,
}
COMPARISONS = {"Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le"}


@operator(*ARITHMETIC)
def arithmetic(node: Node):
    return node.map([node.input(0), node.input(1)], ARITHMETIC[node.op])


@operator(*COMPARISONS)
def comparison(node: Node):
    predicate = COMPARISONS[node.op]
    return node.map([node.input(0), node.input(1)], lambda a, b: a.compare(predicate, b))


@operator("Max", "Min", "Sum", "Mean")
def variadic(node: Node):
    inputs = node.all_inputs()
    combine = {"Max": Scalar.max, "Min": Scalar.min}.get(node.op, Scalar.__add__)
    if node.op == "Mean":
        return node.map(inputs, lambda *xs: reduce(combine, xs) * (1 / len(inputs)))
    return inputs[0] if len(inputs) == 1 else node.map(inputs, lambda *xs: reduce(combine, xs))


@operator("Pow")
def power(node: Node):
    x, exponent = node.input(0), node.input(1)
    element = type_of(x).element
    number = node.number(exponent)
    shape = dims_of(exponent)
    if is_float(element) and number in (0.5, 1, 2, 3, -1) and len(shape) <= len(dims_of(x)):
        return node.map([x], _SMALL_POWERS[number])
    if not is_float(element):
        return node.map([x, exponent], lambda x, e: x.to(f32).pow(e.to(f32)).to(element))
    return node.map([x, exponent], lambda x, e: x.pow(e.to(element)))


_SMALL_POWERS: dict[float, Callable[[Scalar], Scalar]] = {
    0.5: lambda x: x.call("sqrt"),
    1: lambda x: x * 1.0,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    -1: lambda x: 1.0 / x,
}


@operator("Mod")
def modulo(node: Node):
    if node.integer("fmod"):
        return node.map([node.input(0), node.input(1)], _truncated_remainder)
    x, y = node.input(0), node.input(1)
    return node.map([x, y], _floored_quotient_rest if is_float(type_of(x).element) else _floored_remainder)


def _floored_quotient_rest(a: Scalar, b: Scalar) -> Scalar:
    return a - (a / b).call("floor") * b


def _truncated_remainder(a: Scalar, b: Scalar) -> Scalar:
    if not a.is_float:
        return a.remainder(b)
    return a - (a / b).call("trunc") * b


def _floored_remainder(a: Scalar, b: Scalar) -> Scalar:
    rest = a.remainder(b)
    wrong_sign = rest.compare("ne", 0) & (rest ^ b).compare("lt", 0)
    return wrong_sign.select(rest + b, rest)


@operator("BitShift")
def bit_shift(node: Node):
    op = arith.ShLIOp if node.choice("direction", "LEFT", "RIGHT") == "LEFT" else arith.ShRUIOp
    if type_of(node.input()).element != ui8:
        node.unsupported(f"shifts {type_of(node.input()).dtype} elements; only uint8 is supported")
    return node.map([node.input(0), node.input(1)], lambda a, b: a.emit(op(a.value, b.value)))


@operator("Where")
def where(node: Node):
    return node.map([node.input(0), node.input(1), node.input(2)], lambda c, a, b: c.select(a, b))


@operator("Cast")
def cast(node: Node):
    return node.cast(node.input(), element_of(dtype_of(node.integer("to"), "its result")))


@operator("CastLike")
def cast_like(node: Node):
    return node.cast(node.input(), type_of(node.input(1)).element)


@operator("Identity", "Dropout")
def identity(node: Node):
    x = node.input()
    if node.op == "Identity":
        return x
    if node.has(2) and bool(node.constant_input(2)):
        node.unsupported("is in training mode", "export the model for inference")
    mask = None
    if node.wants(1):
        mask = node.expand(node.constant(np.array(True)), dims_of(x))
    return [x, mask]
