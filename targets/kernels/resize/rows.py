"""Resize of rows and columns of planes: rows are blended into scratch, whose columns are then gathered and blended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.movement.boxes import Range
from sparsec.targets.kernels.movement.movers import REPEATS, cover
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.resize.sampling import Sampling

BLENDED = 2048  # elements of scratch, about


@dataclass(frozen=True)
class ResizeRows(Kernel):
    """A row of results is the sum of `row_taps` rows; each of its elements that of `column_taps` elements.

    `repeat`: each column is written so many times and not looked up; 0 for any other columns. `places` are the columns
    that each column's taps show, [taps][width], where few enough vectors hold them to be permuted by constants.
    """

    sampling: Sampling
    source: Planes
    target: Planes
    row_taps: int
    column_taps: int
    repeat: int
    places: tuple[tuple[int, ...], ...] | None

    @property
    def name(self) -> str:
        columns = f"x{self.repeat}" if self._repeats else f"t{self.column_taps}"
        return f"resize_{self.sampling.mode}_{self.sampling.element}_rows_t{self.row_taps}{columns}"

    @property
    def chunks(self) -> int:
        """Rows of all channels."""
        return self.target.images * self.target.height

    def splits_by(self, images: int) -> bool:
        return self.target.images == images

    @property
    def scratch(self) -> int:
        size = elements.size(self.sampling.computed)
        return self._group * self.source.width * size + 64  # vectors may be read from any element

    @property
    def _repeats(self) -> bool:
        return 1 <= self.repeat <= REPEATS

    def emit(self, b: Builder) -> None:
        item, weight = self.sampling.element, self.sampling.computed
        operands = [item, "i32", weight, "i32", weight, item]
        with (
            b.function(self.symbol, operands) as ((x, rows, row_weights, *columns, y), scratch, begin, end),
            b.loop(begin, end) as chunk,
        ):
            height = self.target.height
            image, row = chunk // height if self.target.images > 1 else 0, chunk % height
            lines = [self._source_row(b, x, rows, tap * height + row, image) for tap in range(self.row_taps)]
            taps = [b.load(row_weights, tap * height + row) for tap in range(self.row_taps)]
            target = y + (self.target.image(image) + self.target.row(row, 1, 0))
            kept = None
            if self.sampling.extrapolation is not None:
                kept = b.load(row_weights, self.row_taps * height + row)
            with b.loop(0, self.target.channels, self._group) as first:
                stop = self._stop(b, first)
                if not self.sampling.nearest:
                    self._blend(b, lines, taps, scratch.view(weight), (first, stop))
                with b.loop(first, stop) as c:
                    line = lines[0] + c * self.source.stride
                    if not self.sampling.nearest:
                        line = scratch.view(weight) + (c - first) * self.source.width
                    self._columns(b, line, columns, kept, target + c * self.target.stride)

    @property
    def _group(self) -> int:
        """Channels that are blended before the first of them is read again: a load of fresh stores waits for them."""
        return max(1, min(self.target.channels, BLENDED // self.source.width))

    def _stop(self, b: Builder, first: Index) -> Index:
        stop, channels = first + self._group, self.target.channels
        if isinstance(stop, int) or channels % self._group == 0:
            return stop
        return b.min(stop, b.constant(channels))

    def _source_row(self, b: Builder, x: Ref, rows: Ref, at: Index, image: Index) -> Ref:
        row = b.convert(b.load(rows, at), "index")
        return x + (self.source.image(image) + self.source.row(row, 1, 0))

    def _blend(self, b: Builder, lines: Sequence[Ref], weights: Sequence[Value], scratch: Ref, channels: Range) -> None:
        """The weighted sums of source rows, in scratch."""
        width = self.source.width
        with b.loop(*channels) as c:

            def move(places: Sequence[Index], lanes: int) -> None:
                for at in places:
                    vectors = [b.vload(line + c * self.source.stride, at, lanes=lanes) for line in lines]
                    total = weighted(b, [self.sampling.load(b, vector) for vector in vectors], weights)
                    b.vstore(total, scratch, (c - channels[0]) * width + at)

            cover(b, width, (0, width), self._lanes(b, self.sampling.computed), move)

    def _columns(self, b: Builder, line: Ref, tables: Sequence[Ref], kept: Value | None, target: Ref) -> None:
        if self._repeats:
            self._repeat_columns(b, line, kept, target)
            return
        indices, weights = tables
        width = self.target.width

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                terms = [self._shown(b, line, indices, at, tap, lanes) for tap in range(self.column_taps)]
                if not self.sampling.nearest:
                    factors = [b.vload(weights, at + tap * width, lanes=lanes) for tap in range(self.column_taps)]
                    terms = [weighted(b, terms, factors)]
                inside = None
                if kept is not None:
                    inside = b.vload(weights, at + self.column_taps * width, lanes=lanes) * kept
                self._store(b, terms[0], inside, target, at)

        cover(b, width, (0, width), self._lanes(b, self.sampling.computed), move)

    def _shown(self, b: Builder, line: Ref, indices: Ref, at: Index, tap: int, lanes: int) -> Value:
        """The elements that a tap of the columns from `at` on shows."""
        if self.places is not None and isinstance(at, int):
            wanted = self.places[tap][at : at + lanes]
            first = min(wanted)
            if max(wanted) - first < lanes and not self.sampling.nearest:
                return b.permute(b.vload(line, first, lanes=lanes), [place - first for place in wanted])
        return b.gather(line, b.vload(indices, at + tap * self.target.width, lanes=lanes))

    def _repeat_columns(self, b: Builder, line: Ref, kept: Value | None, target: Ref) -> None:
        """Columns that are kept, or repeated by permuting vectors."""

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                vector = b.vload(line, at, lanes=lanes)
                for part in range(self.repeat):
                    chosen = [(part * lanes + lane) // self.repeat for lane in range(lanes)]
                    value = vector if self.repeat == 1 else b.permute(vector, chosen)
                    inside = None if kept is None else b.broadcast(kept, lanes)
                    self._store(b, value, inside, target, at * self.repeat + part * lanes)

        cover(b, self.source.width, (0, self.source.width), self._lanes(b, line.element), move)

    def _store(self, b: Builder, value: Value, inside: Value | None, target: Ref, at: Index) -> None:
        if inside is not None:
            value = self.sampling.outside(b, value, inside)
        b.vstore(self.sampling.store(b, value), target, at)

    def _lanes(self, b: Builder, element: str) -> int:
        return b.isa.lanes * 4 // elements.size(element)


def weighted(b: Builder, terms: Sequence[Value], weights: Sequence[Value]) -> Value:
    """The sum of terms times their weights."""
    pairs = list(zip(terms, weights, strict=True))
    return reduce(lambda total, pair: b.fma(pair[0], pair[1], total), pairs[1:], pairs[0][0] * pairs[0][1])
