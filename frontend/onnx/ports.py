"""The model's inputs: their types, the symbols in them, and what the user fixed by `--shape` and `--dim`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from onnx import GraphProto, TensorShapeProto, ValueInfoProto

from sparsec.errors import InvalidModel, UnsupportedModel, UsageError
from sparsec.frontend.onnx.limits import INT64_MAX, MAX_RANK
from sparsec.frontend.onnx.tensors import dtype_of
from sparsec.ir import TensorType
from sparsec.ir.dims import Dim, evaluate, symbol, symbols
from sparsec.ir.shapes import format_shape
from sparsec.ir.types import element_of

Shapes = Mapping[str, Sequence[int]]
Given: TypeAlias = "int | tuple[int, int] | range | str"
"""What a caller says of a symbol: its size, the lowest and highest that it may be, or another symbol that it equals."""


def input_types(
    graph: GraphProto, shapes: Shapes, dims: Mapping[str, Given]
) -> tuple[dict[str, TensorType], dict[str, tuple[int, int]]]:
    """The types of the inputs that a caller gives, symbols replaced where `shapes` or `dims` fix them; and the ranges.

    Raises UsageError where a given shape or size does not fit, InvalidModel and UnsupportedModel for bad declarations.
    """
    constants = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    ports = [port for port in graph.input if port.name not in constants]
    if unknown := sorted(set(shapes) - {port.name for port in ports}):
        raise UsageError(f"no input is called {unknown[0]!r}; the inputs are {', '.join(p.name for p in ports)}")
    types: dict[str, TensorType] = {}
    for port in ports:
        if port.name in types:
            raise InvalidModel(f"two inputs are called {port.name!r}")
        types[port.name] = declared_type(port, shapes.get(port.name))
    known = sorted(set().union(*(symbols(dim) for type_ in types.values() for dim in type_.shape)))
    fixed = _fixed_sizes(known, dims)
    for name, given in shapes.items():
        _fix_by_shape(name, types[name].shape, given, fixed)
    ranges = _ranges(dims)
    if twice := sorted(name for name in ranges if name in fixed):
        raise UsageError(f"--dim {twice[0]} is a range, and --shape fixes it: give one of them")
    return {name: type_.substitute(fixed) for name, type_ in types.items()}, ranges


def declared_type(port: ValueInfoProto, given: Sequence[int] | None = None) -> TensorType:
    """The type that the file declares for a value; `given` stands in for a shape that it leaves out."""
    what = f"input {port.name!r}"
    if not port.type.HasField("tensor_type"):
        kind = port.type.WhichOneof("value") or "nothing"
        raise UnsupportedModel(f"{what} is a {kind.removesuffix('_type')}; only tensors are supported")
    tensor = port.type.tensor_type
    element = element_of(dtype_of(tensor.elem_type, what))
    if not tensor.HasField("shape"):
        if given is None:
            raise UsageError(f"{what} has no declared shape; give one by --shape {port.name}=…")
        return TensorType(given, element)
    if len(tensor.shape.dim) > MAX_RANK:
        raise InvalidModel(f"{what} has {len(tensor.shape.dim)} dimensions; at most {MAX_RANK} are possible")
    return TensorType([_dim(port.name, axis, dim) for axis, dim in enumerate(tensor.shape.dim)], element)


def _dim(port: str, axis: int, dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        if dim.dim_value < 0:
            raise InvalidModel(f"input {port!r} has the size {dim.dim_value} on axis {axis}")
        return dim.dim_value
    return symbol(_identifier(dim.dim_param or f"{port}_{axis}"))


def _identifier(name: str) -> str:
    """A symbol's name made of a `dim_param`, which may be any text."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "dim"
    return f"d{text}" if text[0].isdigit() or keyword.iskeyword(text) else text


def _fixed_sizes(known: Sequence[str], dims: Mapping[str, Given]) -> dict[str, Dim]:
    """What `dims` puts in place of symbols: sizes, and the names that others go by."""
    fixed: dict[str, Dim] = {}
    for name, size in dims.items():
        for used in (name, size) if isinstance(size, str) else (name,):
            if _identifier(used) not in known:
                listed = ", ".join(known) or "none"
                raise UsageError(f"no input has a symbolic size called {used!r}; the symbolic sizes are: {listed}")
        if isinstance(size, str):
            if isinstance(dims.get(size), str) or size == name:
                raise UsageError(f"--dim {name}={size}: {size} is no size of its own")
        elif isinstance(size, tuple | list | range):
            low, high = _range(name, size)
            fixed |= {_identifier(name): low} if low == high else {}
        else:
            fixed[_identifier(name)] = _checked_size(f"--dim {name}", size)
    others = {_identifier(name): _identifier(size) for name, size in dims.items() if isinstance(size, str)}
    return {**fixed, **{name: fixed.get(other, symbol(other)) for name, other in others.items()}}


def _ranges(dims: Mapping[str, Given]) -> dict[str, tuple[int, int]]:
    """The lowest and highest size of each symbol that keeps its name."""
    found = {_identifier(name): _range(name, given) for name, given in dims.items() if not isinstance(given, int | str)}
    return {name: (low, high) for name, (low, high) in found.items() if low < high}


def _range(name: str, given: tuple[int, int] | range) -> tuple[int, int]:
    what = f"--dim {name}"
    if isinstance(given, range):
        if given.step != 1 or len(given) == 0:
            raise UsageError(f"{what}: {given!r} is no range of sizes, lowest to highest in steps of 1")
        given = given.start, given.stop - 1
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(f"{what}: {given!r} is neither a size nor the lowest and the highest size")
    low, high = (_checked_size(what, size) for size in given)
    if low > high:
        raise UsageError(f"{what}: {low}..{high} is no range: the lowest size comes first")
    return low, high


def _fix_by_shape(name: str, expected: tuple[Dim, ...], given: Sequence[int], fixed: dict[str, Dim]) -> None:
    """Enter into `fixed` the sizes of the symbols in `expected` that the shape `given` for an input implies."""
    problem = f"input {name!r}: the shape {format_shape(given)} does not fit the model's {format_shape(expected)}"
    if len(given) != len(expected):
        raise UsageError(problem)
    for size, dim in zip(given, expected, strict=True):
        _checked_size(f"input {name!r}", size)
        current = evaluate(dim, fixed)
        if isinstance(current, int) and current != size:
            raise UsageError(problem if isinstance(dim, int) else f"{problem}, where {dim} is already {current}")
        if isinstance(dim, int):
            continue
        fixed[str(dim)] = size


def _checked_size(what: str, size: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= INT64_MAX:
        raise UsageError(f"{what}: {size!r} is not a size")
    return size
