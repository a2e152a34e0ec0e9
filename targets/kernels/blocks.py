"""A block of output rows of one channel under a sliding window: its strips, its rows, where results are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.strips import Lanes, Row, Slots, Strip, joined

if TYPE_CHECKING:
    from sparsec.targets.kernels.windows import WindowKernel

UNROLLED = 2  # strips without borders that are written out; more become a loop


@dataclass(frozen=True)
class Run:
    """Blocks [start, stop) whose windows leave the image in the same rows: one code for all of them.

    `rows` is how many output rows such a block has, `valid` which of its source rows exist, counted from its first.
    """

    start: int
    stop: int
    rows: int
    valid: frozenset[int]


class Channel(ABC):
    """What one output channel does with the taps of its windows."""

    @abstractmethod
    def add(self, sums: dict[int, Value], taps: Callable[[int], Value], users: Sequence[tuple[int, int]]) -> None:
        """Adds a source row to the sums of `users`, (output row, row of the window); `taps` gives its columns."""

    @abstractmethod
    def finish(self, value: Value, place: Place) -> Value:
        """The vector to store for a sum."""


class Block:
    """Writes the code of one channel's block. `place` is the image, the block and the output channel."""

    def __init__(
        self, b: Builder, kernel: WindowKernel, channel: Channel, place: tuple[Index, Index, Index], run: Run
    ) -> None:
        self.b, self.kernel, self.run, self._channel = b, kernel, run, channel
        self.image, self.block, self.channel = place
        source, target = kernel.source, kernel.target
        size = elements.size(kernel.element)
        self.slots = Slots.fit(b.isa.lanes * 4 // size, target.width, run.rows, 16 // size)
        self.reach = -(-run.rows // self.slots.count)
        multiplier = target.channels // source.channels
        self._source_start = source.image(self.image) + self.channel // multiplier * source.stride
        self._target_start = target.image(self.image) + self.channel * target.stride

    def emit(self, source: Ref, target: Ref) -> None:
        """All strips of the block."""
        starts = self.slots.starts(self.kernel.target.width)
        inner = [start for start in starts if self._is_clean(start)]
        inner = [start for start in inner if start % self.slots.size == 0]
        if len(inner) <= UNROLLED:
            inner = []
        for start in starts:
            if start not in inner:
                self._emit_strip(start, source, target)
        if inner:
            with self.b.loop(inner[0], inner[-1] + 1, self.slots.size) as start:
                self._emit_strip(start, source, target)

    def target_row(self, row: int) -> Index:
        """Where an output row starts, in elements."""
        return self._target_start + self.kernel.target.row(self.block, self.kernel.block, row)

    def target_place(self, row: int) -> int | None:
        """How far into its panel an output row starts, where that is known."""
        return self.kernel.target.place(self.block, self.kernel.block, row)

    def _is_clean(self, start: int) -> bool:
        """Whether no vector that a strip loads reaches beyond its row."""
        window, stride = self.kernel.window, self.kernel.window.strides[1]
        first, last = window.column(0), window.column(window.kernel[1] - 1)
        end = last - (last - first) % stride + (start + self.slots.size) * stride
        return start * stride + first >= 0 and end <= self.kernel.source.width

    def _emit_strip(self, start: Index, source: Ref, target: Ref) -> None:
        window = self.kernel.window
        lanes = Lanes(self.slots, window.strides[1], start, min(self.slots.size, self.kernel.target.width))
        strip = Strip(self.b, source, self.kernel.source, lanes, self.kernel.fill)
        sums: dict[int, Value] = {}
        for row in range(window.row(0, 0), window.row(self.reach - 1, window.kernel[0] - 1) + 1):
            users = [(j, t) for j in range(self.reach) for t in range(window.kernel[0]) if window.row(j, t) == row]
            rows = self._source_rows(row)
            if users and any(rows):
                self._channel.add(
                    sums, lambda tap, rows=rows: strip.tap(rows, window.column(tap), -window.pads[1]), users
                )
            for j in [j for j, tap in users if tap == window.kernel[0] - 1]:
                self._store(strip, sums.pop(j, None), Place(self, start, j), target)

    def _tap(self, strip: Strip, rows: Sequence[Row | None], tap: int) -> Value:
        """The source elements of a column of the window in one row a slot."""
        return strip.tap(rows, self.kernel.window.column(tap), self.kernel.window.column(0))

    def _store(self, strip: Strip, value: Value | None, place: Place, target: Ref) -> None:
        if value is None:
            value = self.b.constant(self.kernel.fill, self.kernel.element, self.slots.lanes)
        place.store(self._channel.finish(strip.in_order(value), place), target)

    def _source_rows(self, row: int) -> tuple[Row | None, ...]:
        """The source row of each slot; None where it lies outside the image."""
        step = self.reach * self.kernel.window.strides[0]
        return tuple(self._source_row(row + slot * step) for slot in range(self.slots.count))

    def _source_row(self, row: int) -> Row | None:
        if row not in self.run.valid:
            return None
        source, step = self.kernel.source, self.kernel.block * self.kernel.window.strides[0]
        return Row(self._source_start + source.row(self.block, step, row), source.place(self.block, step, row))


@dataclass(frozen=True, eq=False)
class Place:
    """Where a vector of results lies: from column `start` on, in rows `row` + slot * reach of the block."""

    block: Block
    start: Index
    row: int

    @property
    def rows(self) -> list[int]:
        """The output row in each slot, counted from the block's first; those beyond the block hold nothing."""
        return [self.row + slot * self.block.reach for slot in range(self.block.slots.count)]

    def load(self, ref: Ref) -> Value:
        """The vector of another operand that lies as the result does."""
        b, lanes = self.block.b, self.block.slots.size
        rows = [row if row < self.block.run.rows else self.row for row in self.rows]
        counts = [None if self._fits(row) else self.block.kernel.target.width for row in rows]
        return joined(
            b, [b.vload(ref, self._offset(r), count, lanes=lanes) for r, count in zip(rows, counts, strict=True)]
        )

    def store(self, value: Value, ref: Ref) -> None:
        """Stores the rows that exist."""
        b, size = self.block.b, self.block.slots.size
        for slot, row in enumerate(self.rows):
            if row < self.block.run.rows:
                count = None if self._fits(row) and self._is_free(slot, row) else self.block.kernel.target.width
                b.vstore(b.slice(value, slot * size, size), ref, self._offset(row), count)

    def _offset(self, row: int) -> Index:
        return self.block.target_row(row) + self.start

    def _fits(self, row: int) -> bool:
        """Whether all lanes of the row's part lie in memory of the same channel."""
        target, place = self.block.kernel.target, self.block.target_place(row)
        return place is not None and place + self.block.slots.size <= target.stride

    def _is_free(self, slot: int, row: int) -> bool:
        """Whether the lanes behind a short row are padding or rows that this strip stores later."""
        target, run, place = self.block.kernel.target, self.block.run, self.block.target_place(row)
        assert place is not None
        last = run.start == self.block.kernel.blocks - 1
        for behind in range(1, -(-self.block.slots.size // target.width)):
            padding = place // target.width + behind >= target.rows or (last and row + behind >= run.rows)
            later = row + behind < min((slot + 1) * self.block.reach, run.rows)
            if not padding and not later:
                return False
        return True
