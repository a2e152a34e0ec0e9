"""Values and references that a `Builder` hands out: Python operators on them emit operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mlir import ir

from sparsec.ir.dims import Sym
from sparsec.targets.builder import elements

if TYPE_CHECKING:
    from sparsec.targets.builder.arithmetic import Arithmetic


class Value:
    """A scalar (`lanes` is None) or a vector of `lanes` elements.

    An `index` keeps constants added to it apart in `addend`, so that they reach the address of a load unmixed, where
    the instruction holds them as a displacement.
    """

    __slots__ = ("_ir", "addend", "builder", "element", "lanes")

    def __init__(
        self, builder: Arithmetic, value: ir.Value, element: str, lanes: int | None = None, addend: int = 0
    ) -> None:
        self.builder, self._ir, self.element, self.lanes, self.addend = builder, value, element, lanes, addend

    @property
    def ir(self) -> ir.Value:
        """The MLIR value, with the addend of an index added."""
        if not self.addend:
            return self._ir
        return self.builder.add_addend(self)

    @property
    def base(self) -> ir.Value:
        """The MLIR value without the addend."""
        return self._ir

    def __repr__(self) -> str:
        kind = self.element if self.lanes is None else f"{self.lanes} x {self.element}"
        return f"Value({kind})"

    def __bool__(self) -> NoReturn:
        raise TypeError("a Value is known only when the kernel runs: use b.if_ or b.select instead of Python's if")

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Operand) -> Value:
        return self.builder.add(self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.builder.sub(self, other)

    def __mul__(self, other: Operand) -> Value:
        return self.builder.mul(self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.builder.div(self, other)

    def __floordiv__(self, other: Operand) -> Value:
        return self.builder.div(self, other)

    def __mod__(self, other: Operand) -> Value:
        return self.builder.rem(self, other)

    def __and__(self, other: Operand) -> Value:
        return self.builder.bitand(self, other)

    def __or__(self, other: Operand) -> Value:
        return self.builder.bitor(self, other)

    def __xor__(self, other: Operand) -> Value:
        return self.builder.bitxor(self, other)

    def __lshift__(self, other: Operand) -> Value:
        return self.builder.shl(self, other)

    def __rshift__(self, other: Operand) -> Value:
        return self.builder.shr(self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.builder.add(self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.builder.sub(other, self)

    def __rmul__(self, other: Operand) -> Value:
        return self.builder.mul(self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.builder.div(other, self)

    def __rfloordiv__(self, other: Operand) -> Value:
        return self.builder.div(other, self)

    def __rmod__(self, other: Operand) -> Value:
        return self.builder.rem(other, self)

    def __rand__(self, other: Operand) -> Value:
        return self.builder.bitand(self, other)

    def __ror__(self, other: Operand) -> Value:
        return self.builder.bitor(self, other)

    def __rxor__(self, other: Operand) -> Value:
        return self.builder.bitxor(self, other)

    def __neg__(self) -> Value:
        return self.builder.neg(self)

    def __invert__(self) -> Value:
        return self.builder.bitxor(self, 1 if self.element == "i1" else -1)

    def __lt__(self, other: Operand) -> Value:
        return self.builder.compare("lt", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.builder.compare("le", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.builder.compare("gt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.builder.compare("ge", self, other)

    def __eq__(self, other: Operand) -> Value:  # type: ignore[override]
        return self.builder.compare("eq", self, other)

    def __ne__(self, other: Operand) -> Value:  # type: ignore[override]
        return self.builder.compare("ne", self, other)


Operand = Value | int | float | Sym
Index = Value | int | Sym


class Ref:
    """Memory of elements of one type; offsets count elements. `ref + n` moves it, `view` changes the type."""

    __slots__ = ("addend", "builder", "element", "pointer")

    def __init__(self, builder: Arithmetic, pointer: ir.Value, element: str, addend: int = 0) -> None:
        self.builder, self.pointer, self.element, self.addend = builder, pointer, element, addend

    def __repr__(self) -> str:
        return f"Ref({self.element})"

    def __add__(self, offset: Index) -> Ref:
        """The memory from element `offset` on."""
        size = elements.size(self.element)
        if isinstance(offset, int):
            return Ref(self.builder, self.pointer, self.element, self.addend + offset * size)
        if isinstance(offset, Sym):
            offset = self.builder.size(offset)
        moved = self.builder.displace(self.pointer, offset.base, self.element)
        return Ref(self.builder, moved, self.element, self.addend + offset.addend * size)

    def view(self, element: str) -> Ref:
        """The same bytes as elements of type `element`."""
        return Ref(self.builder, self.pointer, element, self.addend)

    def address(self, offset: Index = 0) -> ir.Value:
        """The pointer to element `offset`."""
        place = self + offset
        return self.builder.displace_bytes(place.pointer, place.addend)
