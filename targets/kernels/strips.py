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

    def spans(self, width: int, spare: int) -> list[Span]:
        """The vectors of a row: parts of equal size that leave `spare` lanes free, where no more are needed for that.

        Else parts are whole vectors, of which the last overlaps its neighbour.
        """
        if width <= self.size:
            return [Span(0, width)]
        part = -(-width // -(-width // self.size))
        if spare and part + spare <= self.size:
            return [Span(start, min(part, width - start)) for start in range(0, width, part)]
        return [Span(min(start, width - self.size), self.size) for start in range(0, width, self.size)]


@dataclass(frozen=True)
class Span:
    """The outputs of a vector: `useful` columns from `start` on; its other lanes are rewritten later, or not stored."""

    start: Index
    useful: int


@dataclass(frozen=True)
class Lanes:
    """Which source elements the vectors of a strip hold: those of `span`, whose columns are `stride` apart."""

    slots: Slots
    stride: int
    span: Span

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

    def moved(self, columns: int, group: int) -> list[int]:
        """For each lane the one that holds the element `columns` further on, where there is one."""
        size, order = self.slots.size, self.order(group)
        lane_of = {output: lane for lane, output in enumerate(order)}
        return [lane_of[output + columns if output % size + columns < size else output] for output in order]


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


@dataclass(frozen=True)
class Row:
    """A source row: where it starts, and how far into its panel that may be; None where only the run knows."""

    offset: Index
    places: tuple[int, ...] | None


class Masks:
    """Constant masks. On ISAs with masked arithmetic LLVM must not see that they are: it would make shuffles of them.

    There they are comparisons with a zero that LLVM does not know: the sign of the kernel's `begin`.
    """

    def __init__(self, b: Builder, begin: Value) -> None:
        self._b = b
        self._zero = b.convert(begin >> 62, "i32") if b.isa.masked_arithmetic else None

    def of(self, lanes: Sequence[bool]) -> Value:
        """The mask that is true in the given lanes."""
        ones = [int(lane) for lane in lanes]
        if self._zero is None:
            return self._b.constants(ones, "i1")
        return self._b.constants(ones, "i32") > self._b.broadcast(self._zero, len(ones))


@dataclass(frozen=True)
class Tap:
    """Source elements for one vector of outputs. Lanes where `mask` is false are beyond the border; None: none is."""

    value: Value
    mask: Value | None

    def filled(self, b: Builder, fill: float) -> Value:
        """The elements, with `fill` beyond the border."""
        if self.mask is None:
            return self.value
        return b.select(self.mask, self.value, b.constant(fill, self.value.element, self.value.lanes))


class Strip:
    """The source vectors of one strip and one row of it, each loaded and split into phases once."""

    def __init__(self, b: Builder, masks: Masks, source: tuple[Ref, Planes], lanes: Lanes, rows: Sequence[Row | None]):
        self.b, self._masks, self._lanes, self._rows = b, masks, lanes, rows
        self._source, self._planes = source
        self._group = 16 // elements.size(self._source.element)
        self._loads: dict[int, Value] = {}
        self._picks: dict[int, Value] = {}

    def tap(self, column: int, first: int, fill: float) -> Tap:
        """The elements at output column × stride + `column` of one row a slot; rows that are None hold `fill`.

        `first` is the first tap's column: taps a multiple of the stride apart share their loads, or are the same
        vector moved by a few lanes where that has lanes to spare.
        """
        return Tap(self._pick(column, first, fill), self._mask(column))

    def _pick(self, column: int, first: int, fill: float) -> Value:
        lanes = self._lanes
        phase, moved = (column - first) % lanes.stride, (column - first) // lanes.stride
        if lanes.stride == 2 and moved and lanes.span.useful + moved <= lanes.slots.size:
            return self.b.permute(self._pick(first + phase, first, fill), lanes.moved(moved, self._group))
        if column not in self._picks:
            parts = [self._vector(column - phase + i * lanes.slots.size, fill) for i in range(lanes.stride)]
            self._picks[column] = pick(self.b, parts, phase, lanes, self._group)
        return self._picks[column]

    def _mask(self, column: int) -> Value | None:
        """Which lanes of a tap lie in their rows; None if all do whose outputs are useful."""
        lanes = self._lanes
        if isinstance(lanes.span.start, Value):  # strips in a loop are those that no border touches
            return None
        outputs = [lane % lanes.slots.size for lane in lanes.order(self._group)]
        columns = [(lanes.span.start + output) * lanes.stride + column for output in outputs]
        inside = [0 <= x < self._planes.width for x in columns]
        if all(x for x, output in zip(inside, outputs, strict=True) if output < lanes.span.useful):
            return None
        return self._masks.of(inside)

    def _vector(self, column: int, fill: float) -> Value:
        if column not in self._loads:
            self._loads[column] = joined(self.b, [self._contiguous(row, column, fill) for row in self._rows])
        return self._loads[column]

    def _contiguous(self, row: Row | None, column: int, fill: float) -> Value:
        """One slot's elements from `column` (relative to the strip's start) on; anything outside the row."""
        b, lanes = self.b, self._lanes.slots.size
        if row is None:
            return b.constant(fill, self._source.element, lanes)
        place = self._lanes.span.start * self._lanes.stride + column
        if not isinstance(place, int):
            return b.vload(self._source, row.offset + place, lanes=lanes)
        inside = [0 <= x < self._planes.width for x in range(place, place + lanes)]
        if not any(inside):
            return b.constant(fill, self._source.element, lanes)
        return self._border(row, place, inside)

    def _border(self, row: Row, column: int, inside: list[bool]) -> Value:
        """A vector that may reach beyond the row, without touching another channel's memory."""
        b, lanes, size = self.b, len(inside), elements.size(self._source.element)
        low, high = 0, self._planes.width
        if row.places is not None:
            low, high = -min(row.places), self._planes.stride - max(row.places)
        if low <= column and column + lanes <= high:
            return b.vload(self._source, row.offset + column, lanes=lanes)
        if high - low >= lanes and not (b.isa.masked_memory and size >= 4):
            moved = min(max(column, low), high - lanes)
            vector = b.vload(self._source, row.offset + moved, lanes=lanes)
            return b.permute(vector, [i + column - moved if x else 0 for i, x in enumerate(inside)])
        mask = b.constants([int(x) for x in inside], "i1")
        return b.vload(self._source, row.offset + column, lanes=lanes, mask=mask)


def in_order(b: Builder, value: Value, lanes: Lanes) -> Value:
    """A sum of taps with its lanes in the order of the columns."""
    order = lanes.order(16 // elements.size(value.element))
    places = [order.index(lane) for lane in range(len(order))]
    if places == sorted(order):
        return value
    return b.permute(value, [place + first for first in range(0, value.lanes or 1, len(order)) for place in places])


def joined(b: Builder, parts: list[Value]) -> Value:
    """The lanes of all parts, whose number is a power of two."""
    while len(parts) > 1:
        parts = [b.concat(low, high) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
