"""Sizes that only the run knows: expressions over symbols, computed once at the entry of a function."""

from __future__ import annotations

from functools import reduce
from typing import Any

from mlir import ir
from mlir.dialects import arith, llvm

from sparsec.ir.dims import Atom, Dim, Monomial
from sparsec.targets.builder.core import Core
from sparsec.targets.builder.value import Value
from sparsec.targets.isa import Isa


class Sizes(Core):
    """Holds the sizes of the function being written. `symbols` are the names in the order of the array it is given."""

    def __init__(self, isa: Isa) -> None:
        super().__init__(isa)
        self.symbols: tuple[str, ...] = ()
        self._sizes: dict[Dim | str, ir.Value] = {}
        self._array: ir.Value | None = None
        self._anchor: Any = None

    def size(self, dim: Dim) -> Value:
        """A size as an index. Equal ones are computed once."""
        return Value(self, self._size_of(dim), "index")  # type: ignore[arg-type]

    def _begin_sizes(self, array: ir.Value | None, anchor: Any) -> None:
        """Starts a function whose sizes lie in `array` (None: it has none); they are computed before `anchor`."""
        self._sizes.clear()
        self._array, self._anchor = array, anchor

    def _size_of(self, dim: Dim) -> ir.Value:
        if isinstance(dim, int):
            return self.constant(dim).ir
        if dim not in self._sizes:
            terms = [self._term(*term) for term in dim.terms]
            with self._entrance():
                self._sizes[dim] = reduce(arith.addi, terms)
        return self._sizes[dim]

    def _term(self, monomial: Monomial, factor: int) -> ir.Value:
        values = [self._atom(atom) for atom in monomial]
        if factor != 1 or not values:
            values.append(self.constant(factor).ir)
        with self._entrance():
            return reduce(arith.muli, values)

    def _atom(self, atom: Atom) -> ir.Value:
        if isinstance(atom, str):
            return self._symbol(atom)
        numerator, denominator = self._size_of(atom.numerator), self._size_of(atom.denominator)
        divisor = atom.denominator
        shift = divisor.bit_length() - 1 if isinstance(divisor, int) and divisor & (divisor - 1) == 0 else None
        places, zero, minus_one = (self.constant(number).ir for number in (shift or 0, 0, -1))
        with self._entrance():
            if shift is not None:
                return arith.shrsi(numerator, places)
            quotient = arith.divsi(numerator, denominator)  # towards zero; floor is one less below
            rest = arith.subi(numerator, arith.muli(quotient, denominator))
            below = arith.cmpi(2, rest, zero)  # 2: signed less than
            return arith.addi(quotient, arith.select(below, minus_one, zero))

    def _symbol(self, name: str) -> ir.Value:
        if name not in self._sizes:
            if self._array is None:
                raise ValueError(f"this kernel has no size called {name}")
            with self._entrance():
                place = self.displace_bytes(self._array, 8 * self.symbols.index(name))
                loaded = llvm.load(self.type("i64"), place, alignment=8)
                self._sizes[name] = arith.index_cast(self.type("index"), loaded)
        return self._sizes[name]

    def _entrance(self) -> ir.InsertionPoint:
        assert self._anchor is not None, "sizes are computed inside a function"
        return ir.InsertionPoint(self._anchor)
