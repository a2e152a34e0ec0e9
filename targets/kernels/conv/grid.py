"""A padded copy of the source in bf16 pairs of channels, from which convolutions read each tap as a shift.

For one panel of the result, the copy holds a plane for each two channels and each column of taps. A plane is cut into
phases, one for each remainder of a row of taps by the stride, so that what lies under one tap of neighbouring results
is one run of a plane, moved by whole rows. Rows are `pitch` apart: as wide as the results, or so much wider that runs
begin on lines, without which AMX takes up to twice the time (64 channels of 56 × 56: 13.9 ns a product, then 7.1).

Few channels are unfolded: the elements under each tap of a kernel row count as channels of their own, so that a step of
32 products along K is not mostly empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.conv.pack import row_exists
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.pairs import pair

Side = tuple[Ref | None, int]
"""A row of the source (None: zeros), and how far its first column is moved, before padding."""

STEP = 16  # pairs along K in a step of the kernels
MISALIGNED = 0.6  # of the time of a product, what it costs that its run does not begin on a line


@dataclass(frozen=True)
class Grid:
    """The sizes of the copy; `aligned` if its runs should begin on lines."""

    shape: ConvShape
    aligned: bool = True

    @property
    def borrowed(self) -> bool:
        """Whether there is no copy: the source lies in pairs, in panels that are those of the results."""
        return self.shape.direct and self.shape.source.pairs and self.channels % (2 * STEP) == 0

    @property
    def reach(self) -> int:
        """Rows of the source that the last row of results of a panel may read: the copy is of whole phases."""
        if self.shape.direct:
            return 1
        return (self.rows - self.shape.target.rows) * self._stride + self.phases[-1] + 1

    @cached_property
    def unfolded(self) -> bool:
        """Whether the taps of a kernel row are channels."""
        width = self.shape.window.kernel[1]
        return width > 1 and self.shape.channels * width <= 2 * STEP

    @property
    def channels(self) -> int:
        """Channels of the copy, before they are paired."""
        return self.shape.channels * (self.shape.window.kernel[1] if self.unfolded else 1)

    @property
    def groups(self) -> int:
        """Steps of 16 pairs that hold the channels; the last one is filled with zeros."""
        return -(-self.channels // (2 * STEP))

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of the window over the copy."""
        height, width = self.shape.window.kernel
        return height, 1 if self.unfolded else width

    @property
    def plain(self) -> bool:
        """Whether rows of results lie behind one another, as in the panel."""
        return self.pitch == self.shape.target.width or self.shape.target.rows == 1

    @cached_property
    def pitch(self) -> int:
        """Pairs from one row of results to the next."""
        width = self.shape.target.width
        if not self.aligned:
            return width
        wider = (-(-width // part) * part for part in (LINE // 2, LINE))
        return min((width, *wider), key=lambda pitch: (self._time(pitch), pitch))

    @property
    def pixel(self) -> int:
        """Pairs from one pixel of a row to the next."""
        return 1

    @property
    def rows(self) -> int:
        """Rows of a phase."""
        return self.shape.target.rows + (self.taps[0] - 1) * self._dilation // self._stride

    @property
    def phases(self) -> list[int]:
        """The remainders of rows of taps by the stride: all that many have, 0, gcd, 2 · gcd, ...; 0 if there is one."""
        if self.taps[0] == 1:
            return [0]
        return list(range(0, self._stride, gcd(self._dilation, self._stride)))

    @property
    def plane(self) -> int:
        """Pairs from one plane to the next: an odd number of lines, to spread planes over all sets of the cache."""
        if self.borrowed:
            return self.shape.source.stride
        lines = -(-len(self.phases) * self.rows * self.pitch // LINE)
        return (lines + 1 - lines % 2) * LINE

    @property
    def columns(self) -> int:
        """Results of a panel with the gaps between rows, in whole lines."""
        return -(-self.shape.target.rows * self.pitch // LINE) * LINE

    @property
    def size(self) -> int:
        """Pairs of the whole copy, with what the last runs read behind it."""
        return 0 if self.borrowed else self.groups * self.taps[1] * STEP * self.plane + 2 * LINE

    def run(self, group: Index, i: Index, j: Index) -> Index:
        """Where the runs of 16 planes under tap (i, j) begin."""
        moved = i * self._dilation
        phase = moved % self._stride // gcd(self._dilation, self._stride)
        row = phase * self.rows + moved // self._stride
        return (group * self.taps[1] + j) * (STEP * self.plane) + row * self.pitch

    def plane_of(self, pair: Index, j: Index = 0) -> Index:
        """Where the plane of a pair of channels for a column of taps begins."""
        return (pair // STEP * self.taps[1] + j) * (STEP * self.plane) + pair % STEP * self.plane

    def _time(self, pitch: int) -> float:
        """What products take where rows are `pitch` apart, in those of one aligned tile."""
        tiles = -(-self.shape.target.rows * pitch // LINE)
        off = sum(i * self._dilation // self._stride * pitch % LINE != 0 for i in range(self.taps[0]))
        return tiles * (1 + MISALIGNED * off / self.taps[0])

    @property
    def _stride(self) -> int:
        return self.shape.window.strides[0]

    @property
    def _dilation(self) -> int:
        return self.shape.window.dilations[0]


@dataclass(frozen=True)
class Padding:
    """Writes the copy of one panel. What no element of the source reaches stays as it is: zeros."""

    b: Builder
    grid: Grid

    def clear(self, copy: Ref) -> None:
        """Zeros where no panel writes: around images, and behind the last channel."""
        grid, window = self.grid, self.grid.shape.window
        around = window.kernel != (1, 1) or any(window.pads)
        first = 0 if around else -(-grid.channels // 2)
        if first < grid.groups * STEP and not grid.borrowed:
            self.b.memset(copy + first * grid.plane, 0, (grid.size - 2 * LINE - first * grid.plane) * 4)

    def emit(self, source: Ref, copy: Ref, panel: Index) -> Ref:
        """Copies what a panel of results needs; `source` is the image. Where its pairs now lie."""
        if self.grid.shape.direct:
            source = source + panel * self.grid.shape.source.panel_size
            if self.grid.borrowed:
                return source
            self._whole(source, copy)
            return copy
        for phase, remainder in enumerate(self.grid.phases):
            with self.b.loop(0, self.grid.rows) as row:
                self._row(source, copy, (panel, row), phase, remainder)
        return copy

    def _whole(self, source: Ref, copy: Ref) -> None:
        """A panel whose pixels are those of the results."""
        shape, grid, lanes = self.grid.shape, self.grid, self.b.isa.lanes
        full, odd = divmod(shape.channels, 2)
        with self.b.loop(0, full) as index:
            sides, target = self._sides(source, index), copy + index * grid.plane
            with self.b.loop(0, shape.source.stride, lanes) as at:
                self._store(sides, target, at, lanes)
        if odd:
            low, target = source + full * 2 * shape.source.stride, copy + full * grid.plane
            with self.b.loop(0, shape.source.stride, lanes) as at:
                self._store((low, None), target, at, lanes)

    def _row(self, source: Ref, copy: Ref, place: tuple[Index, Index], phase: int, remainder: int) -> None:
        """One row of a phase in all planes: copied, or zeros where it is outside the image."""
        b, grid, shape = self.b, self.grid, self.grid.shape
        panel, row = place
        window, planes = shape.window, shape.source
        base, low = (panel * shape.target.rows + row) * window.strides[0], remainder - window.pads[0]
        target = copy + (row * (grid.pitch * grid.pixel) + phase * grid.rows * grid.pitch)
        inside = self._inside(base, low)
        if inside is None:
            self._pairs(source + planes.row(base, 1, low), target)
            return
        with b.if_(inside) as branch:
            self._pairs(source + planes.row(base, 1, low), target)
        with branch.else_():
            self._pairs(None, target)

    def _inside(self, base: Index, low: int) -> Value | bool | None:
        """Whether image row base + low exists; None where it always does."""
        shape = self.grid.shape
        rows = (shape.target.panels - 1) * shape.target.rows + self.grid.rows
        return row_exists(base, low, (rows - 1) * shape.window.strides[0] + low, shape.source.height)

    def _sides(self, source: Ref | None, index: Index) -> tuple[Ref | None, Ref | None]:
        """The planes of a pair of channels; where the source lies in pairs, they are one."""
        if source is None:
            return None, None
        stride = self.grid.shape.source.stride
        if self.grid.shape.source.pairs:
            return source + index * stride, None
        low = source + index * (2 * stride)
        return low, low + stride

    def _joined(self, low: Value, high: Value | None) -> Value:
        """Pairs from what was loaded of the two sides."""
        zero = self.b.constant(0.0, "f32", low.lanes)
        return low if self.grid.shape.source.pairs else pair(self.b, low, zero if high is None else high)

    def _pairs(self, source: Ref | None, target: Ref) -> None:
        """One row in all planes."""
        grid, stride = self.grid, self.grid.shape.source.stride
        if grid.unfolded:
            self._unfolded(source, target)
            return
        full, odd = divmod(grid.channels, 2)
        with self.b.loop(0, full) as index:
            self._copies(*self._sides(source, index), target, index)
        if odd:
            self._copies(None if source is None else source + full * 2 * stride, None, target, full)

    def _copies(self, low: Ref | None, high: Ref | None, target: Ref, index: Index) -> None:
        """One row of a pair of channels, moved for each column of taps."""
        grid, window = self.grid, self.grid.shape.window
        plane = target + grid.plane_of(index)
        row = self._converted(low, high) if self.b.isa.masked_memory and window.strides[1] == 1 else None
        for j in range(grid.taps[1]):
            offset, to = j * window.dilations[1], plane + j * STEP * grid.plane
            if row is None:
                self._segment((low, offset), (high, offset), to)
            else:
                self._move(row, offset - window.pads[1], to)

    def _converted(self, low: Ref | None, high: Ref | None) -> list[Value]:
        """A row of a pair of channels in registers, zeros behind its end."""
        b, width = self.b, self.grid.shape.source.width
        lanes = b.isa.lanes
        vectors: list[Value] = []
        for at in range(0, width, lanes):
            sides = [None if x is None else b.vload(x, at, width - at) for x in (low, high)]
            vectors.append(b.constant(0, "i32", lanes) if sides[0] is None else self._joined(sides[0], sides[1]))
        return vectors

    def _move(self, row: list[Value], offset: int, target: Ref) -> None:
        """Stores a row from its element `offset` on, with zeros around it: each vector made of two."""
        b, lanes, pitch = self.b, self.b.isa.lanes, self.grid.pitch
        zero = b.constant(0, "i32", lanes)
        for at in range(0, min(pitch, -(-self.grid.shape.target.width // lanes) * lanes), lanes):
            first, place = divmod(at + offset, lanes)
            low, high = (row[i] if 0 <= i < len(row) else zero for i in (first, first + 1))
            value = low if place == 0 else b.shuffle(low, high, range(place, place + lanes))
            b.vstore(value, target, at, pitch - at)

    def _unfolded(self, source: Ref | None, target: Ref) -> None:
        width, dilation = self.grid.shape.window.kernel[1], self.grid.shape.window.dilations[1]
        for index in range(-(-self.grid.channels // 2)):
            sides: list[Side] = []
            for channel in (2 * index, 2 * index + 1):
                number, tap = divmod(channel, width)
                row = None
                if source is not None and channel < self.grid.channels:
                    row = source + number * self.grid.shape.source.stride
                sides.append((row, tap * dilation))
            self._segment(sides[0], sides[1], target + index * self.grid.plane)

    def _segment(self, low: Side, high: Side, target: Ref) -> None:
        """Columns of a row of two sides."""
        offsets = [offset - self.grid.shape.window.pads[1] for _, offset in (low, high)]
        pieces = [self._columns(offset) for offset in offsets]
        if low[0] is None and high[0] is None:
            self._cover((None, None), target, min(start for start, _ in pieces), max(stop for _, stop in pieces))
            return
        first, last = max(start for start, _ in pieces), min(stop for _, stop in pieces)
        refs = [ref + o if ref is not None else None for (ref, _), o in zip((low, high), offsets, strict=True)]
        self._cover((refs[0], refs[1]), target, first, last)
        for side, piece in enumerate(pieces):  # columns that only one of two unfolded taps has
            for at in range(*piece):
                if not first <= at < last and refs[side] is not None:
                    self._store((refs[0], None) if side == 0 else (None, refs[1]), target, at, 1)

    def _columns(self, offset: int) -> tuple[int, int]:
        """Columns of a row whose source column exists."""
        step, shape = self.grid.shape.window.strides[1], self.grid.shape
        low = max(0, -(offset // step))
        return low, max(low, min(shape.target.width, (shape.source.width - 1 - offset) // step + 1))

    def _cover(self, refs: tuple[Ref | None, Ref | None], target: Ref, first: int, last: int) -> None:
        """The columns [first, last): the last vector is masked, or where it cannot be, narrower or overlaps."""
        lanes = self.b.isa.lanes
        if self.b.isa.masked_memory and self.grid.shape.window.strides[1] == 1:
            for at in range(first, last, lanes):
                self._store(refs, target, at, lanes, last - at)
            return
        while lanes > max(last - first, 1):
            lanes //= 2
        for at in range(first, last, lanes):
            self._store(refs, target, min(at, last - lanes), lanes)

    def _store(
        self, refs: tuple[Ref | None, Ref | None], target: Ref, at: Index, lanes: int, count: int | None = None
    ) -> None:
        """Columns from `at` on, of every `stride`th element of the two sources."""
        b, step = self.b, self.grid.shape.window.strides[1]
        if refs == (None, None):
            b.vstore(b.constant(0, "i32", lanes), target, at, count)
            return
        low, high = (None if r is None else b.vload_strided(r, at * step, step, count, lanes=lanes) for r in refs)
        if low is None:
            low = b.constant(0.0, "f32", lanes)
        b.vstore(self._joined(low, high), target, at, count)
