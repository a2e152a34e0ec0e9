"""What a handler sees of an ONNX node: its inputs, its attributes, and the ops that it may emit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from sparsec.errors import InvalidModel, UnsupportedModel, UsageError
from sparsec.ir import ExpandOp, MapOp, ReshapeOp, TransposeOp, type_of
from sparsec.ir.dims import Dim, symbols
from sparsec.ir.scalar import Scalar, region
from sparsec.ir.types import is_float, ui8

if TYPE_CHECKING:
    from sparsec.frontend.onnx.graph import Importer, Scope


@dataclass(frozen=True)
class Sizes:
    """An integer tensor known at compile time but for symbols: an object array of `Dim`s, and its element type."""

    dims: np.ndarray
    element: Attribute


@dataclass(frozen=True)
class Unknown:
    """The result of a node that could not be imported; later nodes are still checked."""


Value: TypeAlias = SSAValue | Sizes | Unknown


class Node:
    """One node under import. Everything that reads a constant raises UnsupportedModel where it is not constant."""

    def __init__(
        self,
        importer: Importer,
        proto: NodeProto,
        name: str,
        opset: int,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, AttributeProto],
        scope: Scope,
    ):
        self.importer = importer
        self.proto = proto
        self.name = name
        self.op = proto.op_type
        self.opset = opset
        self.inputs = inputs
        self.attributes = attributes
        self.scope = scope

    # ---- inputs

    def has(self, index: int) -> bool:
        """Whether an (optional) input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int = 0) -> SSAValue:
        """An input as a tensor of the IR. Sizes are computed at run time where they meet what is computed then."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(value, Sizes):
            constants = self.importer.constants
            if not any(isinstance(other, SSAValue) and other not in constants for other in self.inputs):
                self._refuse_sizes(value)
            return self.importer.computed_sizes(self, value)
        if not isinstance(value, SSAValue):
            self.invalid(f"lacks its input {index}")
        return value

    def _refuse_sizes(self, value: Sizes) -> NoReturn:
        names = sorted(set().union(*(symbols(dim) for dim in value.dims.flat)))
        self.unsupported(f"computes with the size of {', '.join(names)} at run time", _fix(names))

    def all_inputs(self) -> list[SSAValue]:
        """The inputs of a variadic operator."""
        return [self.input(index) for index in range(len(self.inputs))]

    def constant_input(self, index: int) -> np.ndarray:
        """The elements of a constant input."""
        value = self.inputs[index] if index < len(self.inputs) else None
        array = self.importer.constants.get(value) if isinstance(value, SSAValue) else None
        if isinstance(value, Sizes):
            self._refuse_sizes(value)
        if array is None:
            self.input(index)
            self.unsupported(f"needs its input {self.proto.input[index]!r} to be a constant")
        return array

    def is_constant(self, value: SSAValue) -> bool:
        return value in self.importer.constants

    def one(self, index: int) -> float | int:
        """The number in a constant input of one element."""
        number = self.number(self.input(index))
        if number is None:
            found = self.constant_input(index)
            self.invalid(f"has {found.size} elements in its input {self.proto.input[index]!r}, which takes one")
        return number

    def one_size(self, index: int) -> Dim:
        """The size in an input of one element, symbols allowed."""
        found = self.sizes(index)
        if len(found) != 1:
            self.invalid(f"has {len(found)} elements in its input {self.proto.input[index]!r}, which takes one")
        return found[0]

    def number(self, value: SSAValue | None) -> float | int | None:
        """The number that a value holds, None where it is not a constant of one element."""
        array = self.importer.constants.get(value) if value is not None else None
        return array.reshape(-1)[0].item() if array is not None and array.size == 1 else None

    def sizes(self, index: int) -> list[Dim]:
        """The elements of an integer input whose values are known, up to symbols."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(value, Sizes):
            return list(value.dims.flat)
        return [int(v) for v in self.constant_input(index).flat]

    def fixed_sizes(self, index: int) -> list[int]:
        """The elements of a constant integer input, symbols not allowed."""
        return [int(v) for v in self.constant_input(index).flat]

    def axes(self, index: int, rank: int) -> list[int] | None:
        """Axes from the attribute `axes` or, since they became one, from an input; non-negative, each once."""
        given = self.integers("axes")
        if given is None and self.has(index):
            given = self.fixed_sizes(index)
        if given is None:
            return None
        axes = [self.axis(axis, rank) for axis in given]
        if len(set(axes)) != len(axes):
            self.invalid(f"names an axis twice: {given}")
        return axes

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front."""
        if not -rank <= axis < rank:
            self.invalid(f"has the axis {axis} of a tensor with {rank} axes")
        return axis % rank

    # ---- attributes

    def integer(self, name: str, default: int = 0) -> int:
        return self.attributes[name].i if name in self.attributes else default

    def integers(self, name: str) -> list[int] | None:
        return list(self.attributes[name].ints) if name in self.attributes else None

    def real(self, name: str, default: float = 0.0) -> float:
        return self.attributes[name].f if name in self.attributes else default

    def reals(self, name: str) -> list[float] | None:
        return list(self.attributes[name].floats) if name in self.attributes else None

    def text(self, name: str, default: str = "") -> str:
        return self.attributes[name].s.decode("utf-8", "replace") if name in self.attributes else default

    def choice(self, name: str, default: str, *others: str) -> str:
        """A text attribute that must be one of a few words."""
        value = self.text(name, default)
        if value not in (default, *others):
            self.invalid(f"has the {name} {value!r}; it must be one of {', '.join((default, *others))}")
        return value

    def tensor(self, name: str) -> np.ndarray | None:
        if name not in self.attributes:
            return None
        return self.importer.reader.array(self.attributes[name].t, f"attribute {name!r} of {self.name}")

    def graph(self, name: str) -> GraphProto:
        if name not in self.attributes:
            self.invalid(f"lacks the graph {name!r}")
        return self.attributes[name].g

    def positive(self, name: str, values: Sequence[int]) -> list[int]:
        """`values` once they are known to lie between 1 and 2³¹ − 1."""
        if any(not 1 <= value < 2**31 for value in values):
            self.invalid(f"has {name} {list(values)}; each must be at least 1 and below 2^31")
        return list(values)

    # ---- results

    @property
    def wanted(self) -> int:
        """How many leading outputs the graph may use."""
        return len(self.proto.output)

    def wants(self, index: int) -> bool:
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def emit(self, op: Operation) -> SSAValue:
        """Add an op with one result; folded where its operands are constants."""
        return self.importer.emit(op, self.name)[0]

    def emit_all(self, op: Operation) -> list[SSAValue]:
        return self.importer.emit(op, self.name)

    def constant(self, array: np.ndarray) -> SSAValue:
        """A constant of the IR."""
        hint = next(filter(None, self.proto.output), self.name)
        return self.importer.constant(array, hint)

    def map(self, inputs: Sequence[SSAValue], function: Callable[..., Scalar]) -> SSAValue:
        """A pointwise op; unsigned bytes are computed with as i32, results of their kind cut back."""
        elements = [type_of(value).element for value in inputs]
        if ui8 not in elements:
            return self.emit(MapOp(inputs, region(elements, function)))

        def widened(*arguments: Scalar) -> Scalar:
            result = function(*(x.to(i32) if x.element == ui8 else x for x in arguments))
            return result.to(ui8) if result.element == i32 else result

        return self.emit(MapOp(inputs, region(elements, widened)))

    def cast(self, value: SSAValue, element: Attribute) -> SSAValue:
        if type_of(value).element == element:
            return value
        return self.emit(MapOp([value], region([type_of(value).element], lambda x: x.to(element))))

    def reshape(self, value: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        return value if tuple(shape) == type_of(value).shape else self.emit(ReshapeOp(value, shape))

    def transpose(self, value: SSAValue, perm: Sequence[int]) -> SSAValue:
        return value if list(perm) == list(range(len(perm))) else self.emit(TransposeOp(value, perm))

    def expand(self, value: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        return value if tuple(shape) == type_of(value).shape else self.emit(ExpandOp(value, shape))

    def scalar(self, number: float, like: SSAValue) -> SSAValue:
        """A constant of rank 0 with the element type of `like`."""
        return self.constant(np.array(number, type_of(like).dtype))

    def fixed(self, dim: Dim, purpose: str) -> int:
        """A size that must be known: raises UnsupportedModel, naming its symbols."""
        if isinstance(dim, int):
            return dim
        names = sorted(symbols(dim))
        self.unsupported(f"needs the size {dim} to be fixed for {purpose}", _fix(names))

    def need_float(self, *values: SSAValue) -> None:
        """Raises UnsupportedModel for elements that are not floats."""
        for value in values:
            if not is_float(type_of(value).element):
                self.unsupported(f"computes with {type_of(value).dtype} elements; only floats are supported here")

    def need_whole(self, *values: SSAValue) -> None:
        """Raises InvalidModel for elements that are not int32 or int64: places, lengths, masks."""
        for value in values:
            if type_of(value).element not in (i32, i64):
                self.invalid(f"has an input of {type_of(value).dtype} elements where int32 or int64 are needed")

    # ---- errors

    def unsupported(self, reason: str, hint: str = "") -> NoReturn:
        raise UnsupportedModel(reason + (f" ({hint})" if hint else ""))

    def invalid(self, reason: str) -> NoReturn:
        raise InvalidModel(reason)

    def misfit(self, reason: str, one: Dim, other: Dim) -> NoReturn:
        """Sizes that must be equal are not; where symbols are in them, they may be once these are fixed."""
        names = sorted(symbols(one) ^ symbols(other) or symbols(one))
        if not names:
            raise InvalidModel(reason)
        raise UsageError(f"does not fit while {', '.join(names)} may be any size ({reason}): {_fix(names)}")


def dims_of(value: SSAValue) -> tuple[Dim, ...]:
    return type_of(value).shape


def _fix(names: Sequence[str]) -> str:
    return "fix it with " + " ".join(f"--dim {name}=…" for name in names)
