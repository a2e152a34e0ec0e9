"""Strips of source vectors under sliding windows: borders, strides by splitting phases, several rows in a vector.

A strip is one vector wide and walks down the rows. A vector holds one row in each of its slots, so that narrow images
fill it: slot i holds row i * reach of the strip, and one row of the strip is that many image rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.planes import Planes


@dataclass(frozen=True)
class Slots:
    """How rows of `width` elements fill vectors of `lanes`: `count` rows at once, `size` lanes each."""

    lanes: int
    count: int

    @classmethod
    def fit(cls, lanes: int, width: int, rows: int, least: int) -> Slots:
        """The most rows that fit in a vector, of at least `least` lanes each; no more than there are."""
        count = 1
        while lanes // (2 * count) >= max(width, least) and 2 * count <= rows:
            count *= 2
        return cls(lanes, count)

    @property
    def size(self) -> int:
        return self.lanes // self.count

    def starts(self, width: int) -> list[int]:
        """Where the vectors of a row begin; the last overlaps its neighbour, so that none reaches beyond the row."""
        if width <= self.size:
            return [0]
        return [min(start, width - self.size) for start in range(0, width, self.size)]


@dataclass(frozen=True)
class Lanes:
    """Source vectors of a strip that starts at output column `start` (× `stride`), for outputs `useful` of a slot."""

    slots: Slots
    stride: int
    start: Index
    useful: int

    def order(self, group: int) -> list[int]:
        """For each lane of an accumulator the output lane it stands for (see `pick`)."""
        size, count = self.slots.size, self.slots.count
        if self.stride != 2:
            return list(range(self.slots.lanes))
        half = group // 2
        order = []
        for slot in range(count):
            for lane in range(size):
                block, r = lane // group * half, lane % group
                order.append(slot * size + (block + r if r < half else size // 2 + block + r - half))
        return order


def pick(b: Builder, vectors: Sequence[Value], phase: int, lanes: Lanes, group: int) -> Value:
    """Every `stride`-th element of the slots' consecutive `vectors`, from `phase` on.

    At stride 2 the lanes come out in the order of one shuffle inside 128 bits (`Lanes.order`), not in that of the
    columns: all taps agree on it, and one permutation of the sum corrects it.
    """
    size, total = lanes.slots.size, lanes.slots.lanes
    if lanes.stride == 1:
        return vectors[0]
    if lanes.stride == 2:
        half = group // 2
        source = [
            i // group * group + 2 * (i % group % half) + (0 if i % group < half else total) for i in range(total)
        ]
        return b.shuffle(vectors[0], vectors[1], [i + phase for i in source])
    picked = vectors[0]
    for index, vector in enumerate(vectors):
        wanted = [(i % size * lanes.stride + phase) for i in range(total)]
        source = [i // size * size + w % size + total if w // size == index else i for i, w in enumerate(wanted)]
        picked = b.shuffle(picked, vector, source)
    return picked


class Strip:
    """The source vectors of one strip, each loaded and split into phases once."""

    def __init__(self, b: Builder, source: Ref, planes: Planes, lanes: Lanes, fill: float) -> None:
        self.b, self.source, self.planes, self.lanes, self.fill = b, source, planes, lanes, fill
        self.group = 16 // elements.size(source.element)
        self._phases: dict[tuple, Value] = {}
        self._loads: dict[tuple, Value] = {}

    def tap(self, rows: Sequence[Row | None], column: int, first: int) -> Value:
        """The source elements at output column × stride + `column` of one row a slot; `fill` for None and at borders.

        `first` is the first tap's column: taps a multiple of the stride apart share their loads.
        """
        phase = (column - first) % self.lanes.stride
        start = column - phase
        key = tuple(rows), start, phase
        if key not in self._phases:
            size = self.lanes.slots.size
            wanted = self._needed(start)
            parts = [self._vector(rows, start + i * size, wanted) for i in range(self.lanes.stride)]
            self._phases[key] = pick(self.b, parts, phase, self.lanes, self.group)
        return self._phases[key]

    def in_order(self, value: Value) -> Value:
        """A sum of taps with its lanes in the order of the columns."""
        order = self.lanes.order(self.group)
        places = [order.index(lane) for lane in range(len(order))]
        return value if order == places == sorted(order) else self.b.permute(value, places)

    def _needed(self, start: int) -> int:
        """Behind the last column that a useful output reads, phases included."""
        return start + self.lanes.useful * self.lanes.stride

    def _vector(self, rows: Sequence[Row | None], column: int, needed: int) -> Value:
        key = tuple(rows), column
        if key not in self._loads:
            parts = [self._contiguous(row, column, needed) for row in rows]
            self._loads[key] = joined(self.b, parts)
        return self._loads[key]

    def _contiguous(self, row: Row | None, column: int, needed: int) -> Value:
        """One slot's elements from `column` (relative to the strip's start) on."""
        b, lanes = self.b, self.lanes.slots.size
        if row is None:
            return b.constant(self.fill, self.source.element, lanes)
        place = self.lanes.start * self.lanes.stride + column
        if not isinstance(place, int):  # strips in a loop are those that no border touches
            return b.vload(self.source, row.offset + place, lanes=lanes)
        inside = [0 <= x < self.planes.width for x in range(place, place + lanes)]
        if not any(inside):
            return b.constant(self.fill, self.source.element, lanes)
        return self._border(row, place, inside, all(inside[: max(0, needed - column)]))

    def _border(self, row: Row, column: int, inside: list[bool], clean: bool) -> Value:
        """A vector that may reach beyond the row: lanes not `inside` become `fill`, or anything where `clean`."""
        b, lanes, element = self.b, len(inside), self.source.element
        low, high = (0, self.planes.width) if row.place is None else (-row.place, self.planes.stride - row.place)
        safe = low <= column and column + lanes <= high
        maskable = b.isa.masked_memory and elements.size(element) >= 4
        filler = b.constant(self.fill, element, lanes)
        if not safe and not maskable and high - low >= lanes:
            moved = min(max(column, low), high - lanes)
            vector = b.vload(self.source, row.offset + moved, lanes=lanes)
            return b.shuffle(vector, filler, [i + column - moved if x else lanes for i, x in enumerate(inside)])
        mask = b.constants([int(x) for x in inside], "i1")
        plain = safe and (clean or not maskable)
        vector = b.vload(self.source, row.offset + column, lanes=lanes, mask=None if plain else mask)
        return vector if clean or not (plain or self.fill) else b.select(mask, vector, filler)


def joined(b: Builder, parts: list[Value]) -> Value:
    """The lanes of all parts, whose number is a power of two."""
    while len(parts) > 1:
        parts = [b.concat(low, high) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@dataclass(frozen=True, eq=False)
class Row:
    """A source row: where it starts, and how far into its panel that is (None where only the run knows)."""

    offset: Index
    place: int | None
