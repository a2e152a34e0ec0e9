"""Reductions, softmax and the like, running sums, sorting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import CumsumOp, ReduceOp, SoftmaxOp, TopkOp, type_of
from sparsec.ir.dims import product
from sparsec.ir.scalar import Scalar

_KINDS = {
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum_square",
}
_COMPOSED: dict[str, tuple[Callable[[Scalar], Scalar] | None, str, Callable[[Scalar], Scalar] | None]] = {
    "ReduceL1": (Scalar.abs, "sum", None),
    "ReduceL2": (None, "sum_square", lambda x: x.call("sqrt")),
    "ReduceLogSum": (None, "sum", lambda x: x.call("log")),
}


def reduced_axes(node: Node, rank: int) -> list[int] | None:
    """The axes that a Reduce node names, all where it names none, None where it then does nothing."""
    axes = node.axes(1, rank)
    if axes or (axes is not None and node.has(1) and not node.integer("noop_with_empty_axes")):
        return axes or list(range(rank))
    return None if node.integer("noop_with_empty_axes") else list(range(rank))


@operator(*_KINDS)
def reduce_(node: Node):
    x = node.input()
    axes = reduced_axes(node, len(dims_of(x)))
    if axes is None:
        return node.map([x], lambda x: x * x) if node.op == "ReduceSumSquare" else x
    result = ReduceOp(x, _KINDS[node.op], axes, bool(node.integer("keepdims", 1)))
    if _KINDS[node.op] in ("max", "min") and any(dims_of(x)[axis] == 0 for axis in axes):
        return node.expand(node.constant(_extreme(type_of(x).dtype, _KINDS[node.op])), dims_of(result.result))
    return node.emit(result)


def _extreme(dtype: np.dtype, kind: str) -> np.ndarray:
    """The maximum or minimum of no elements: the least or the greatest number."""
    if dtype.kind == "f":
        return np.array(-np.inf if kind == "max" else np.inf, dtype)
    limits = np.iinfo(np.uint8) if dtype.kind == "b" else np.iinfo(dtype)
    return np.array(limits.min if kind == "max" else limits.max).astype(dtype)


@operator(*_COMPOSED)
def composed(node: Node):
    before, kind, after = _COMPOSED[node.op]
    x = node.input()
    axes = reduced_axes(node, len(dims_of(x)))
    if before is not None:
        x = node.map([x], before)
    if axes is not None:
        x = node.emit(ReduceOp(x, kind, axes, bool(node.integer("keepdims", 1))))
    elif kind == "sum_square":
        x = node.map([x], lambda x: x * x)
    if after is None:
        return x
    element = type_of(x).element
    return node.map([x], lambda x: after(x) if x.is_float else after(x.to(f32)).to(element))


@operator("ReduceLogSumExp")
def reduce_log_sum_exp(node: Node):
    """log Σ exp(x), with the maximum taken out so that nothing overflows."""
    x = node.input()
    node.need_float(x)
    axes = reduced_axes(node, len(dims_of(x)))
    if axes is None:
        return x
    if any(dims_of(x)[axis] == 0 for axis in axes):
        shape = dims_of(ReduceOp(x, "sum", axes, bool(node.integer("keepdims", 1))).result)
        return node.expand(node.scalar(-np.inf, x), shape)
    highest = node.emit(ReduceOp(x, "max", axes, True))
    highest = node.map([highest], lambda m: m.abs().compare("eq", float("inf")).select(m.constant(0.0), m))
    powers = node.map([x, highest], lambda x, m: (x - m).call("exp"))
    total = node.emit(ReduceOp(powers, "sum", axes, True))
    result = node.map([total, highest], lambda s, m: s.call("log") + m)
    if node.integer("keepdims", 1):
        return result
    return node.reshape(result, [dim for axis, dim in enumerate(dims_of(x)) if axis not in axes])


@operator("ArgMax", "ArgMin")
def arg_extreme(node: Node):
    x = node.input()
    axis = node.axis(node.integer("axis"), len(dims_of(x)))
    keepdims, last = bool(node.integer("keepdims", 1)), bool(node.integer("select_last_index"))
    return node.emit(ReduceOp(x, node.op.lower(), [axis], keepdims, last))


@operator("Softmax", "LogSoftmax")
def softmax(node: Node):
    x = node.input()
    node.need_float(x)
    rank = len(dims_of(x))
    if rank == 0:
        x, rank = node.reshape(x, [1]), 1
    axis = node.axis(node.integer("axis", 1 if node.opset < 13 else -1), rank)
    axes = list(range(axis, rank)) if node.opset < 13 else [axis]  # before 13 the input is coerced to a matrix
    return node.reshape(node.emit(SoftmaxOp(x, axes, node.op == "LogSoftmax")), dims_of(node.input()))


@operator("Hardmax")
def hardmax(node: Node):
    """1 at the first maximum: where its index is the element's place along the axis."""
    x = node.input()
    rank = len(dims_of(x))
    axis = node.axis(node.integer("axis", 1 if node.opset < 13 else -1), rank)
    shape = dims_of(x)
    if node.opset < 13:
        x = node.reshape(x, [product(shape[:axis]), product(shape[axis:])])
        axis = 1
    first = node.emit(ReduceOp(x, "argmax", [axis], True))
    result = node.map([first, x, places(node, x, axis)], lambda i, x, p: i.compare("eq", p).select(x.constant(1.0), 0))
    return node.reshape(result, shape)


def places(node: Node, x: SSAValue, axis: int) -> SSAValue:
    """0, 1, 2… along `axis`, of a shape that broadcasts to x's."""
    shape = dims_of(x)
    count = node.fixed(shape[axis], "numbering an axis")
    return node.constant(np.arange(count).reshape([count if i == axis else 1 for i in range(len(shape))]))


@operator("CumSum")
def cumsum(node: Node):
    x = node.input()
    axis = node.axis(int(node.one(1)), len(dims_of(x)))
    return node.emit(CumsumOp(x, axis, bool(node.integer("exclusive")), bool(node.integer("reverse"))))


@operator("TopK")
def topk(node: Node):
    x = node.input()
    axis = node.axis(node.integer("axis", -1), len(dims_of(x)))
    k = node.fixed_sizes(1) if node.has(1) else [node.integer("k")]
    if len(k) != 1 or k[0] < 0:
        node.invalid(f"has k = {k}")
    return node.emit_all(TopkOp(x, k[0], axis, bool(node.integer("largest", 1))))
