"""Ranges of symbols whose sizes only a run tells: where choices are made, and the sizes for which memory is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import product as combinations
from math import prod
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from sparsec.ir.dims import Atom, Dim, evaluate, symbols
from sparsec.ir.types import ShapeAttr, TensorType

Ranges: TypeAlias = Mapping[str, tuple[int, int]]
Interval: TypeAlias = tuple[int, int]

MOST_CORNERS = 64
_TYPICAL = 4
_TRIED = 1 << 14


def typical(ranges: Ranges) -> dict[str, int]:
    """The sizes at which layouts, formats and kernels are chosen: a quarter of the highest.

    Small sizes weigh less, as they take less time; the highest is what few runs have.
    """
    return {name: max(low, -(-high // _TYPICAL)) for name, (low, high) in ranges.items()}


def highest(ranges: Ranges) -> dict[str, int]:
    """The largest size of each symbol."""
    return {name: high for name, (_, high) in ranges.items()}


def corners(ranges: Ranges) -> list[dict[str, int]]:
    """The sizes for which memory is planned, each symbol's powers of two and its highest, all with all.

    They are thinned out where there would be more than 64.
    """
    axes = {name: _powers(low, high) for name, (low, high) in sorted(ranges.items())}
    while prod(map(len, axes.values())) > MOST_CORNERS:
        name = max(axes, key=lambda name: len(axes[name]))
        axes[name] = axes[name][::-1][::2][::-1]
    return [dict(zip(axes, sizes, strict=True)) for sizes in combinations(*axes.values())]


def _powers(low: int, high: int) -> list[int]:
    powers = (1 << exponent for exponent in range(high.bit_length()))
    return [*(power for power in powers if low <= power < high), high]


def bounds(dim: Dim, ranges: Ranges) -> Interval:
    """A lower and an upper bound of `dim`; exact for sums of products with factors of one sign."""
    if isinstance(dim, int):
        return dim, dim
    terms = [_times((factor, factor), _product([_atom(a, ranges) for a in atoms])) for atoms, factor in dim.terms]
    return sum(low for low, _ in terms), sum(high for _, high in terms)


def lowest_of(dim: Dim, ranges: Ranges) -> tuple[int, dict[str, int]]:
    """The least that `dim` may be, and the sizes for which it is. Where bounds do not tell, it is found by trying: all
    sizes, or `_TRIED` of them, evenly spread, ends included, where there are more.
    """
    names = sorted(symbols(dim))
    if (low := bounds(dim, ranges)[0]) > 0:
        return low, {}
    each = int(_TRIED ** (1 / len(names)))
    axes = [_samples(*ranges[name], each) for name in names]
    found = ((evaluate(dim, at), at) for sizes in combinations(*axes) for at in [dict(zip(names, sizes, strict=True))])
    return min(found, key=lambda pair: pair[0])  # type: ignore[arg-type, return-value]


def _samples(low: int, high: int, most: int) -> Sequence[int]:
    return [*range(low, high, max(1, -(-(high - low) // most))), high]


def _atom(atom: Atom, ranges: Ranges) -> Interval:
    if isinstance(atom, str):
        return ranges[atom]
    (low, high), (least, most) = bounds(atom.numerator, ranges), bounds(atom.denominator, ranges)
    ends = [end // divisor for end in (low, high) for divisor in (max(least, 1), max(most, 1))]
    return min(ends), max(ends)


def _product(factors: Sequence[Interval]) -> Interval:
    return reduce(_times, factors, (1, 1))


def _times(a: Interval, b: Interval) -> Interval:
    ends = [x * y for x in a for y in b]
    return min(ends), max(ends)


def symbols_of(op: Operation) -> frozenset[str]:
    """The symbols in the types of an op's operands and results."""
    types = (value.type for value in (*op.operands, *op.results))
    shapes = (type_.shape for type_ in types if isinstance(type_, TensorType))
    return frozenset().union(*(symbols(dim) for shape in shapes for dim in shape))


@contextmanager
def fixed_at(op: Operation, sizes: Mapping[str, int]) -> Iterator[None]:
    """Within it an op has these sizes in place of symbols: in the types of operands and results, and in properties."""
    before: dict[SSAValue, TensorType] = {}
    for value in (*op.operands, *op.results):
        if isinstance(value.type, TensorType) and value not in before:
            before[value] = value.type
            value._type = value.type.substitute(dict(sizes))
    properties = {name: each for name, each in op.properties.items() if isinstance(each, ShapeAttr)}
    for name, dims in properties.items():
        op.properties[name] = ShapeAttr(tuple(evaluate(dim, sizes) for dim in dims.data))
    try:
        yield
    finally:
        op.properties.update(properties)
        for value, type_ in before.items():
            value._type = type_


__all__ = [
    "MOST_CORNERS",
    "Ranges",
    "bounds",
    "corners",
    "fixed_at",
    "highest",
    "lowest_of",
    "symbols_of",
    "typical",
]
