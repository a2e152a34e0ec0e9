"""Folding of shape arithmetic whose values are sizes with symbols: `Shape → Gather → Mul → Concat` and the like.

Values are NumPy object arrays of `Dim`s, so most rules are NumPy itself. A rule that cannot decide (compare `batch`
with 2, add 0.5) raises; the node is then imported as an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import Attribute, SSAValue

from sparsec.frontend.onnx.node import Node, Sizes
from sparsec.frontend.onnx.tensors import dtype_of
from sparsec.ir import ConcatOp, ReduceOp
from sparsec.ir.dims import Dim, Quotient, Sym, floordiv, symbol, symbols
from sparsec.ir.scalar import Scalar
from sparsec.ir.types import dtype_of as numpy_type
from sparsec.ir.types import element_of, is_float

Rule = Callable[..., "np.ndarray | list[np.ndarray]"]


def make_sizes(node: Node, dims: np.ndarray, element: Attribute = i64) -> SSAValue | Sizes:
    """Sizes, or a constant where no symbol is in them."""
    if any(isinstance(dim, Sym) for dim in dims.flat):
        return Sizes(dims, element)
    return node.constant(dims.astype(numpy_type(element)))


def as_tensor(node: Node, sizes: Sizes) -> SSAValue:
    """Sizes as a tensor that the run computes: a symbol is the sum of as many ones."""
    names = sorted(set().union(*(symbols(dim) for dim in sizes.dims.flat)))
    counts = [_counted(node, name) for name in names]
    parts: list[SSAValue] = []
    for dim in sizes.dims.flat:
        value = node.map(counts, partial(_polynomial, dim, names))
        parts.append(node.reshape(node.cast(value, sizes.element), [1]))
    joined = parts[0] if len(parts) == 1 else node.emit(ConcatOp(parts, 0))
    return node.reshape(joined, sizes.dims.shape)


def _counted(node: Node, name: str) -> SSAValue:
    ones = node.expand(node.constant(np.ones(1, np.int32)), [symbol(name)])
    return node.cast(node.emit(ReduceOp(ones, "sum", [0], False)), i64)


def _polynomial(dim: Dim, names: Sequence[str], *values: Scalar) -> Scalar:
    """`dim` in a region, where the symbols called `names` are `values`."""
    if isinstance(dim, int):
        return values[0].constant(dim)
    total: Scalar | None = None
    for monomial, factor in dim.terms:
        term = values[0].constant(factor)
        for atom in monomial:
            term = term * (values[names.index(atom)] if isinstance(atom, str) else _quotient(atom, names, *values))
        total = term if total is None else total + term
    assert total is not None
    return total


def _quotient(atom: Quotient, names: Sequence[str], *values: Scalar) -> Scalar:
    return _polynomial(atom.numerator, names, *values) / _polynomial(atom.denominator, names, *values)


def object_array(values: Sequence[Dim]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fold_sizes(node: Node) -> list[SSAValue | Sizes] | None:
    """The node's results, where its inputs are known up to symbols and its operator has a rule; else None."""
    rule = RULES.get(node.op)
    arrays = [_known(node, index) for index in range(len(node.inputs))]
    if rule is None or any(array is None and node.has(index) for index, array in enumerate(arrays)):
        return None
    try:
        results = rule(node, *arrays)
    except (TypeError, ArithmeticError, AttributeError, ValueError, IndexError):
        return None
    results = results if isinstance(results, list) else [results]
    element = _result_element(node)
    return [make_sizes(node, np.asarray(result, object), element) for result in results]


def _known(node: Node, index: int) -> np.ndarray | None:
    value = node.inputs[index]
    if isinstance(value, Sizes):
        return value.dims
    array = node.importer.constants.get(value) if isinstance(value, SSAValue) else None
    if array is None or array.size > 4096:
        return None
    if array.dtype.kind == "f":
        return _whole(array)
    return array.astype(object)


def _whole(array: np.ndarray) -> np.ndarray:
    """Floats that are whole numbers as ints; others stay floats, which no Dim combines with."""
    return object_array([int(v) if float(v).is_integer() else float(v) for v in array.flat]).reshape(array.shape)  # pyright: ignore


