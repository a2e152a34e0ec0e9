"""A block of output rows of one channel under a sliding window: its strips, its rows, where results are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.strips import Lanes, Masks, Row, Slots, Span, Strip, Tap, in_order, joined

if TYPE_CHECKING:
    from sparsec.targets.kernels.windows.windows import WindowKernel

UNROLLED = 2  # strips without borders that are written out; more become a loop
LOOPED = 4  # steps that do the same from which on they become a loop, so that LLVM's scheduler keeps them apart

Sums = dict[int, Value]


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
    def add(self, sums: Sums, taps: Callable[[int], Tap], users: Sequence[tuple[int, int]]) -> None:
        """Adds a source row to the sums of `users`, (output row, row of the window); `taps` gives its columns."""

    @abstractmethod
    def nothing(self, lanes: int) -> Value:
        """The sum of a window that holds no element."""

    @abstractmethod
    def start(self, lanes: int) -> list[Value]:
        """What a large window is combined in, before its first tap."""

    @abstractmethod
    def take(self, state: list[Value], tap: Tap, line: Index, column: Index) -> None:
        """Combines one tap of a large window."""

    def count(self, state: list[Value], row: Index) -> None:  # noqa: B027 - most channels count nothing
        """Told of each row of a large window: its number from the first padding row on."""

    def total(self, state: list[Value], place: Place) -> Value:
        """The sum of a large window."""
        return state[0]

    @abstractmethod
    def finish(self, value: Value, place: Place) -> Value:
        """The vector to store for a sum."""


class Block:
    """Writes the code of one channel's block. `place` is the image, the block and the output channel, or pair.

    Step j of a strip reads the source rows up to the last one of output row j's window, and stores that row.
    """

    def __init__(
        self,
        b: Builder,
        masks: Masks,
        kernel: WindowKernel,
        channel: Channel,
        place: tuple[Index, Index, Index],
        run: Run,
    ) -> None:
        self.b, self._masks, self.kernel, self.run, self._channel = b, masks, kernel, run, channel
        self.image, self.block, self.channel = place
        source, target = kernel.source, kernel.target
        size = elements.size(kernel.element)
        self.slots = Slots.fit(b.isa.lanes * 4 // size, target.width, run.rows, 16 // size)
        self.reach = -(-run.rows // self.slots.count)
        multiplier = target.planes // source.planes
        self._source_start = source.image(self.image) + self.channel // multiplier * source.stride
        self._target_start = target.image(self.image) + self.channel * target.stride
        self._source_step = kernel.block * kernel.window.strides[0]

    def emit(self, source: Ref, target: Ref) -> None:
        """All strips of the block, from left to right: each may spoil the columns of the next one."""
        spans = self.slots.spans(self.kernel.target.width, self._spare)
        inner = [span for span in spans if self._is_clean(span)]
        first, last = (spans.index(inner[0]), spans.index(inner[-1])) if len(inner) > UNROLLED else (len(spans), -1)
        for span in spans[:first]:
            self._emit_strip(span, source, target)
        if inner and last > first:
            with self.b.loop(inner[0].start, inner[-1].start + 1, spans[1].start) as start:  # type: ignore[operator]
                self._emit_strip(Span(start, inner[0].useful), source, target)
        for span in spans[max(first, last + 1) :]:
            self._emit_strip(span, source, target)

    @property
    def _spare(self) -> int:
        """Lanes that must be free for taps of stride 2 to be others moved."""
        window = self.kernel.window
        reach = window.column(window.kernel[1] - 1) - window.column(0)
        return reach // 2 if window.strides[1] == 2 else 0

    def target_row(self, row: int) -> Index:
        """Where an output row starts, in elements."""
        return self._target_start + self.kernel.target.row(self.block, self.kernel.block, row)

    def target_place(self, row: int) -> int | None:
        """How far into its panel an output row starts, where that is known."""
        return self.kernel.target.place(self.block, self.kernel.block, row)

    def _is_clean(self, span: Span) -> bool:
        """Whether no vector that a strip loads or stores reaches beyond its row, and it is one of many alike."""
        window, stride, size = self.kernel.window, self.kernel.window.strides[1], self.slots.size
        spans, start = self.slots.spans(self.kernel.target.width, self._spare), span.start
        assert isinstance(start, int)
        first, last = window.column(0), window.column(window.kernel[1] - 1)
        end = last - (last - first) % stride + (start + size) * stride
        inside = (
            start * stride + first >= 0 and end <= self.kernel.source.width and start + size <= self.kernel.target.width
        )
        step = spans[1].start if len(spans) > 1 else size
        assert isinstance(step, int)
        return inside and span.useful == spans[0].useful and start % step == 0

    def _emit_strip(self, span: Span, source: Ref, target: Ref) -> None:
        """All steps of a strip; those that do the same become a loop, which carries the unfinished sums."""
        looped, sums = self._regular(), {}
        emit = partial(self._emit_step, source, target, span)
        for step in range(looped.start if looped else self.reach):
            emit(sums, step, Moved(0, 1))
        if not looped:
            return
        carry = [sums[row] for row in sorted(sums)]
        with self.b.loop(looped.start, looped.stop, carry=carry) as i:
            sums = {looped.start + n: value for n, value in enumerate(carry)}
            emit(sums, looped.start, Moved(i - looped.start, len(looped)))
            carry[:] = [sums[row] for row in sorted(sums)]
        sums = {looped.stop + n: value for n, value in enumerate(carry)}
        for step in range(looped.stop, self.reach):
            emit(sums, step, Moved(0, 1))

    def _emit_step(self, source: Ref, target: Ref, span: Span, sums: Sums, step: int, moved: Moved) -> None:
        window = self.kernel.window
        lanes = Lanes(self.slots, window.strides[1], span)
        if not self._fits_registers:
            self.b.keep_order()
        for row in self._rows_of(step):
            users = self._users(step, row)
            rows = [self._source_row(x, moved) for x in self._in_slots(row, window.strides[0])]
            if users and any(rows):
                strip = Strip(self.b, self._masks, (source, self.kernel.source), lanes, rows)
                self._channel.add(sums, partial(self._tap, strip), users)
        value = sums.pop(step) if step in sums else self._channel.nothing(self.slots.lanes)
        place = Place(self, span, step, moved)
        place.store(self._channel.finish(in_order(self.b, value, lanes), place), target)

    @property
    def _fits_registers(self) -> bool:
        """Whether LLVM may mix steps: AVX2 spilt 420 times in 3 × 3 of stride 2 so, else 31 times.

        NEON holds 3 × 3 of stride 1: 4.0 cycles a multiply-add on Cortex-A53 by llvm-mca, else 6.0 (A55 1.7 and 2.7).
        """
        small = self.kernel.window.kernel == (3, 3) and self.kernel.window.strides == (1, 1)
        return self.b.isa.masked_arithmetic or (self.b.isa.lane_operands and small)

    def _tap(self, strip: Strip, tap: int) -> Tap:
        """A column of the window in the rows of a strip."""
        window = self.kernel.window
        return strip.tap(window.column(tap), window.column(0), self.kernel.stored_fill)

    def _rows_of(self, step: int) -> range:
        """The source rows that a step reads, and some that no window holds where the stride is larger than it."""
        window, last = self.kernel.window, self.kernel.window.kernel[0] - 1
        return range(window.row(step - 1, last) + 1 if step else window.row(0, 0), window.row(step, last) + 1)

    def _users(self, step: int, row: int) -> list[tuple[int, int]]:
        """The output rows from `step` on whose windows hold a source row, and where in the window."""
        window = self.kernel.window
        pairs = ((j, tap) for j in range(step, self.reach) for tap in range(window.kernel[0]))
        return [(j, tap) for j, tap in pairs if window.row(j, tap) == row]

    def _regular(self) -> range:
        """The steps that differ only in their addresses: windows inside the image, rows evenly apart. Empty if few."""
        ahead = (self.kernel.window.kernel[0] - 1) * self.kernel.window.dilations[0] // self.kernel.window.strides[0]
        steps = [step for step in range(1, self.reach - max(ahead, 1)) if self._is_inside(step)]
        if len(steps) < LOOPED or steps != list(range(steps[0], steps[-1] + 1)):
            return range(0)
        stride = self.kernel.window.strides[0]
        gaps = {
            self.kernel.source.gap(self.block, self._source_step, x, x + stride)
            for step in steps[:-1]
            for row in self._rows_of(step)
            for x in self._in_slots(row, stride)
        }
        gaps_out = {self.target_gap(row) for step in steps[:-1] for row in self._in_slots(step, 1)}
        even = len(gaps) == len(gaps_out) == 1 and None not in gaps | gaps_out
        return range(steps[0], steps[-1] + 1) if even else range(0)

    def _is_inside(self, step: int) -> bool:
        """Whether all rows of a step's window, and all that it reads, exist in all slots."""
        window = self.kernel.window
        rows = {window.row(step, tap) for tap in range(window.kernel[0])}
        rows |= {row for row in self._rows_of(step) if self._users(step, row)}
        return all(x in self.run.valid for row in rows for x in self._in_slots(row, window.strides[0]))

    def _in_slots(self, row: int, stride: int) -> list[int]:
        """The row of each slot that goes with `row` of the first one."""
        return [row + slot * self.reach * stride for slot in range(self.slots.count)]

    def target_gap(self, row: int) -> int | None:
        """How far the next output row lies behind a row, where that is known."""
        return self.kernel.target.gap(self.block, self.kernel.block, row, row + 1)

    def _source_row(self, row: int, moved: Moved) -> Row | None:
        """A source row; in a loop, that of its first turn moved on."""
        if row not in self.run.valid:
            return None
        source, stride = self.kernel.source, self.kernel.window.strides[0]
        offset = self._source_start + source.row(self.block, self._source_step, row)
        if not isinstance(moved.by, int):
            offset = moved.by * (source.gap(self.block, self._source_step, row, row + stride) or 0) + offset
        places = [source.place(self.block, self._source_step, row + turn * stride) for turn in range(moved.turns)]
        return Row(offset, None if None in places else tuple(places))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Moved:
    """How many rows a step in a loop is ahead of the first turn's, and how many turns there are."""

    by: Index
    turns: int


