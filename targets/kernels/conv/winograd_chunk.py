"""The transforms of Winograd convolutions: image rows to points, and sums at points to image rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.kernels.conv.winograd_formulas import (
    POINTS,
    SIDE,
    TAPS,
    deinterleave,
    from_points,
    interleave,
    load_runs,
    store_runs,
    to_points,
)
from sparsec.targets.kernels.conv.winograd_tiling import Tiling


@dataclass(frozen=True)
class Scratch:
    """Padded rows of a few channels, a tile between its two transforms, and at the points inputs, weights and sums."""

    padded: Ref
    tile: Ref
    v: Ref
    u: Ref
    m: Ref


@dataclass(frozen=True)
class Chunk:
    """Transforms for the chunk `index` of an image, which has `rows` rows of tiles; whether it is the `last`."""

    b: Builder
    tiling: Tiling
    scratch: Scratch
    index: Index
    rows: int
    last: bool

    @property
    def columns(self) -> int:
        """Floats in a row of V."""
        return self.tiling.columns(self.rows)

    def read(self, source: Ref) -> None:
        """The image `source`, as far as this chunk needs it, to V."""
        tiling, b = self.tiling, self.b
        channels = tiling.shape.channels
        with b.loop(0, channels, tiling.batch) as first:
            count: Index = tiling.batch
            if channels % tiling.batch:
                count = b.min(b.as_index(tiling.batch), channels - b.as_index(first))
            self._pad(source + first * tiling.shape.source.stride, count)
            with b.loop(0, count) as channel:
                padded = self.scratch.padded + channel * tiling.padded_channel
                depth = (first + channel) * (tiling.depth // channels)
                transform = self._squares_to_points if tiling.across else self._columns_to_points
                transform(padded, self.scratch.v + depth * self.columns)

    def write(self, sums: Ref, target: Ref) -> None:
        """The sums of an output at all points to its rows in the chunk's first panel, `target`, and those behind."""
        if self.tiling.across:
            self._points_to_squares(sums, target)
        else:
            self._points_to_columns(sums, target)

    def _pad(self, source: Ref, channels: Index) -> None:
        """Rows of the source with zeros around the image."""
        b, tiling = self.b, self.tiling
        planes, top = tiling.shape.source, tiling.shape.window.pads[0]
        start = self.index * (tiling.step * SIDE)
        with b.loop(0, SIDE * self.rows + TAPS - 1) as row:
            base = row + start
            padded = self.scratch.padded + row * tiling.padded_row
            inside = b.as_index(base) >= top
            inside = inside & (b.as_index(base) < top + planes.height)
            with b.if_(inside) as branch:
                place = source + planes.row(base, 1, -top)
                with b.loop(0, channels) as channel:
                    self._pad_row(place + channel * planes.stride, padded + channel * tiling.padded_channel)
            with branch.else_(), b.loop(0, channels) as channel:
                self._pad_row(None, padded + channel * tiling.padded_channel)

    def _pad_row(self, source: Ref | None, padded: Ref) -> None:
        b, tiling = self.b, self.tiling
        left = tiling.shape.window.pads[1]
        count = min(tiling.shape.source.width, tiling.padded_row - left)
        lanes = b.isa.lanes
        if not b.isa.masked_memory:
            while lanes > max(count, 1):
                lanes //= 2
        for at in range(0, count, lanes):
            at = at if b.isa.masked_memory else min(at, count - lanes)
            some = min(lanes, count - at)
            value = b.vload(source, at, some, lanes=lanes) if source else b.constant(0.0, "f32", lanes)
            b.vstore(value, padded, at + left, some)

    def _columns_to_points(self, padded: Ref, v: Ref) -> None:
        """One channel, under each tap of a kernel row: tiles are columns of 4 results, as they lie in the image.

        Lanes behind a row's end are written again by the next row, those behind the last by the next row of V.
        """
        b, tiling = self.b, self.tiling
        lanes = b.isa.lanes
        with b.loop(0, TAPS) as tap, b.loop(0, self.rows) as row, b.loop(0, tiling.width, lanes) as column:
            base = padded + (row * (SIDE * tiling.padded_row) + tap + column)
            place = v + (row * tiling.width + column + tap * self.columns)
            x = [b.vload(base, i * tiling.padded_row) for i in range(POINTS)]
            for point, value in enumerate(to_points(b, x)):
                b.vstore(value, place, point * tiling.v_point)

    def _squares_to_points(self, padded: Ref, v: Ref) -> None:
        """One channel: along the width, into the scratch of a tile, then along the height."""
        b, tiling, tile = self.b, self.tiling, self.scratch.tile
        lanes = b.isa.lanes
        for first in range(0, self.columns, lanes):
            places = [self._tile(lane) for lane in range(first, first + lanes)]
            corners = [SIDE * (row * tiling.padded_row + column) for row, column in places]
            with b.loop(0, POINTS) as i:
                line = padded + i * tiling.padded_row
                near, far = (
                    [load_runs(b, line + more, corners[at : at + lanes // 4]) for at in range(0, lanes, lanes // 4)]
                    for more in (0, SIDE)
                )
                x = deinterleave(b, near) + deinterleave(b, far, POINTS - SIDE)
                for j, value in enumerate(to_points(b, x)):
                    b.vstore(value, tile, (i * POINTS + j) * lanes, align=4 * lanes)
            with b.loop(0, POINTS) as j:
                x = [b.vload(tile, (j + i * POINTS) * lanes, align=4 * lanes) for i in range(POINTS)]
                for i, value in enumerate(to_points(b, x)):
                    b.vstore(value, v, (j + i * POINTS) * tiling.v_point + first, align=4 * lanes)

    def _points_to_columns(self, sums: Ref, target: Ref) -> None:
        whole, rest = divmod(self._height, SIDE)
        with self.b.loop(0, whole) as row:
            self._columns(sums, target, row, SIDE)
        if rest:
            self._columns(sums, target, whole, rest)

    def _columns(self, sums: Ref, target: Ref, row: Index, lines: int) -> None:
        """The first `lines` rows of results of a row of tiles."""
        b, width, lanes = self.b, self.tiling.width, self.b.isa.lanes
        places = [target + self.tiling.shape.target.row(row, SIDE, line) for line in range(lines)]
        sums = sums + row * width
        with b.loop(0, width // lanes) as vector:
            self._vector(sums, places, vector * lanes, lanes)
        if width % lanes:
            self._vector(sums, places, width // lanes * lanes, width % lanes)

    def _vector(self, sums: Ref, places: Sequence[Ref], column: Index, count: int) -> None:
        b = self.b
        m = [b.vload(sums, column + point * self.tiling.m_point, count) for point in range(POINTS)]
        for place, value in zip(places, from_points(b, m), strict=False):
            b.vstore(value, place, column, count)

    def _points_to_squares(self, sums: Ref, target: Ref) -> None:
        b, tiling, tile = self.b, self.tiling, self.scratch.tile
        lanes = b.isa.lanes
        for first in range(0, min(self.columns, self.rows * tiling.width), lanes):
            with b.loop(0, POINTS) as j:
                m = [b.vload(sums, (j + i * POINTS) * tiling.m_point + first) for i in range(POINTS)]
                for i, value in enumerate(from_points(b, m)):
                    b.vstore(value, tile, (j + i * POINTS) * lanes, align=4 * lanes)
            places = [self._tile(lane) for lane in range(first, first + lanes)]
            for i in range(SIDE):
                m = [b.vload(tile, (i * POINTS + j) * lanes, align=4 * lanes) for j in range(POINTS)]
                spots = [self._spot(row, column, i) for row, column in places]
                for part, value in enumerate(interleave(b, from_points(b, m))):
                    store_runs(b, value, target, spots[part * (lanes // 4) : (part + 1) * (lanes // 4)])

    def _tile(self, lane: int) -> tuple[int, int]:
        """Row and column of the tile that a lane stands for."""
        return divmod(lane, self.tiling.width)

    def _spot(self, row: int, column: int, line: int) -> tuple[int, int]:
        """Where row `line` of a tile's results goes, and how many of them exist."""
        place = self._row(SIDE * row + line) if row < self.rows else None
        if place is None:
            return 0, 0
        return place + SIDE * column, min(SIDE, self.tiling.shape.target.width - SIDE * column)

    def _row(self, row: int) -> int | None:
        """Where a row of results lies, counted from the chunk's first panel; None below the image."""
        return self.tiling.shape.target.fixed_row(row) if row < self._height else None

    @property
    def _height(self) -> int:
        """Rows of results of this chunk."""
        tiling = self.tiling
        whole = tiling.step * SIDE
        return tiling.shape.target.height - (tiling.chunks - 1) * whole if self.last else whole

    @property
    def panels(self) -> int:
        """Panels of the result in this chunk."""
        return -(-self._height // self.tiling.shape.target.rows)

    @property
    def panel(self) -> Index:
        """The first of them."""
        return self.index * -(-self.tiling.step * SIDE // self.tiling.shape.target.rows)
