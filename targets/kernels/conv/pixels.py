"""Windows of bf16 over pixels as rows: [groups of 32 channels][pixels of the padded panel][16 pairs], a line a pixel.

The taps of a window are the same lines moved, always aligned, and those of one strip share most of them in L1; in
planes of pairs (see `Grid`) each column of taps needs a copy of its own, and all of it comes from the L2. The panel's
pairs are turned once, and so are the sums, whose rows are pixels, too. 3×3 from 64 channels of 56 × 56 takes 170 µs
instead of 215, 128 of 28 × 28 160 of 180, 256 of 14 × 14 124 of 152, 512 of 7 × 7 225 of 263. Strides make phases of
rows and of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.bf16 import TILE, Bf16Conv, register_tile
from sparsec.targets.kernels.conv.grid import STEP, Grid, Padding
from sparsec.targets.kernels.conv.paired import ordered
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.pairs import dot


@dataclass(frozen=True)
class PixelGrid(Grid):
    """The sizes of the turned copy of a panel. Results are counted over rows of the copy, with gaps between rows.

    Columns of taps that leave the same remainder by the stride share a phase of each phase of rows.
    """

    @property
    def plain(self) -> bool:
        return self.shape.target.rows == 1

    @cached_property
    def pitch(self) -> int:
        window, step = self.shape.window, self.shape.window.strides[1]
        read = self.shape.target.width + (window.kernel[1] - 1) * window.dilations[1] // step
        return max(read, -(-(self.shape.source.width + window.pads[1]) // step))

    @property
    def sides(self) -> list[int]:
        """The remainders of columns of taps by the stride: all that many have, as in `phases`."""
        window = self.shape.window
        step = window.strides[1]
        return [0] if self.taps[1] == 1 else list(range(0, step, gcd(window.dilations[1], step)))

    @property
    def phase(self) -> int:
        """Pixels of a phase."""
        return self.rows * self.pitch

    @property
    def pixel(self) -> int:
        return STEP

    @property
    def columns(self) -> int:
        results = (self.shape.target.rows - 1) * self.pitch + self.shape.target.width
        return -(-results // LINE) * LINE

    @property
    def plane(self) -> int:
        """Pairs from one group of channels to the next."""
        read = self.columns + (self.rows - self.shape.target.rows + 1) * self.pitch
        return ((len(self.phases) * len(self.sides) - 1) * self.phase + max(self.phase, read)) * STEP

    @property
    def size(self) -> int:
        return self.groups * self.plane

    def run(self, group: Index, i: Index, j: Index) -> Index:
        """Where the lines of the first result's pixels under tap (i, j) begin."""
        (down, across), (high, wide) = self.shape.window.dilations, self.shape.window.strides
        row, column = i * down, j * across
        phase = row % high // gcd(down, high) * len(self.sides) + column % wide // gcd(across, wide)
        return group * self.plane + (phase * self.phase + row // high * self.pitch + column // wide) * STEP


@dataclass(frozen=True)
class Turning(Padding):
    """Writes the turned copy of one panel: all rows that its windows read, zeros where there are none."""

    def clear(self, copy: Ref) -> None:
        """Nothing: rows bring their padding along, and what lies behind them reaches no result."""

    def _row(self, source: Ref, copy: Ref, place: tuple[Index, Index], phase: int, remainder: int) -> None:
        """One row of a phase of rows, in all phases of columns."""
        grid = self.grid
        assert isinstance(grid, PixelGrid)
        super()._row(source, copy + phase * (len(grid.sides) * grid.phase * STEP), place, 0, remainder)

    def _pairs(self, source: Ref | None, target: Ref) -> None:
        """One row of all groups; `target` is the line of its first pixel in the first phase of columns."""
        grid, lanes, width = self.grid, self.b.isa.lanes, self.grid.shape.source.width
        whole, rest = divmod(width, lanes)
        if lanes % grid.shape.window.strides[1]:  # the lanes of a vector change their phases
            whole, rest = 0, width
        with self.b.loop(0, grid.groups) as group, self.b.loop(0, STEP, lanes) as first:
            lines = target + group * grid.plane + first
            planes = [self._sides(source, group * STEP + first + i) for i in range(lanes)]
            with self.b.loop(0, whole) as block:
                self._turned(planes, lines, (block, 0), lanes)
            zero = self.b.constant(0, "i32", lanes)
            for line in self._around():
                self.b.vstore(zero, lines, line * STEP)
            for at in range(0, rest, lanes):
                self._turned(planes, lines, (whole, at), min(lanes, rest - at))

    def _line(self, pixel: int) -> int | None:
        """Where a pixel of the source lies in the phases of a row; None: nowhere."""
        grid, window = self.grid, self.grid.shape.window
        assert isinstance(grid, PixelGrid)
        column, side = divmod(pixel + window.pads[1], window.strides[1])
        return grid.sides.index(side) * grid.phase + column if side in grid.sides else None

    def _around(self) -> list[int]:
        """The lines of a row, in all phases, that no pixel of the source fills."""
        grid = self.grid
        assert isinstance(grid, PixelGrid)
        filled = {self._line(pixel) for pixel in range(grid.shape.source.width)}
        lines = [side * grid.phase + column for side in range(len(grid.sides)) for column in range(grid.pitch)]
        return [line for line in lines if line not in filled]

    def _turned(
        self, planes: Sequence[tuple[Ref | None, Ref | None]], lines: Ref, place: tuple[Index, int], count: int
    ) -> None:
        """`count` pixels of as many pairs as there are lanes, from place[1] behind so many whole vectors on."""
        b, lanes, (block, after) = self.b, self.b.isa.lanes, place
        step = self.grid.shape.window.strides[1]
        vectors = [b.constant(0, "i32", lanes)] * lanes
        if planes[0][0] is not None:
            at = block * lanes + after
            sides = [[None if ref is None else b.vload(ref, at, count) for ref in pair] for pair in planes]
            vectors = turned(b, [self._joined(low, high) for low, high in sides])  # type: ignore[arg-type]
        for pixel, vector in enumerate(vectors[:count], after):
            line = self._line(pixel)
            if line is not None:
                b.vstore(vector, lines, (block * (lanes // step) + line) * STEP)


@dataclass(frozen=True)
class PixelConv(Bf16Conv):
    """As `Bf16Conv`, with tiles of weights of 16 pairs × 16 outputs, and sums of 16 pixels × 16 outputs.

    A tile of weights, most of which come from the L2 and beyond, meets four tiles of pixels, which share lines in L1.
    """

    together: ClassVar[int] = amx.ROWS
    strip: ClassVar[int] = 4 * amx.PIXELS
    sums: ClassVar[int] = 2 * amx.ROWS * 4 * amx.PIXELS
    product: ClassVar[str] = "bf16 pixel product"

    @classmethod
    def grid_of(cls, shape: ConvShape) -> PixelGrid:
        return PixelGrid(shape)

    @property
    def layout(self) -> str:
        return "bf16:turned"

    def padding(self, b: Builder) -> Turning:
        return Turning(b, self.grid)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_pixels(weight, self.grid).ravel()

    def copy_events(self, isa: Isa) -> dict[str, float]:
        """Turning all panels, the lines that each block of outputs reads, and what a strip begins and ends with."""
        grid, panels = self.grid_of(self.shape), self.shape.panels
        rows, blocks = grid.rows * len(grid.phases) * grid.groups, -(-self.shape.outputs // self.together)
        return {
            "bf16 pixel": panels * rows * self.shape.source.width,
            "bf16 pixel line": panels * rows * len(grid.sides) * grid.pitch * blocks,
            "bf16 pixel strip": panels * -(-grid.columns // self.strip) * blocks,
        }

    def _with_tiles(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]) -> None:
        tiles, (_, width) = amx.Tiles(b), size
        ahead, lines = self._next(weights, strip, 1)
        for at in range(width):
            tiles.zero(at)
        with self._walk(b, copy + strip * (self.strip * STEP), weights, 1) as (pixels, left, number):
            for line in range(lines):
                b.prefetch(ahead, number * (lines * LINE) + line * LINE, locality=2)
            self._ask(b, copy + strip * (self.strip * STEP), number, width)
            self._products(tiles, pixels, left, width)
        self._sums(b, sums, width)

    def _ask(self, b: Builder, copy: Ref, number: Index, width: int) -> None:
        """In step `number` a share of the lines that a strip reads of the next group of channels.

        256 channels of 14 × 14 take 0.93 of the time. Phases of strides, of which taps share less, would lose 6 %.
        """
        grid, (down, across) = self.grid, self.grid.taps
        if self.shape.window.strides != (1, 1):
            return
        reach = (down - 1) * self.shape.window.dilations[0] * grid.pitch + (across - 1) * self.shape.window.dilations[1]
        read = width * amx.PIXELS + reach
        each = -(-read // (down * across))
        group, tap = number // (down * across), number % (down * across)
        for line in range(each):
            b.prefetch(copy + (group + 1) * grid.plane, tap * (each * STEP) + line * STEP)

    def _products(self, tiles: amx.Tiles, pixels: Ref, weights: Ref, width: int) -> None:
        """One step along K for `width` tiles of pixels."""
        tiles.load(4, weights, amx.ROW_BYTES)
        for at in range(width):
            tiles.load(5 + at % 3, pixels + at * (amx.PIXELS * STEP), 4 * STEP)
            tiles.multiply(at, 5 + at % 3, 4)

    def _sums(self, b: Builder, sums: Ref, width: int) -> None:
        """From tiles to scratch, as rows of outputs."""
        turned = sums + amx.ROWS * self.strip
        for at in range(width):
            amx.Tiles(b).store(at, turned + at * (amx.PIXELS * amx.ROWS), 4 * amx.ROWS)
        self._turn(b, sums, width * amx.PIXELS)

    def _with_vectors(
        self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]
    ) -> None:
        vectors, (rows, most) = size[1], register_tile(b.isa)
        lanes = b.isa.lanes
        most = min(most, amx.ROWS // lanes)
        with b.loop(0, vectors * lanes, rows) as pixel:
            for first in range(0, amx.ROWS, most * lanes):
                values = self._outputs(b, copy + (strip * self.strip + pixel) * STEP, (weights, first), rows, most)
                for index, value in enumerate(values):
                    i, v = divmod(index, most)
                    b.vstore(value, sums + amx.ROWS * self.strip + (pixel + i) * amx.ROWS, first + v * lanes)
        self._turn(b, sums, vectors * lanes)

    def _outputs(self, b: Builder, copy: Ref, left: tuple[Ref, int], pixels: int, vectors: int) -> list[Value]:
        """The sums of a few pixels over a few vectors of outputs, from output left[1] of the block on."""
        weights, first = left
        lanes, (down, across) = b.isa.lanes, self.grid.taps
        sums = [b.constant(0.0, "f32", lanes)] * (pixels * vectors)
        with (
            b.loop(0, self.grid.groups, carry=sums) as group,
            b.loop(0, down, carry=sums) as i,
            b.loop(0, across, carry=sums) as j,
        ):
            lines = copy + self.grid.run(group, i, j)
            step = weights + ((group * down + i) * across + j) * TILE
            with b.loop(0, STEP, carry=sums) as at:
                columns = [b.vload(step, at * amx.ROWS + first + v * lanes) for v in range(vectors)]
                for pixel in range(pixels):
                    pair = b.broadcast(b.load(lines, at + pixel * STEP))
                    for v, column in enumerate(columns):
                        place = pixel * vectors + v
                        sums[place] = dot(b, pair, column, sums[place])
        return sums

    def _turn(self, b: Builder, sums: Ref, pixels: int) -> None:
        """Sums of pixels × outputs to rows of outputs."""
        lanes, source = b.isa.lanes, sums + amx.ROWS * self.strip
        with b.loop(0, amx.ROWS, lanes) as output, b.loop(0, pixels, lanes) as pixel:
            rows = [b.vload(source + pixel * amx.ROWS, output + i * amx.ROWS) for i in range(lanes)]
            for i, vector in enumerate(turned(b, rows)):
                b.vstore(vector, sums + output * self.strip, pixel + i * self.strip)


def pack_pixels(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """[M, C, KH, KW] as [M / 16][steps of K][16 pairs][16 outputs], zeros where there is no output."""
    padded = np.pad(ordered(weight, grid), [(0, -len(weight) % amx.ROWS), *[(0, 0)] * 4])
    pairs = (
        np.ascontiguousarray(padded)
        .view(np.int32)
        .reshape(-1, amx.ROWS, grid.groups * grid.taps[0] * grid.taps[1], STEP)
    )
    return np.ascontiguousarray(pairs.transpose(0, 2, 3, 1))


def turned(b: Builder, rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of as many vectors as these have lanes, by exchanging halves, quarters, and so on."""
    vectors, lanes = list(rows), len(rows)
    step = lanes // 2
    while step:
        for i in range(lanes):
            if i & step:
                continue
            low, high = vectors[i], vectors[i + step]
            first = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
            second = [lane + step if not lane & step else lanes + lane for lane in range(lanes)]
            vectors[i], vectors[i + step] = b.shuffle(low, high, first), b.shuffle(low, high, second)
        step //= 2
    return vectors