@dataclass(frozen=True, eq=False)
class Place:
    """Where a vector of results lies: the columns of `span`, in rows `row` + slot * reach of the block."""

    block: Block
    span: Span
    row: int
    moved: Moved

    @property
    def rows(self) -> list[int]:
        """The output row in each slot, counted from the block's first; those beyond the block hold nothing."""
        return [self.row + slot * self.block.reach for slot in range(self.block.slots.count)]

    def load(self, ref: Ref) -> Value:
        """The vector of another operand that lies as the result does."""
        b, lanes = self.block.b, self.block.slots.size
        rows = [row if row < self.block.run.rows else self.row for row in self.rows]
        counts = [None if self._fits(row) else self.span.useful for row in rows]
        places = zip(map(self._offset, rows), counts, strict=True)
        return joined(b, [b.vload(ref, offset, count, lanes=lanes) for offset, count in places])

    def store(self, value: Value, ref: Ref) -> None:
        """Stores the rows that exist."""
        b, size = self.block.b, self.block.slots.size
        for slot, row in enumerate(self.rows):
            if row < self.block.run.rows:
                count = None if self._fits(row) and self._is_free(slot, row) else self.span.useful
                b.vstore(b.slice(value, slot * size, size), ref, self._offset(row), count)

    def _offset(self, row: int) -> Index:
        offset = self.block.target_row(row) + self.span.start
        if isinstance(self.moved.by, int):
            return offset
        return self.moved.by * (self.block.target_gap(row) or 0) + offset

    def _turns(self, row: int) -> range:
        """The rows that the code for `row` stores, in a loop."""
        return range(row, row + self.moved.turns)

    @property
    def _behind(self) -> int:
        """How many lanes lie behind the row."""
        if not isinstance(self.span.start, int):
            return 0
        return max(0, self.span.start + self.block.slots.size - self.block.kernel.target.width)

    def _fits(self, row: int) -> bool:
        """Whether all lanes of the row's part lie in memory of the same channel."""
        if not self._behind:
            return True
        places = [self.block.target_place(turn) for turn in self._turns(row)]
        target = self.block.kernel.target
        return all(place is not None and place + target.width + self._behind <= target.stride for place in places)

    def _is_free(self, slot: int, row: int) -> bool:
        """Whether the lanes behind a row are padding or rows that this strip, if it is the only one, stores later."""
        if not self._behind:
            return True
        behind = range(1, 1 + -(-self._behind // self.block.kernel.target.width))
        return all(self._is_rewritten(slot, turn, n) for turn in self._turns(row) for n in behind)

    def _is_rewritten(self, slot: int, row: int, behind: int) -> bool:
        target, run, place = self.block.kernel.target, self.block.run, self.block.target_place(row)
        assert place is not None
        last = run.start == self.block.kernel.blocks - 1
        padding = place // target.width + behind >= target.rows or (last and row + behind >= run.rows)
        later = bool(self.span.start == 0) and row + behind < min((slot + 1) * self.block.reach, run.rows)
        return padding or later