def _result_element(node: Node) -> Attribute:
    if node.op == "Cast":
        return element_of(dtype_of(node.integer("to"), node.name))
    if node.op in ("Equal", "Not"):
        return i1
    for value in node.inputs[1:] if node.op == "Where" else node.inputs:
        if isinstance(value, Sizes):
            return value.element
    return i64


def _exact(dim: Dim, divisor: Dim) -> Dim:
    quotient = floordiv(dim, divisor)
    if quotient * divisor != dim:
        raise ArithmeticError("not exact")
    return quotient


def _divide(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    real = any(isinstance(v, Sizes) and is_float(v.element) for v in node.inputs)
    return _each(_exact if real else floordiv, a, b)


def _each(function: Callable[..., object], *arrays: np.ndarray) -> np.ndarray:
    return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), object)


def _equal(a: Dim, b: Dim) -> bool:
    """Equality that holds or fails for every value of the symbols: sizes are never negative."""
    if a == b:
        return True
    if (isinstance(a, int) and isinstance(b, int)) or min(_sign(a), _sign(b)) < 0:
        return False
    raise TypeError("undecided")


def _sign(dim: Dim) -> int:
    """-1 for negative numbers, 1 for what is surely positive or zero. Raises TypeError where symbols leave it open."""
    if isinstance(dim, int):
        return -1 if dim < 0 else 1
    if any(factor < 0 for _, factor in dim.terms):
        raise TypeError("undecided")
    return 1


def _where(node: Node, condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition.astype(bool), a, b)


def _gather(node: Node, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take(data, indices.astype(np.int64), axis=node.integer("axis"))


def _slice(node: Node, data: np.ndarray, *bounds: np.ndarray | None) -> np.ndarray:
    if data.ndim != 1:
        raise TypeError("sizes are vectors")
    given = [node.integers(name) for name in ("starts", "ends")] if not bounds else [_ints(b) for b in bounds]
    start, end = given[0] or [0], given[1] or [0]
    step = given[3] if len(given) > 3 and given[3] else [1]
    return data[start[0] : end[0] : step[0]] if step[0] > 0 else data[slice(start[0], _before(end[0]), step[0])]


def _before(end: int) -> int | None:
    return None if end < -(2**31) else end


def _ints(array: np.ndarray | None) -> list[int] | None:
    if array is None:
        return None
    if any(isinstance(v, Sym) for v in array.flat):
        raise TypeError("undecided")
    return [int(v) for v in array.flat]


def _unsqueeze(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.expand_dims(data, tuple(node.integers("axes") or _ints(axes) or ()))


def _squeeze(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    given = node.integers("axes") or _ints(axes)
    return np.squeeze(data, tuple(given) if given else None)


def _reshape(node: Node, data: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return data.reshape(_ints(shape) or ())


def _expand(node: Node, data: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return data * np.ones(_ints(shape) or (), object)


def _product(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.multiply.reduce(data, None, keepdims=bool(node.integer("keepdims", 1)))


def _shape(node: Node, data: np.ndarray) -> np.ndarray:
    return object_array(data.shape[node.integer("start") : node.integer("end", data.ndim)])


def _split(node: Node, data: np.ndarray, sizes: np.ndarray | None = None) -> list[np.ndarray]:
    given = _ints(sizes) or node.integers("split") or [data.shape[0] // node.wanted] * node.wanted
    return np.split(data, np.cumsum(given)[:-1])


def _concat(node: Node, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=node.integer("axis"))


RULES: dict[str, Rule] = {
    "Add": lambda node, a, b: a + b,
    "Cast": lambda node, a: a,
    "Ceil": lambda node, a: a,
    "Concat": _concat,
    "Div": _divide,
    "Equal": lambda node, a, b: _each(_equal, a, b),
    "Expand": _expand,
    "Floor": lambda node, a: a,
    "Gather": _gather,
    "Identity": lambda node, a: a,
    "Mul": lambda node, a, b: a * b,
    "Neg": lambda node, a: -a,
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda node, a, b: a - b,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
