"""Windows of bf16 over pixels as rows: [groups of 32 channels][pixels of the padded panel][16 pairs], a line a pixel.

The taps of a window are the same lines moved, always aligned, and those of one strip share most of them in L1; in
planes of pairs (see `Grid`) each column of taps needs a copy of its own, and all of it comes from the L2. The panel's
pairs are turned once, and so are the sums, whose rows are pixels, too. 3×3 from 64 channels of 56 × 56 takes 170 µs
instead of 215, 128 of 28 × 28 160 of 180, 256 of 14 × 14 124 of 152, 512 of 7 × 7 225 of 263.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.bf16 import OUTPUTS, STRIP, TILE, Bf16Conv, register_tile
from sparsec.targets.kernels.conv.grid import STEP, Grid, Padding
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.pairs import dot


@dataclass(frozen=True)
class PixelGrid(Grid):
    """The sizes of the turned copy of a panel. Results are counted over padded rows, with gaps between rows."""

    @property
    def plain(self) -> bool:
        return self.shape.target.rows == 1

    @cached_property
    def pitch(self) -> int:
        window = self.shape.window
        return self.shape.target.width + (window.kernel[1] - 1) * window.dilations[1]

    @property
    def exact(self) -> bool:
        return True

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
        return max(self.rows * self.pitch, self.columns + (self.rows - self.shape.target.rows + 1) * self.pitch) * STEP

    @property
    def size(self) -> int:
        return self.groups * self.plane

    def run(self, group: Index, i: Index, j: Index) -> Index:
        """Where the lines of the first result's pixels under tap (i, j) begin."""
        down, across = self.shape.window.dilations
        return group * self.plane + (i * (down * self.pitch) + j * across) * STEP


@dataclass(frozen=True)
class Turning(Padding):
    """Writes the turned copy of one panel: all rows that its windows read, zeros where there are none."""

    def clear(self, copy: Ref) -> None:
        """Nothing: rows bring their padding along, and what lies behind them reaches no result."""

    def _pairs(self, source: Ref | None, target: Ref) -> None:
        """One row of all groups; `target` is the line of its first padded pixel."""
        grid, lanes = self.grid, self.b.isa.lanes
        pad, width = grid.shape.window.pads[1], grid.shape.source.width
        whole, rest = divmod(width, lanes)
        with self.b.loop(0, grid.groups) as group, self.b.loop(0, STEP, lanes) as first:
            lines = target + group * grid.plane + first
            planes = [self._sides(source, group * STEP + first + i) for i in range(lanes)]
            with self.b.loop(0, whole) as block:
                self._turned(planes, lines + (block * lanes + pad) * STEP, block * lanes, lanes)
            for pixel in (*range(pad), *range(pad + width, grid.pitch)):
                self.b.vstore(self.b.constant(0, "i32", lanes), lines, pixel * STEP)
            if rest:
                self._turned(planes, lines + (whole * lanes + pad) * STEP, whole * lanes, rest)

    def _turned(self, planes: Sequence[tuple[Ref | None, Ref | None]], lines: Ref, at: Index, count: int) -> None:
        """`count` pixels of as many pairs as there are lanes."""
        b, lanes = self.b, self.b.isa.lanes
        zero = b.constant(0, "i32", lanes)
        vectors = [zero] * lanes
        if planes[0][0] is not None:
            sides = [[None if ref is None else b.vload(ref, at, count) for ref in pair] for pair in planes]
            vectors = turned(b, [self._joined(low, high) for low, high in sides])  # type: ignore[arg-type]
        for pixel, vector in enumerate(vectors[:count]):
            b.vstore(vector, lines, pixel * STEP)


