"""Where the sums of a panel begin, and how they go through the epilogue to the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import LINE_BYTES
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.shape import Extra, Tile

TOGETHER = 4  # vectors that go through a long epilogue side by side, to hide latencies


@dataclass(frozen=True)
class Work:
    """One block of K of one panel: `depth` rows of B from `rows` on, for the parts [low, high) of a group's outputs."""

    rows: Ref
    weights: Ref
    output: Output
    group: Index
    block: Index
    depth: Index
    low: Index
    high: Index
    strips: Value | None = None
    """How many strips of tokens there are in this panel, where only the run knows."""
    scratch: Ref | None = None
    near: Ref | None = None
    """The columns of one tile in scratch, one row of B behind the other, where the kernel copies them."""


class Output:
    """The panel of results of one group, with the operands of the epilogue."""

    def __init__(
        self,
        b: Builder,
        kernel: ConvKernel,
        extras: Sequence[Ref],
        target: Ref,
        image: Index,
        panel: Index,
        group: Index,
    ) -> None:
        self.b, self.kernel = b, kernel
        planes = kernel.shape.target
        channel = group * kernel.shape.outputs
        start = planes.image(image) + panel * planes.panel_size + channel * planes.stride
        self._target = target + start
        self._extras = [
            ref + (start if extra.full else image * extra.image + channel * extra.channel)
            for ref, extra in zip(extras, kernel.extras, strict=True)
        ]

    def begin(self, tile: Tile, rows: Sequence[Index], column: Index, block: Index) -> list[Value]:
        """The sums before a block: zero, an operand, or what the blocks before it left; `tile.vectors` for each row."""
        b = self.b
        sums = [b.constant(0.0, "f32", b.isa.lanes)] * (len(rows) * tile.vectors)
        load = lambda ref: [x for row in rows for x in self._load(ref, tile, row, column)]  # noqa: E731
        return self._begun(sums, load, block)

    def _begun(self, sums: list[Value], load: Callable[[Ref], list[Value]], block: Index) -> list[Value]:
        """`load` reads all sums from where they or an operand lie."""
        carried = self.kernel.carried
        first = None if carried is None else self._extras[carried]
        if self.kernel.blocks == 1:
            return sums if first is None else load(first)
        with self.b.if_(block != 0, carry=sums) as branch:
            sums[:] = load(self._target)
        if first is not None:
            with branch.else_():
                sums[:] = load(first)
        return sums

    def finish(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index, block: Index) -> None:
        """Stores the sums after a block, through the epilogue after the last one."""
        if self.kernel.epilogue.is_identity:
            self._store(sums, tile, rows, column)
        elif self.kernel.blocks == 1:
            self._conclude(sums, tile, rows, column)
        else:
            with self.b.if_(block == self.kernel.blocks - 1) as branch:
                self._conclude(sums, tile, rows, column)
            with branch.else_():
                self._store(sums, tile, rows, column)

    def begin_pixel(self, rows: Sequence[Index], column: Index, block: Index) -> list[Value]:
        """As `begin`, for one pixel: a vector with a lane for each of a few rows that follow one another."""
        sums = [self.b.constant(0.0, "f32", self.b.isa.lanes)]
        return self._begun(sums, lambda ref: [self._pixel(ref, rows, column)], block)

    def finish_pixel(self, sums: Value, rows: Sequence[Index], column: Index, block: Index) -> None:
        """As `finish`, for one pixel."""
        results = [sums]
        if not self.kernel.epilogue.is_identity:
            with self.b.if_(block == self.kernel.blocks - 1, carry=results):
                values = [self._pixel_extra(i, rows, column) for i in range(len(self._extras))]
                results[:] = self.kernel.epilogue.emit(self.b, [sums, *values])
        for lane, row in enumerate(rows):
            place = column + row * self.kernel.shape.target.stride
            self.b.store(self.b.extract(results[0], lane), self._target, place)

    def _pixel_extra(self, index: int, rows: Sequence[Index], column: Index) -> Value:
        ref, extra = self._extras[index], self.kernel.extras[index]
        if index == self.kernel.carried:
            return self._nothing
        if extra.full:
            return self._pixel(ref, rows, column)
        if extra.channel:
            return self.b.vload(ref, rows[0], len(rows))
        return self.b.load(ref)

    def _pixel(self, ref: Ref, rows: Sequence[Index], column: Index) -> Value:
        places = [column + row * self.kernel.shape.target.stride for row in rows]
        spare = [self.b.constant(0.0, "f32")] * (self.b.isa.lanes - len(rows))
        return self.b.vector_of([*(self.b.load(ref, place) for place in places), *spare])

    def ask_for(self, tile: Tile, row: Index, column: Index, block: Index) -> None:
        """Prefetches the results of an output that comes soon in the first block, in the last what is added to them."""
        extras = zip(self._extras, self.kernel.extras, strict=True)
        full = [ref for ref, extra in extras if extra.full]
        step = 1 if self.b.isa.x86 else max(1, LINE_BYTES // (4 * self.b.isa.lanes))  # short vectors share their lines
        places = [offset for offset, _ in self._places(tile, row, column)][::step]
        with self.b.if_(block == 0):
            for offset in places:
                self.b.prefetch(self._target, offset, write=True)
        if full:
            with self.b.if_(block == self.kernel.blocks - 1):
                for ref, offset in product(full, places):
                    self.b.prefetch(ref, offset)

    def _conclude(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        """Stores results. A long epilogue goes over the stored sums in a loop, vector by vector.

        Written out for the 24 sums of a tile, a SiLU makes YOLOv8n compile three times as long.
        """
        if not self.kernel.epilogue.is_long:
            self._store(self._epilogue(sums, tile, rows, column), tile, rows, column)
            return
        self._store(sums, tile, rows, column)
        lanes, count = self.b.isa.lanes, min(TOGETHER, tile.vectors)
        whole = tile.vectors // count - (tile.tail is not None and tile.vectors % count == 0)
        step = TOGETHER // count if len(rows) % (TOGETHER // count) == 0 else 1
        with self.b.loop(0, len(rows), step) as index:
            some = [rows[0] + index + i for i in range(step)]
            with self.b.loop(0, whole) as part:
                self.revise(Tile(0, count), some, column + part * (count * lanes))
            if rest := tile.vectors - whole * count:
                self.revise(Tile(0, rest, tail=tile.tail), some, column + whole * (count * lanes))

    def revise(self, tile: Tile, rows: Sequence[Index], column: Index) -> None:
        """The epilogue on stored sums."""
        sums = [value for row in rows for value in self._load(self._target, tile, row, column)]
        self._store(self._epilogue(sums, tile, rows, column), tile, rows, column)

    def _epilogue(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> list[Value]:
        results: list[Value] = []
        for index in range(len(rows)):
            extras = zip(self._extras, self.kernel.extras, strict=True)
            columns = [
                [self._nothing] * tile.vectors
                if number == self.kernel.carried
                else self._extra(ref, extra, tile, rows, index, column)
                for number, (ref, extra) in enumerate(extras)
            ]
            for vector in range(tile.vectors):
                arguments = [sums[index * tile.vectors + vector], *(values[vector] for values in columns)]
                results += self.kernel.epilogue.emit(self.b, arguments)
        return results

    @property
    def _nothing(self) -> Value:
        """What the epilogue adds for an operand that is in the sums already: x + -0.0 is x, and no instruction."""
        return self.b.constant(-0.0, "f32", self.b.isa.lanes)

    def _extra(
        self, ref: Ref, extra: Extra, tile: Tile, rows: Sequence[Index], index: int, column: Index
    ) -> list[Value]:
        """What an operand of the epilogue gives each vector of rows[index]."""
        if extra.full:
            return self._load(ref, tile, rows[index], column)
        return [self.b.load(ref, rows[index] * extra.channel)] * tile.vectors

    def _load(self, ref: Ref, tile: Tile, row: Index, column: Index) -> list[Value]:
        return [self.b.vload(ref, offset, count) for offset, count in self._places(tile, row, column)]

    def _store(self, values: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        places = [place for row in rows for place in self._places(tile, row, column)]
        for value, (offset, count) in zip(values, places, strict=True):
            self.b.vstore(value, self._target, offset, count)

    def _places(self, tile: Tile, row: Index, column: Index) -> Iterator[tuple[Index, int | None]]:
        """Offset and number of lanes (None: all) of each vector of a row."""
        for vector in range(tile.vectors):
            count = tile.tail if vector == tile.vectors - 1 else None
            yield column + (row * self.kernel.shape.target.stride + vector * self.b.isa.lanes), count
