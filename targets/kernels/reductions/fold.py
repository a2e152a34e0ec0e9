"""Folding: sums, extrema and their places over boxes of memory, vectorised along or across the reduced loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Value
from sparsec.targets.builder import elements as element_types
from sparsec.targets.kernels.space import guess, sweep

LONG = 1024  # terms that one accumulator may add up before it is added to an outer one; bounds the error of long sums


@dataclass(frozen=True)
class Segment:
    """Reduced elements: `offset` plus nested loops of (size, stride), outermost first."""

    offset: Dim
    loops: tuple[tuple[Dim, Dim], ...]

    @property
    def count(self) -> Dim:
        """Elements of the segment."""
        return prod(size for size, _ in self.loops)

    @property
    def guess(self) -> int:
        """Elements, where symbolic sizes count for some."""
        return prod(guess(size) for size, _ in self.loops)


@dataclass(frozen=True)
class Fold:
    """A reduction: `kind` of sp.reduce over elements of type `element`; a mean counts as sum here.

    Another kind is `largest`, a maximum that is arbitrary where an element is NaN, and cheaper.
    """

    kind: str
    element: str
    select_last: bool = False

    @property
    def places(self) -> bool:
        """Whether the result is a place and not a value."""
        return self.kind.startswith("arg")

    @property
    def accumulators(self) -> int:
        """How many independent states hide the latency of a step; places are kept in order and need one."""
        return 1 if self.places else 4

    def start(self, b: Builder, lanes: int | None) -> list[Value]:
        """The state before the first element: one value, and its place."""
        values = [b.constant(self._identity, self.element, lanes)]
        if not self.places:
            return values
        if self.select_last:
            return [*values, b.constant(-1, "i32", lanes)]
        return [*values, b.iota("i32", lanes) if lanes else b.constant(0, "i32")]

    def step(self, b: Builder, state: list[Value], x: Value, place: Value | None, mask: Value | None) -> list[Value]:
        """The state after `x`; lanes outside the mask keep theirs."""
        if mask is not None:
            x = b.select(mask, x, b.constant(self._identity, self.element, x.lanes))
        match self.kind:
            case "sum":
                return [state[0] + x]
            case "sum_square":
                floats = element_types.is_float(self.element)
                return [b.fma(x, x, state[0]) if floats else x * x + state[0]]
            case "prod":
                return [state[0] * x]
            case "max" | "min" | "largest":
                return [_extremum(b, self.kind, x, state[0])]
        assert place is not None, "an argmax needs the place of its element"
        update = self._wins(b, x, state[0])
        update = update if mask is None else update & mask
        return [b.select(update, x, state[0]), b.select(update, place, state[1])]

    def combine(self, b: Builder, left: list[Value], right: list[Value]) -> list[Value]:
        """The state of two disjoint sets of elements; values only."""
        match self.kind:
            case "sum" | "sum_square":
                return [left[0] + right[0]]
            case "prod":
                return [left[0] * right[0]]
        return [_extremum(b, self.kind, left[0], right[0])]

    def across(self, b: Builder, state: list[Value]) -> Value:
        """The result over all lanes."""
        if self.kind == "largest":
            return _largest_lane(b, state[0])
        kinds = {"sum": "add", "sum_square": "add", "prod": "mul", "argmax": "max", "argmin": "min"}
        best = b.reduce(kinds.get(self.kind, self.kind), state[0])
        if not self.places:
            return best
        hit = state[0] == b.broadcast(best, state[0].lanes)
        if element_types.is_float(self.element):
            hit = hit | (state[0] != state[0])
        other = b.constant(-1 if self.select_last else 2**31 - 1, "i32", state[0].lanes)
        return b.reduce("max" if self.select_last else "min", b.select(hit, state[1], other))

    @property
    def _identity(self) -> float:
        if self.kind in ("sum", "sum_square"):
            return 0
        if self.kind == "prod":
            return 1
        low = self.kind in ("max", "argmax", "largest")
        if element_types.is_float(self.element):
            return float("-inf") if low else float("inf")
        width, signed = element_types.bits(self.element), not element_types.is_unsigned(self.element)
        smallest, largest = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if signed else (0, 2**width - 1)
        return smallest if low else largest

    def _wins(self, b: Builder, x: Value, best: Value) -> Value:
        """Whether `x` replaces `best`: NaN beats all numbers; equal elements by `select_last`."""
        better = "gt" if self.kind == "argmax" else "lt"
        floats = element_types.is_float(self.element)
        if self.select_last:
            wins = b.compare("ge" if better == "gt" else "le", x, best)
            return (wins & (best == best)) | (x != x) if floats else wins
        return b.compare(f"u{better}", x, best) & (best == best) if floats else b.compare(better, x, best)


def _largest_lane(b: Builder, x: Value) -> Value:
    while (lanes := x.lanes or 1) > 1:
        low, high = b.slice(x, 0, lanes // 2), b.slice(x, lanes // 2, lanes // 2)
        x = _extremum(b, "largest", low, high)
    return b.extract(x, 0)


def _extremum(b: Builder, kind: str, x: Value, y: Value) -> Value:
    if kind == "largest":
        return b.select(x > y, x, y) if b.isa.x86 else b.max(x, y)  # maxps, fmax, f32x4.max
    return b.max(x, y) if kind == "max" else b.min(x, y)


def amount(b: Builder, count: Dim, element: str, lanes: int | None) -> Value:
    """A number of elements as a value of type `element`; a constant one in all lanes."""
    if isinstance(count, int):
        return b.constant(count, element, lanes)
    return b.convert(b.convert(count, "i64"), element)


Visit = Callable[[list[Index], "Index | None"], None]


def walk(b: Builder, segment: Segment, step: int, unroll: int, visit: Visit, carry: list[Value] | None = None) -> None:
    """Visits the elements of `segment` in order: its innermost loop in vectors of `step` elements (1: one by one)."""
    (size, stride), *rest = segment.loops or ((1, 1),)
    if not rest:
        places = lambda at, count: visit([i * stride + segment.offset for i in at], count)  # noqa: E731
        sweep(b, size, step, unroll, places, carry)
        return
    with b.loop(0, size, carry=carry) as i:
        base = i * stride + segment.offset
        walk(b, Segment(0, tuple(rest)), step, unroll, lambda at, count: visit([j + base for j in at], count), carry)


def fold_along(
    b: Builder, fold: Fold, segments: Sequence[Segment], load: Callable[[Index, Index | None], Value]
) -> Value:
    """The scalar result over all elements of `segments`, whose innermost loops are contiguous.

    `load(offset, count)` gives a vector of elements, of which the first `count` matter (None: all).
    """
    lanes = b.isa.lanes
    carry = [value for _ in range(fold.accumulators) for value in fold.start(b, lanes)]
    width = len(carry) // fold.accumulators

    def visit(offsets: list[Index], count: Index | None) -> None:
        mask = b.mask(count, lanes) if count is not None else None
        for slot, offset in enumerate(offsets):
            value = load(offset, count)
            place = b.broadcast(b.convert(b.as_index(offset), "i32"), lanes) + b.iota("i32") if fold.places else None
            part = slice(slot * width, (slot + 1) * width)
            carry[part] = fold.step(b, carry[part], value, place, mask)

    for segment in segments:
        _walk_in_pieces(b, fold, segment, lanes, visit, carry)
    states = [carry[i : i + width] for i in range(0, len(carry), width)]
    return fold.across(b, reduce(lambda left, right: fold.combine(b, left, right), states))


def fold_across(
    b: Builder, fold: Fold, segments: Sequence[Segment], load: Callable[[Index], list[Value]], slots: int
) -> list[Value]:
    """The results in `slots` independent vectors: `load(offset)` gives what each of them folds at a reduced offset."""
    lanes = b.isa.lanes
    start = [b.constant(0, "i32", lanes)] if fold.places else []
    carry = [value for _ in range(slots) for value in [fold.start(b, lanes)[0], *start]]
    width = len(carry) // slots

    def visit(offsets: list[Index], _count: Index | None) -> None:
        for offset in offsets:
            place = b.broadcast(b.convert(b.as_index(offset), "i32"), lanes) if fold.places else None
            for slot, value in enumerate(load(offset)):
                part = slice(slot * width, (slot + 1) * width)
                carry[part] = fold.step(b, carry[part], value, place, None)

    for segment in segments:
        _walk_in_pieces(b, fold, segment, 1, visit, carry)
    return carry[width - 1 :: width]


def _walk_in_pieces(b: Builder, fold: Fold, segment: Segment, step: int, visit: Visit, carry: list[Value]) -> None:
    """A walk. A long sum is folded in pieces, from zero each, which are then added."""
    unroll = fold.accumulators if step > 1 else 1
    (size, stride), *rest = segment.loops or ((1, 1),)
    inner = prod(guess(n) for n, _ in rest)
    block = max(1, LONG * step * unroll // max(inner, 1))
    if fold.kind not in ("sum", "sum_square") or (isinstance(size, int) and size <= block):
        walk(b, segment, step, unroll, visit, carry)
        return

    def piece(count: Dim, base: Index) -> None:
        outside = list(carry)
        carry[:] = [b.constant(0, value.element, value.lanes) for value in outside]
        part = Segment(0, ((count, stride), *rest))
        walk(b, part, step, unroll, lambda at, n: visit([i + base for i in at], n), carry)
        carry[:] = [x + y for x, y in zip(outside, carry, strict=True)]

    whole = size // block * block
    with b.loop(0, whole, block, carry=carry) as i:
        piece(block, i * stride + segment.offset)
    if whole != size:
        piece(size - whole, whole * stride + segment.offset)
