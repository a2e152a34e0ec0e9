"""Dense weights of bf16: products of pairs along K, summed in f32.

Activations lie in memory as pairs of channels, or as f32 that is rounded once a panel to pairs (see `Grid`), from which
all outputs read all taps. One stream of weights serves all ISAs: AMX multiplies 2 × 2 tiles, vdpbf16ps 8 rows × 2
vectors, and ISAs without either widen pairs to f32.

On a Xeon with 217 GFLOP/s of f32 FMA from registers, AMX reaches 3170 from registers and L1 and 2400 where the tiles of
one side come from L2; vdpbf16ps reaches 109, half of f32: it pays on AMD, where it is as fast an instruction as FMA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.grid import STEP, Grid
from sparsec.targets.kernels.conv.kernel import dealt
from sparsec.targets.kernels.conv.paired import PairedConv, Panel, Part, ordered
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Tile, tiles
from sparsec.targets.kernels.pairs import dot

STRIP = 32  # columns whose sums lie in scratch together: two tiles, or vectors of all ISAs
OUTPUTS = 32  # in a block of weights: two tiles of 16 for each step along K
TILE = 16 * STEP  # pairs in a tile of weights: 16 outputs × 16 pairs
FAR = 524288  # bytes of weights from which on the next block is prefetched


@dataclass(frozen=True)
class Bf16Conv(PairedConv):
    """Weights packed as [M / 32][steps of K][2][16 outputs][16 pairs], zeros where there is no channel or output.

    Where M leaves 16 outputs or fewer, the last block has one tile a step. K counts groups of 32 channels, then taps,
    then channels of the group. All of K is one block: sums stay in tiles or registers.
    """

    sums: ClassVar[int] = OUTPUTS * STRIP
    together: ClassVar[int] = OUTPUTS  # outputs in a block
    strip: ClassVar[int] = STRIP  # columns whose sums are computed at once
    product: ClassVar[str] = "bf16 product"  # what a product of tiles counts as

    @property
    def grid(self) -> Grid:
        return self.grid_of(self.shape)

    @classmethod
    def grid_of(cls, shape: ConvShape) -> Grid:
        """Where the pairs of a panel lie."""
        return Grid(shape)

    @property
    def layout(self) -> str:
        return f"bf16:{self.grid.unfolded}"

    @property
    def steps(self) -> int:
        """Steps along K, of 16 pairs."""
        return self.grid.groups * self.grid.taps[0] * self.grid.taps[1]

    @property
    def _far(self) -> bool:
        return 4 * TILE * self.steps * self.shape.outputs // amx.ROWS >= FAR

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_bf16(weight, self.grid)

    def prepared(self, b: Builder, scratch: Ref) -> AbstractContextManager[None]:
        return amx.within(b, scratch)

    def compute(self, b: Builder, part: Part) -> None:
        """All blocks of outputs in the parts [part.low, part.high)."""
        full, rest = divmod(self.shape.outputs, self.together)
        total = full + bool(rest)
        low, high = (dealt(index, total, self.splits) for index in (part.low, part.high))
        stop = min(high, full) if isinstance(high, int) else b.min(b.as_index(high), b.constant(full))
        with b.loop(low, stop) as block:
            self._block(b, part, block, self.together)
        if rest:
            static = isinstance(low, int) and isinstance(high, int)
            last = low < total <= high if static else (b.as_index(low) < total) & (b.as_index(high) >= total)
            with b.if_(last):
                self._block(b, part, full, rest)

    def _block(self, b: Builder, part: Part, block: Index, outputs: int) -> None:
        """The results of some outputs, a strip of columns after the other."""
        weights = part.weights + block * (self.together // amx.ROWS * TILE * self.steps)
        self._strips(b, part, weights, (block, outputs))
        if part.output.revised and not self.grid.plain:
            self._revise(b, part.output, block * self.together, outputs)

    def _strips(self, b: Builder, part: Part, weights: Ref, rows: tuple[Index, int], first: int = 0) -> None:
        """The strips of a block from `first` on."""
        whole = (self.shape.target.stride if self.grid.plain else self.grid.columns) // self.strip
        if self.grid.plain:
            with b.loop(first, whole) as strip:
                self._strip(b, part, weights, strip, rows, self.strip)
        else:  # written out, since pieces of rows lie elsewhere in each
            for strip in range(first, whole):
                self._strip(b, part, weights, strip, rows, self.strip)
        rest = self.grid.columns - whole * self.strip
        if rest and first <= whole:
            self._strip(b, part, weights, whole, rows, rest)

    def _strip(self, b: Builder, part: Part, weights: Ref, strip: Index, rows: tuple[Index, int], columns: int) -> None:
        """`columns` columns of a block: their sums in scratch, which stays in L1, then through the epilogue."""
        height = -(-rows[1] // amx.ROWS)
        if b.isa.tiles:
            self._with_tiles(b, part.copy, weights, part.sums, strip, (height, columns // amx.PIXELS))
        else:
            self._with_vectors(b, part.copy, weights, part.sums, strip, (height, columns // b.isa.lanes))
        self._finish(b, part, strip, rows, columns)

    def _finish(self, b: Builder, part: Part, strip: Index, rows: tuple[Index, int], columns: int) -> None:
        """The sums of a strip through the epilogue."""
        sums, (block, outputs) = part.sums, rows
        long = self.epilogue.is_long and not part.output.revised
        step = next(step for step in ((2, 1) if long else (4, 2, 1)) if outputs % step == 0)
        with b.loop(0, outputs, step) as row:
            for place, column, tile in self._pieces(b, strip, columns):
                some = [row + block * self.together + i for i in range(step)]
                starts = [sums + ((row + i) * self.strip + place) for i in range(step)]
                values = [b.vload(start, v * b.isa.lanes) for start in starts for v in range(tile.vectors)]
                if part.output.revised and not self.grid.plain:
                    part.output.keep(values, tile, some, column)
                else:
                    part.output.finish(values, tile, some, column, 0)

    def _pieces(self, b: Builder, strip: Index, columns: int) -> list[tuple[int, Index, Tile]]:
        """Where the results of a strip lie in it, and where in the panel: pieces of image rows."""
        grid, lanes, planes = self.grid, b.isa.lanes, self.shape.target
        if not isinstance(strip, int):
            return [(0, strip * self.strip, Tile(0, columns // lanes))]
        first = strip * self.strip
        if grid.plain:
            count = min(planes.stride - first, columns)
            return [(0, first, Tile(0, -(-count // lanes), tail=count % lanes or None))]
        found: list[tuple[int, Index, Tile]] = []
        for row in range(planes.rows):
            start, stop = max(row * grid.pitch, first), min(row * grid.pitch + planes.width, first + columns)
            if start < stop:
                column = start - row * (grid.pitch - planes.width)
                found.append(
                    (start - first, column, Tile(0, -(-(stop - start) // lanes), tail=(stop - start) % lanes or None))
                )
        return found

    def _revise(self, b: Builder, output: Panel, first: Index, outputs: int) -> None:
        """A long epilogue over the stored sums of a block: once in a loop, not once for each piece of a row."""
        for tile in tiles(self.shape.target.stride, b.isa.lanes, 4):
            with b.loop(0, outputs) as row, b.loop(0, tile.repeats) as repeat:
                output.revise(tile, [row + first], repeat * (tile.vectors * b.isa.lanes) + tile.start)

    @contextmanager
    def _walk(self, b: Builder, copy: Ref, weights: Ref, height: int) -> Iterator[tuple[Ref, Ref, Index]]:
        """Each step along K: where its 16 rows of pairs begin, its weights, `height` tiles, and its number."""
        grid = self.grid
        down, across = grid.taps
        with b.loop(0, grid.groups) as group, b.loop(0, down) as i, b.loop(0, across) as j:
            number = (group * down + i) * across + j
            yield copy + grid.run(group, i, j), weights + number * (height * TILE), number

    def _next(self, weights: Ref, strip: Index, height: int) -> tuple[Ref, int]:
        """A strip's share of the next block of weights, if that lies far away, and its lines for each step along K."""
        lines = -(-height * TILE // LINE * self.strip // self.grid.columns) if self._far else 0
        return weights + (height * TILE * self.steps + strip * (lines * LINE * self.steps)), lines

    def _with_tiles(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]) -> None:
        """AMX: a strip of `size` tiles. Meanwhile its share of the next block of weights is prefetched."""
        tiles, (height, width) = amx.Tiles(b), size
        ahead, lines = self._next(weights, strip, height)
        cells = [(row, at) for row in range(height) for at in range(width)]
        for row, at in cells:
            tiles.zero(2 * row + at)
        with self._walk(b, copy + strip * STRIP, weights, height) as (right, left, number):
            for line in range(lines):
                b.prefetch(ahead, number * (lines * LINE) + line * LINE, locality=2)
            for row in range(height):
                tiles.load(4 + row, left + row * TILE, amx.ROW_BYTES)
            for at in range(width):
                tiles.load(6 + at, right + at * amx.PIXELS, 4 * self.grid.plane)
            for row, at in cells:
                tiles.multiply(2 * row + at, 4 + row, 6 + at)
        for row, at in cells:
            tiles.store(2 * row + at, sums + (row * amx.ROWS * STRIP + at * amx.PIXELS), 4 * STRIP)

    def _with_vectors(
        self, b: Builder, copy: Ref, weights: Ref, sums: Ref, strip: Index, size: tuple[int, int]
    ) -> None:
        """A strip of size[0] tiles of 16 rows and size[1] vectors, in register tiles."""
        (height, vectors), (rows, most) = size, register_tile(b.isa)
        most = min(most, vectors)
        with b.loop(0, vectors, most) as vector, b.loop(0, height * amx.ROWS, rows) as row:
            column = vector * b.isa.lanes
            values = self._vectors(b, copy + strip * STRIP + column, (weights, row, height), rows, most)
            for index, value in enumerate(values):
                i, v = divmod(index, most)
                b.vstore(value, sums + (row + i) * STRIP, column + v * b.isa.lanes)

    def _vectors(self, b: Builder, copy: Ref, left: tuple[Ref, Index, int], rows: int, vectors: int) -> list[Value]:
        """The sums of some rows of a block, from row left[1] on, over a few vectors of columns."""
        weights, first, height = left
        lanes, grid = b.isa.lanes, self.grid
        sums = [b.constant(0.0, "f32", lanes)] * (rows * vectors)
        down, across = grid.taps
        with (
            b.loop(0, grid.groups, carry=sums) as group,
            b.loop(0, down, carry=sums) as i,
            b.loop(0, across, carry=sums) as j,
        ):
            number = (group * down + i) * across + j
            right = copy + grid.run(group, i, j)
            step = weights + (number * (height * TILE) + first * STEP)
            with b.loop(0, STEP, carry=sums) as at:
                values = [b.vload(right + at * grid.plane, v * lanes) for v in range(vectors)]
                for row in range(rows):
                    weight = b.broadcast(b.load(step, at + row * STEP))
                    for v, value in enumerate(values):
                        sums[row * vectors + v] = dot(b, weight, value, sums[row * vectors + v])
        return sums

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        return self.events_of(isa, caches, 4 * TILE * self.steps * -(-self.shape.outputs // amx.ROWS))

    def events_of(self, isa: Isa, caches: Caches, stream: float) -> dict[str, float]:
        """Those of products by a stream of weights of so many bytes."""
        shape, grid, panels = self.shape, self.grid, self.shape.panels
        traffic = self.traffic(caches, stream)
        functions = traffic.pop("epilogue function")
        lines, width = (1, shape.target.stride) if grid.plain else (shape.target.rows, shape.target.width)
        return {
            self.product: panels * -(-shape.outputs // amx.ROWS) * self.steps * (grid.columns // amx.PIXELS),
            "bf16 sum": panels * shape.outputs * lines * -(-width // isa.lanes),
            **self.copy_events(isa),
            **{f"bf16 {name}": count for name, count in traffic.items()},
            **({"epilogue function": functions} if functions else {}),
        }


def register_tile(isa: Isa) -> tuple[int, int]:
    """Rows and vectors of sums without AMX: they, a weight and a row of pairs, widened or not, fit in the registers."""
    return {32: (8, 2), 16: (4, 2)}.get(isa.registers, (4, 1))


def pack_bf16(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """[M, C, KH, KW] in the order in which `Bf16Conv` reads it."""
    padded = np.pad(ordered(weight, grid), [(0, -len(weight) % amx.ROWS), *[(0, 0)] * 4])
    rows = padded.reshape(-1, amx.ROWS, grid.groups * grid.taps[0] * grid.taps[1], 2 * STEP).swapaxes(1, 2)
    blocks = [rows[first : first + 2].swapaxes(0, 1).ravel() for first in range(0, len(rows), 2)]
    return np.concatenate(blocks).view(np.int32)
