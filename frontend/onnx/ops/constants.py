"""Operators whose results are known at compile time, or sizes."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.limits import MAX_FOLDED_BYTES, MAX_MADE_BYTES, check_bytes
from sparsec.frontend.onnx.node import Node, Sizes, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.frontend.onnx.sizes import make_sizes, object_array
from sparsec.frontend.onnx.tensors import dtype_of
from sparsec.ir import CumsumOp, type_of
from sparsec.ir.dims import Dim, ceildiv, product

_CONSTANT_KINDS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@operator("Constant")
def constant(node: Node):
    if (value := node.tensor("value")) is not None:
        return node.constant(value)
    if "sparse_value" in node.attributes:
        sparse = node.attributes["sparse_value"].sparse_tensor
        return node.constant(node.importer.reader.sparse_array(sparse, f"the value of {node.name}"))
    for name, dtype in _CONSTANT_KINDS.items():
        if name in node.attributes:
            attribute = node.attributes[name]
            held = {"value_float": attribute.f, "value_int": attribute.i}.get(name)
            return node.constant(np.array(held if held is not None else node.reals(name) or node.integers(name), dtype))
    node.unsupported("holds a string")


@operator("Shape")
def shape(node: Node):
    dims = dims_of(node.input())
    start, end = node.integer("start"), node.integer("end", len(dims))
    return make_sizes(node, object_array(dims[start:end]))


@operator("Size")
def size(node: Node):
    return make_sizes(node, np.array(product(dims_of(node.input())), object))


@operator("ConstantOfShape")
def constant_of_shape(node: Node):
    value = node.tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    if value.size != 1:
        node.invalid(f"has a value of {value.size} elements instead of 1")
    dims = node.sizes(0)
    check_bytes(dims, value.itemsize, f"the result of {node.name}", MAX_MADE_BYTES)
    if all(isinstance(dim, int) for dim in dims):
        return node.constant(np.broadcast_to(value.reshape(()), tuple(map(int, dims))))  # pyright: ignore
    return node.expand(node.constant(value.reshape(())), dims)


@operator("Range")
def range_(node: Node):
    if any(isinstance(value, Sizes) for value in node.inputs):
        return _symbolic_range(node)
    arrays = [node.constant_input(index) for index in range(3)]
    start, limit, delta = (node.one(index) for index in range(3))
    if delta == 0:
        node.invalid("has a step of 0")
    count = max(0, int(-((start - limit) // delta)))
    check_bytes([count], arrays[0].itemsize, f"the result of {node.name}", MAX_MADE_BYTES)
    return node.constant((start + np.arange(count) * delta).astype(arrays[0].dtype))


def _symbolic_range(node: Node):
    """start, start + delta, …: a running sum of `delta`s, where the number of elements is symbolic."""
    delta, start, limit = node.one_size(2), node.one_size(0), node.one_size(1)
    if not isinstance(start, int) or not isinstance(delta, int) or delta < 1:
        node.unsupported(f"counts from {start} to {limit} by {delta}, where a size is not fixed")
    dtype = node.constant_input(2).dtype
    steps = node.expand(node.constant(np.array([delta], dtype)), [ceildiv(limit - start, delta)])
    counted = node.emit(CumsumOp(steps, 0, exclusive=True))
    return counted if start == 0 else node.map([counted], lambda x: x + start)


@operator("EyeLike")
def eye_like(node: Node):
    x = node.input()
    if len(dims_of(x)) != 2:
        node.invalid(f"has an input with {len(dims_of(x))} axes instead of 2")
    rows, columns = (node.fixed(dim, "a unit matrix") for dim in dims_of(x))
    given = node.integer("dtype")
    dtype = dtype_of(given, "its result") if given else type_of(x).dtype
    check_bytes([rows, columns], dtype.itemsize, f"the result of {node.name}", MAX_MADE_BYTES)
    return node.constant(np.eye(rows, columns, node.integer("k"), dtype))


@operator("NonZero")
def non_zero(node: Node):
    return node.constant(np.array(np.nonzero(node.constant_input(0)), np.int64))


@operator("Trilu")
def trilu(node: Node):
    """The input times a mask of its last two axes: `where(mask, x, 0)`."""
    x = node.input()
    if len(dims_of(x)) < 2:
        node.invalid(f"has an input with {len(dims_of(x))} axes instead of at least 2")
    rows, columns = dims_of(x)[-2:]
    k = int(node.one(1)) if node.has(1) else 0
    k = max(1 - 2**30, min(2**30 - 1, k))
    compare = "ge" if node.integer("upper", 1) else "le"
    places = [node.reshape(steps(node, rows), [rows, 1]), steps(node, columns)]
    mask = node.map(places, lambda row, column: column.compare(compare, row + k if k else row))
    return node.map([mask, x], lambda m, x: m.select(x, 0))


def steps(node: Node, count: Dim, from_end: bool = False) -> SSAValue:
    """0, 1, 2… for `count` elements of i32; counted from the last one with `from_end`."""
    if isinstance(count, int) and count * 4 <= MAX_FOLDED_BYTES:
        places = np.arange(count, dtype=np.int32)
        return node.constant(places[::-1].copy() if from_end else places)
    ones = node.expand(node.constant(np.ones(1, np.int32)), [count])
    return node.emit(CumsumOp(ones, 0, exclusive=True, reverse=from_end))
