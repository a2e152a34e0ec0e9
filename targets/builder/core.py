"""The bottom of the builder: the module, types, constants, addresses."""

from __future__ import annotations

from typing import Any

from mlir import ir
from mlir.dialects import arith, llvm

from sparsec.targets.builder import elements
from sparsec.targets.builder.value import Value
from sparsec.targets.isa import Isa

_DYNAMIC = -(2**31)  # marks the dynamic operands of llvm.getelementptr


class Core:
    """Holds one MLIR module for one ISA. Constants are made once a function, at its entry."""

    def __init__(self, isa: Isa) -> None:
        self.isa = isa
        self.context = ir.Context()
        with self.context, ir.Location.unknown():
            self.module = ir.Module.create()
            self.pointer_type = ir.Type.parse("!llvm.ptr")
            self.index_int = f"i{isa.index_bits}"
        self._types: dict[tuple[str, int | None], ir.Type] = {}
        self._constants: dict[tuple[str, int | None, str], ir.Value] = {}
        self._entry: ir.Block | None = None

    def type(self, element: str, lanes: int | None = None) -> ir.Type:
        """The MLIR type of a scalar or of a vector."""
        key = element, lanes
        if key not in self._types:
            scalar = elements.scalar_type(element)
            self._types[key] = scalar if lanes is None else ir.VectorType.get([lanes], scalar)
        return self._types[key]

    def constant(self, value: float, element: str = "index", lanes: int | None = None) -> Value:
        """A constant scalar, or a vector with all lanes equal to `value`."""
        key = element, lanes, repr(value)
        if key not in self._constants:
            self._constants[key] = self._emit_constant(self._attribute(value, element, lanes))
        return Value(self, self._constants[key], element, lanes)  # type: ignore[arg-type]

    def constants(self, values: list[int] | list[float], element: str) -> Value:
        """A constant vector with one value a lane."""
        key = element, len(values), repr(values)
        if key not in self._constants:
            kind = self.type(element)
            attributes = [_scalar_attribute(value, element, kind) for value in values]
            dense = ir.DenseElementsAttr.get(attributes, self.type(element, len(values)))
            self._constants[key] = self._emit_constant(dense)
        return Value(self, self._constants[key], element, len(values))  # type: ignore[arg-type]

    def iota(self, element: str = "i32", lanes: int | None = None) -> Value:
        """The vector 0, 1, 2, ... of `lanes` (default: the ISA's) elements."""
        return self.constants(list(range(lanes or self.isa.lanes)), element)

    def displace(self, pointer: ir.Value, offset: ir.Value, element: str) -> ir.Value:
        """`pointer` moved by `offset` (an `index` scalar or vector) elements."""
        vector = isinstance(offset.type, ir.VectorType)
        lanes = offset.type.shape[0] if vector else None  # type: ignore[attr-defined]
        kind = ir.Type.parse(f"vector<{lanes}x!llvm.ptr>") if vector else self.pointer_type
        offset = arith.index_cast(self.type(self.index_int, lanes), offset)
        stored = self.type("i8" if element == "i1" else element)
        return llvm.GEPOp(kind, pointer, [offset], [_DYNAMIC], ir.TypeAttr.get(stored), 0).res

    def displace_bytes(self, pointer: ir.Value, offset: int) -> ir.Value:
        """`pointer` moved by a constant number of bytes."""
        if not offset:
            return pointer
        return llvm.GEPOp(self.pointer_type, pointer, [], [offset], ir.TypeAttr.get(self.type("i8")), 0).res

    def add_addend(self, value: Value) -> ir.Value:
        """The sum of an index and the constant that it keeps apart."""
        return arith.addi(value.base, self.constant(value.addend).ir)

    def _attribute(self, value: float, element: str, lanes: int | None) -> ir.Attribute:
        scalar = _scalar_attribute(value, element, self.type(element))
        return scalar if lanes is None else ir.DenseElementsAttr.get_splat(self.type(element, lanes), scalar)

    def _emit_constant(self, attribute: Any) -> ir.Value:
        assert self._entry is not None, "constants are made inside a function"
        with ir.InsertionPoint.at_block_begin(self._entry):
            return arith.ConstantOp(attribute.type, attribute).result


def _scalar_attribute(value: float, element: str, kind: ir.Type) -> ir.Attribute:
    """`value` as an attribute; integers wrap into the signed range of their width, as MLIR wants them."""
    if elements.is_float(element):
        return ir.FloatAttr.get(kind, float(value))
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not an integer, but was used as {element}")
    if element == "i1":
        return ir.IntegerAttr.get(kind, int(value != 0))
    half = 1 << (elements.bits(element) - 1)
    return ir.IntegerAttr.get(kind, (value + half) % (2 * half) - half)
