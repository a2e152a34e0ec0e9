"""A padded copy of the source in bf16 pairs of channels, from which convolutions read each tap as a shift.

For one panel of the result, the copy holds one plane for each two channels. A plane is cut into phases, one for each
remainder of a tap by the strides, so that neighbours in a row of a phase lie under one tap of neighbouring results.
Tap (i, j) of all results of the panel is then one run of a plane, moved by a constant: no im2col. Rows of results are
`pitch` apart, somewhat more than their width; what is computed in between is not stored.

Few channels are unfolded: the elements under each tap of a kernel row count as channels of their own, so that a step of
32 products along K is not mostly empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.pairs import pair

Side = tuple[Ref | None, int]
"""A row of the source (None: zeros), and how far its first column is moved, before padding."""

STEP = 16  # pairs along K in a step of the kernels


@dataclass(frozen=True)
class Grid:
    """The sizes of the copy."""

    shape: ConvShape

    @property
    def unfolded(self) -> bool:
        """Whether the taps of a kernel row are channels."""
        width = self.shape.window.kernel[1]
        return width > 1 and self.shape.channels * width <= 2 * STEP

    @property
    def channels(self) -> int:
        """Channels of the copy, before they are paired."""
        return self.shape.channels * (self.shape.window.kernel[1] if self.unfolded else 1)

    @property
    def planes(self) -> int:
        """Pairs of channels, those of zeros that fill the last step included."""
        return -(-self.channels // (2 * STEP)) * STEP

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of the window over the copy."""
        height, width = self.shape.window.kernel
        return height, 1 if self.unfolded else width

    @property
    def plain(self) -> bool:
        """Whether rows of results lie behind one another, as in the panel."""
        return self.pitch == self.shape.target.width

    @property
    def pitch(self) -> int:
        """Pairs from one row of results to the next."""
        if self.taps[1] == 1:
            return self.shape.target.width
        return self.shape.target.width + (self.taps[1] - 1) * self.shape.window.dilations[1] // self._strides[1]

    @property
    def rows(self) -> int:
        """Rows of a phase."""
        return self.shape.target.rows + (self.taps[0] - 1) * self.shape.window.dilations[0] // self._strides[0]

    @property
    def phases(self) -> tuple[list[int], list[int]]:
        """The remainders of rows and of columns of taps by the strides."""
        return self._remainders(0), [0] if self.unfolded else self._remainders(1)

    @property
    def plane(self) -> int:
        """Pairs from one plane to the next: an odd number of lines, to spread planes over all sets of the cache."""
        lines = -(-len(self.phases[0]) * len(self.phases[1]) * self.rows * self.pitch // LINE)
        return (lines + 1 - lines % 2) * LINE

    @property
    def columns(self) -> int:
        """Results of a panel with the gaps between rows, in whole lines."""
        return -(-self.shape.target.rows * self.pitch // LINE) * LINE

    @property
    def size(self) -> int:
        """Pairs of the whole copy, with what the last runs read behind it."""
        return self.planes * self.plane + self.pitch - self.shape.target.width + 2 * LINE

    def tap(self, i: Index, j: Index) -> Index:
        """Where the run of a tap begins in a plane."""
        down, row = self._phase(0, i)
        across, column = (0, 0) if self.unfolded else self._phase(1, j)
        return ((row * len(self.phases[1]) + column) * self.rows + down) * self.pitch + across

    def _phase(self, axis: int, tap: Index) -> tuple[Index, Index]:
        """How far a tap moves along its phase, and the number of the phase: remainders are 0, gcd, 2 · gcd, ..."""
        dilation, stride = self.shape.window.dilations[axis], self._strides[axis]
        moved = tap * dilation
        return moved // stride, moved % stride // gcd(dilation, stride)

    @property
    def _strides(self) -> tuple[int, int]:
        return self.shape.window.strides

    def _remainders(self, axis: int) -> list[int]:
        """All that many taps have, 0, gcd, 2 · gcd, ...; just 0 where there is one."""
        window = self.shape.window
        if window.kernel[axis] == 1:
            return [0]
        return list(range(0, window.strides[axis], gcd(window.dilations[axis], window.strides[axis])))


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
        if first < grid.planes:
            self.b.memset(copy + first * grid.plane, 0, (grid.planes - first) * grid.plane * 4)

    def emit(self, source: Ref, copy: Ref, panel: Index) -> None:
        """Copies what a panel of results needs; `source` is the image."""
        if self.grid.shape.direct:
            self._whole(source + panel * self.grid.shape.source.panel_size, copy)
            return
        for phase, remainder in enumerate(self.grid.phases[0]):
            with self.b.loop(0, self.grid.rows) as row:
                self._row(source, copy, (panel, row), phase, remainder)

    def _whole(self, source: Ref, copy: Ref) -> None:
        """A panel whose pixels are those of the results."""
        shape, grid, lanes = self.grid.shape, self.grid, self.b.isa.lanes
        full, odd = divmod(shape.channels, 2)
        with self.b.loop(0, full) as index:
            low, target = source + index * (2 * shape.source.stride), copy + index * grid.plane
            with self.b.loop(0, shape.source.stride, lanes) as at:
                self._store((low, low + shape.source.stride), target, at, 1, lanes)
        if odd:
            low, target = source + full * 2 * shape.source.stride, copy + full * grid.plane
            with self.b.loop(0, shape.source.stride, lanes) as at:
                self._store((low, None), target, at, 1, lanes)

    def _row(self, source: Ref, copy: Ref, place: tuple[Index, Index], phase: int, remainder: int) -> None:
        """One row of a phase in all planes: copied, or zeros where it is outside the image."""
        b, grid, shape = self.b, self.grid, self.grid.shape
        panel, row = place
        window, planes = shape.window, shape.source
        base, low = (panel * shape.target.rows + row) * window.strides[0], remainder - window.pads[0]
        target = copy + (row * grid.pitch + phase * len(grid.phases[1]) * grid.rows * grid.pitch)
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
        height, rows = shape.source.height, (shape.target.panels - 1) * shape.target.rows + self.grid.rows
        last = (rows - 1) * shape.window.strides[0] + low
        if low >= 0 and last < height:
            return None
        if isinstance(base, int):
            return 0 <= base + low < height
        conditions = [base >= -low] if low < 0 else []
        if last >= height:
            conditions.append(base < height - low)
        return conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]

    def _pairs(self, source: Ref | None, target: Ref) -> None:
        """One row in all planes."""
        grid, stride = self.grid, self.grid.shape.source.stride
        if grid.unfolded:
            self._unfolded(source, target)
            return
        full, odd = divmod(grid.channels, 2)
        with self.b.loop(0, full) as index:
            low = None if source is None else source + index * (2 * stride)
            self._phases(low, None if low is None else low + stride, target + index * grid.plane)
        if odd:
            self._phases(None if source is None else source + full * 2 * stride, None, target + full * grid.plane)

    def _phases(self, low: Ref | None, high: Ref | None, target: Ref) -> None:
        """One row of a pair of channels, in each phase of columns."""
        for phase, remainder in enumerate(self.grid.phases[1]):
            to = target + phase * self.grid.rows * self.grid.pitch
            self._segment((low, remainder), (high, remainder), to)

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
        shape, step = self.grid.shape, self.grid.shape.window.strides[1]
        offsets = [offset - shape.window.pads[1] for _, offset in (low, high)]
        pieces = [self._columns(offset) for offset in offsets]
        if low[0] is None and high[0] is None:
            first, last = min(start for start, _ in pieces), max(stop for _, stop in pieces)
            lanes = _lanes(self.b.isa.lanes, last - first)
            for at in _starts(first, last, lanes):
                self.b.vstore(self.b.constant(0, "i32", lanes), target, at)
            return
        first, last = max(start for start, _ in pieces), min(stop for _, stop in pieces)
        lanes = _lanes(self.b.isa.lanes, last - first)
        refs = [ref + o if ref is not None else None for ref, o in zip((low[0], high[0]), offsets, strict=True)]
        for at in _starts(first, last, lanes):
            self._store((refs[0], refs[1]), target, at, step, lanes)
        for side, piece in enumerate(pieces):  # columns that only one of two unfolded taps has
            for at in range(*piece):
                if not first <= at < last and refs[side] is not None:
                    self._store((refs[0], None) if side == 0 else (None, refs[1]), target, at, step, 1)

    def _columns(self, offset: int) -> tuple[int, int]:
        """Columns of a phase whose source column exists."""
        step, width = self.grid.shape.window.strides[1], self.grid.shape.source.width
        low = max(0, -(offset // step))
        return low, max(low, min(self.grid.pitch, (width - 1 - offset) // step + 1))

    def _store(self, refs: tuple[Ref | None, Ref | None], target: Ref, at: Index, step: int, lanes: int) -> None:
        """Columns from `at` on, of every `step`th element of the two sources."""
        b = self.b
        zero = b.constant(0.0, "f32", lanes)
        low, high = (zero if ref is None else b.vload_strided(ref, at * step, step, lanes=lanes) for ref in refs)
        b.vstore(pair(b, low, high), target, at)


def _starts(first: int, last: int, lanes: int) -> list[int]:
    """Where vectors begin that cover [first, last); the last one overlaps."""
    return [min(start, last - lanes) for start in range(first, last, lanes)]


def _lanes(most: int, columns: int) -> int:
    """The widest vector that fits in `columns`."""
    while most > max(columns, 1):
        most //= 2
    return most