@dataclass(frozen=True)
class PixelConv(Bf16Conv):
    """As `Bf16Conv`, with tiles of weights of 16 pairs × 16 outputs, and sums of 16 pixels × 16 outputs."""

    sums: ClassVar[int] = 2 * OUTPUTS * STRIP
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
        tiles = super().pack(weight).reshape(-1, amx.ROWS, STEP)
        return np.ascontiguousarray(tiles.swapaxes(1, 2)).ravel()

    def copy_events(self, isa: Isa) -> dict[str, float]:
        """Turning all panels."""
        grid = self.grid
        return {"bf16 pixel": self.shape.panels * grid.rows * grid.groups * self.shape.source.width}

    def _with_tiles(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]) -> None:
        tiles, (height, width) = amx.Tiles(b), size
        cells = [(row, at) for row in range(height) for at in range(width)]
        ahead, lines = self._next(weights, strip, height)
        for row, at in cells:
            tiles.zero(2 * row + at)
        with self._walk(b, copy + strip * (STRIP * STEP), weights, height) as (pixels, left, number):
            for line in range(lines):
                b.prefetch(ahead, number * (lines * LINE) + line * LINE, locality=2)
            for row in range(height):
                tiles.load(4 + row, left + row * TILE, amx.ROW_BYTES)
            for at in range(width):
                tiles.load(6 + at, pixels + at * (amx.PIXELS * STEP), 4 * STEP)
            for row, at in cells:
                tiles.multiply(2 * row + at, 6 + at, 4 + row)
        for row, at in cells:
            tiles.store(
                2 * row + at, sums + (OUTPUTS * STRIP + at * amx.PIXELS * OUTPUTS + row * amx.ROWS), 4 * OUTPUTS
            )
        self._turn(b, sums, (height, width * amx.PIXELS))

    def _with_vectors(
        self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]
    ) -> None:
        (height, vectors), (rows, most) = size, register_tile(b.isa)
        lanes = b.isa.lanes
        most = min(most, height * amx.ROWS // lanes)
        with b.loop(0, vectors * lanes, rows) as pixel:
            for first in range(0, height * amx.ROWS, most * lanes):
                values = self._outputs(b, copy + (strip * STRIP + pixel) * STEP, (weights, first, height), rows, most)
                for index, value in enumerate(values):
                    i, v = divmod(index, most)
                    b.vstore(value, sums + OUTPUTS * STRIP + (pixel + i) * OUTPUTS, first + v * lanes)
        self._turn(b, sums, (height, vectors * lanes))

    def _outputs(self, b: Builder, copy: Ref, left: tuple[Ref, int, int], pixels: int, vectors: int) -> list[Value]:
        """The sums of a few pixels over a few vectors of outputs, from output left[1] of the block on."""
        weights, first, height = left
        lanes, (down, across) = b.isa.lanes, self.grid.taps
        places = [divmod(first + v * lanes, amx.ROWS) for v in range(vectors)]
        sums = [b.constant(0.0, "f32", lanes)] * (pixels * vectors)
        with (
            b.loop(0, self.grid.groups, carry=sums) as group,
            b.loop(0, down, carry=sums) as i,
            b.loop(0, across, carry=sums) as j,
        ):
            lines = copy + self.grid.run(group, i, j)
            step = weights + ((group * down + i) * across + j) * (height * TILE)
            with b.loop(0, STEP, carry=sums) as at:
                columns = [b.vload(step, at * amx.ROWS + tile * TILE + output) for tile, output in places]
                for pixel in range(pixels):
                    pair = b.broadcast(b.load(lines, at + pixel * STEP))
                    for v, column in enumerate(columns):
                        place = pixel * vectors + v
                        sums[place] = dot(b, pair, column, sums[place])
        return sums

    def _turn(self, b: Builder, sums: Ref, size: tuple[int, int]) -> None:
        """Sums of pixels × outputs to rows of outputs."""
        (height, pixels), lanes = size, b.isa.lanes
        source = sums + OUTPUTS * STRIP
        with b.loop(0, height * amx.ROWS, lanes) as output, b.loop(0, pixels, lanes) as pixel:
            rows = [b.vload(source + pixel * OUTPUTS, output + i * OUTPUTS) for i in range(lanes)]
            for i, vector in enumerate(turned(b, rows)):
                b.vstore(vector, sums + output * STRIP, pixel + i * STRIP)


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
