"""Dense weights of bf16: products of pairs along K, summed in f32.

Activations are f32 in memory. Each panel is rounded once to pairs of channels (see `Grid`), from which all outputs read
all taps. One stream of weights serves all ISAs: AMX multiplies 2 × 2 tiles, vdpbf16ps 8 rows × 3 vectors, and ISAs
without either widen pairs to f32.

On a Xeon with 217 GFLOP/s of f32 FMA from registers, AMX reaches 3170 from registers and L1 and 2400 where the tiles of
one side come from L2; vdpbf16ps reaches 109, half of f32: it pays on AMD, where it is as fast an instruction as FMA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.grid import STEP, Grid, Padding
from sparsec.targets.kernels.conv.kernel import ConvKernel, Output, Work, divide
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, tiles
from sparsec.targets.kernels.pairs import dot, rounded
from sparsec.targets.kernels.region import Body

OUTPUTS = 32  # in a block of weights: two tiles of 16 for each step along K
TILE = 16 * STEP  # pairs in a tile of weights: 16 outputs × 16 pairs
COPY_BYTES = 4 << 20  # most that the copy of a panel may take


@dataclass(frozen=True)
class Bf16Conv(ConvKernel):
    """Weights packed as [M / 32][steps of K][2][16 outputs][16 pairs], zeros where there is no channel or output.

    Where M leaves 16 outputs or fewer, the last block has one tile a step. K counts groups of 32 channels, then taps,
    then channels of the group. All of K is one block: sums stay in tiles or registers.
    """

    weight_element: ClassVar[str] = "i32"

    @property
    def grid(self) -> Grid:
        """Where the pairs of a panel lie in scratch."""
        return Grid(self.shape)

    @property
    def layout(self) -> str:
        return f"bf16:{self.grid.unfolded}"

    @property
    def steps(self) -> int:
        """Steps along K, of 16 pairs."""
        return self.grid.planes // STEP * self.grid.taps[0] * self.grid.taps[1]

    @property
    def singly(self) -> bool:
        return False

    @property
    def scratch(self) -> int:
        return amx.CONFIG_BYTES + 4 * (_lines(self.grid.size) + OUTPUTS * self._sums_stride)

    @property
    def _sums_stride(self) -> int:
        """Floats from one output to the next in scratch: whole tiles, not a multiple of 4 KB."""
        return self.grid.columns + LINE

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_bf16(weight, self.grid)

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        shape, padding = self.shape, Padding(b, self.grid)
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), scratch, begin, end):
            copy = (scratch + amx.CONFIG_BYTES).view("i32")
            sums = (copy + _lines(self.grid.size)).view("f32")
            padding.clear(copy)
            with _tiles(b, scratch), self._panels(b, begin, end) as (panel, low, high):
                image, panel = divide(panel, shape.target.panels, shape.target.images)
                output = Output(b, self, extras, target, image, panel, 0)
                padding.emit(source + shape.source.image(image), copy, panel)
                work = Work(copy, weights, output, 0, 0, 0, low, high)
                self._blocks(b, work, sums)

    def multiply(self, b: Builder, work: Work) -> None:
        raise NotImplementedError("emit walks the blocks of outputs itself")

    def _blocks(self, b: Builder, work: Work, sums: Ref) -> None:
        """All blocks of outputs in the parts [work.low, work.high)."""
        full, rest = divmod(self.shape.outputs, OUTPUTS)
        total = full + bool(rest)
        each = -(-total // self.splits)
        low, high = work.low * each, work.high * each
        stop = min(high, full) if isinstance(high, int) else b.min(b.as_index(high), b.constant(full))
        with b.loop(low, stop) as block:
            self._block(b, work, sums, block, OUTPUTS)
        if rest:
            static = isinstance(low, int) and isinstance(high, int)
            last = low < total <= high if static else (b.as_index(low) < total) & (b.as_index(high) >= total)
            with b.if_(last):
                self._block(b, work, sums, full, rest)

    def _block(self, b: Builder, work: Work, sums: Ref, block: Index, outputs: int) -> None:
        """The results of some outputs: sums of the whole panel to scratch, then through the epilogue."""
        weights = work.weights + block * (2 * TILE * self.steps)
        multiply = self._with_tiles if b.isa.tiles else self._with_vectors
        multiply(b, work.rows, weights, sums, -(-outputs // amx.ROWS))
        with b.loop(0, outputs) as row:
            self._conclude(b, work.output, sums + row * self._sums_stride, row + block * OUTPUTS)

    def _conclude(self, b: Builder, output: Output, sums: Ref, row: Index) -> None:
        """The epilogue of one output: image row by image row, or where there are no gaps all of the panel at once."""
        planes, grid = self.shape.target, self.grid
        width, rows = (planes.stride, 1) if grid.plain else (planes.width, planes.rows)
        with b.loop(0, rows) as line:
            for tile in tiles(width, b.isa.lanes, 4):
                with b.loop(0, tile.repeats) as repeat:
                    column = repeat * (tile.vectors * b.isa.lanes) + tile.start
                    place = column + line * grid.pitch
                    values = [b.vload(sums, place + i * b.isa.lanes) for i in range(tile.vectors)]
                    output.finish(values, tile, [row], column + line * planes.width, 0)

    @contextmanager
    def _walk(self, b: Builder, copy: Ref, weights: Ref, height: int) -> Iterator[tuple[Ref, Ref]]:
        """Each step along K: where its 16 rows of pairs begin, and its weights, `height` tiles."""
        grid = self.grid
        down, across = grid.taps
        with b.loop(0, grid.planes // STEP) as group, b.loop(0, down) as i, b.loop(0, across) as j:
            number = (group * down + i) * across + j
            place = group * (STEP * grid.plane) + grid.tap(i, j)
            yield copy + place, weights + number * (height * TILE)

    def _with_tiles(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, height: int) -> None:
        """AMX: `height` × 2 tiles of sums at a time."""
        count = self.grid.columns // amx.PIXELS
        with b.loop(0, count // 2) as pair:
            self._tile(b, copy, weights, sums, pair * (2 * amx.PIXELS), (height, 2))
        if count % 2:
            self._tile(b, copy, weights, sums, (count - 1) * amx.PIXELS, (height, 1))

    def _tile(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, column: Index, size: tuple[int, int]) -> None:
        tiles, (height, width) = amx.Tiles(b), size
        cells = [(row, at) for row in range(height) for at in range(width)]
        for row, at in cells:
            tiles.zero(2 * row + at)
        with self._walk(b, copy + column, weights, height) as (right, left):
            for row in range(height):
                tiles.load(4 + row, left + row * TILE, amx.ROW_BYTES)
            for at in range(width):
                tiles.load(6 + at, right + at * amx.PIXELS, 4 * self.grid.plane)
            for row, at in cells:
                tiles.multiply(2 * row + at, 4 + row, 6 + at)
        for row, at in cells:
            place = sums + column + (row * amx.ROWS * self._sums_stride + at * amx.PIXELS)
            tiles.store(2 * row + at, place, 4 * self._sums_stride)

    def _with_vectors(self, b: Builder, copy: Ref, weights: Ref, sums: Ref, height: int) -> None:
        rows, most = register_tile(b.isa)
        lanes = b.isa.lanes
        for tile in tiles(self.grid.columns, lanes, most):
            with b.loop(0, tile.repeats) as repeat, b.loop(0, height * amx.ROWS // rows) as part:
                column = repeat * (tile.vectors * lanes) + tile.start
                first = part * rows
                values = self._vectors(b, copy + column, (weights, first, height), rows, tile.vectors)
                for index, value in enumerate(values):
                    row, vector = divmod(index, tile.vectors)
                    b.vstore(value, sums + (first + row) * self._sums_stride, column + vector * lanes)

    def _vectors(self, b: Builder, copy: Ref, left: tuple[Ref, Index, int], rows: int, vectors: int) -> list[Value]:
        """The sums of some rows of a block, from row left[1] on, over a few vectors of columns."""
        weights, first, height = left
        lanes = b.isa.lanes
        sums = [b.constant(0.0, "f32", lanes)] * (rows * vectors)
        grid = self.grid
        down, across = grid.taps
        with (
            b.loop(0, grid.planes // STEP, carry=sums) as group,
            b.loop(0, down, carry=sums) as i,
            b.loop(0, across, carry=sums) as j,
        ):
            number = (group * down + i) * across + j
            right = copy + (group * (STEP * grid.plane) + grid.tap(i, j))
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
        shape, grid, panels = self.shape, self.grid, self.shape.panels
        stream = 4 * TILE * self.steps * -(-shape.outputs // amx.ROWS)
        held = shape.source.images * shape.source.image_size + shape.target.images * shape.target.image_size
        far = 4 * held if 4 * held + stream > caches.l2 else 0
        if stream > caches.l2 / 2:
            far += stream * panels
        lines = 1 if grid.plain else shape.target.rows
        width = shape.target.stride if grid.plain else shape.target.width
        sources = -(-grid.channels // 2) * grid.rows * len(grid.phases[0]) * len(grid.phases[1])
        return {
            "bf16 product": panels * -(-shape.outputs // amx.ROWS) * self.steps * (grid.columns // amx.PIXELS),
            "bf16 row": panels * sources,
            "bf16 pair": panels * sources * -(-grid.pitch // isa.lanes),
            "bf16 sum": panels * shape.outputs * lines * -(-width // isa.lanes),
            "bf16 far byte": far,
        }


@dataclass(frozen=True)
class Bf16Row(Row):
    """Dense weights of bf16."""

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = OUTPUTS

    @property
    def name(self) -> str:
        return f"conv_bf16_dense_m{OUTPUTS}k{2 * STEP}"

    def fits(self, shape: ConvShape) -> bool:
        return shape.groups == 1 and 4 * Grid(shape).size <= COPY_BYTES

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> Bf16Conv:
        return Bf16Conv(self.name, shape, extras, epilogue, shape.channels, self.splits(shape))


def register_tile(isa: Isa) -> tuple[int, int]:
    """Rows and vectors of sums without AMX: they, a weight and a row of pairs, widened or not, fit in the registers."""
    if isa.bf16_dot:
        return 8, 3
    return {32: (8, 2), 16: (4, 2)}.get(isa.registers, (4, 1))


def pack_bf16(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """[M, C, KH, KW] in the order in which `Bf16Conv` reads it."""
    outputs = weight.shape[0]
    down, across = grid.taps
    if grid.unfolded:
        weight = weight.transpose(0, 1, 3, 2)
    padded = np.zeros((-(-outputs // amx.ROWS) * amx.ROWS, 2 * grid.planes, down, across), np.uint16)
    padded[:outputs, : grid.channels] = rounded(weight.reshape(outputs, grid.channels, down, across))
    steps = padded.reshape(-1, amx.ROWS, grid.planes // STEP, 2 * STEP, down, across)
    panels = steps.transpose(0, 2, 4, 5, 1, 3).reshape(len(steps), -1, amx.ROWS * 2 * STEP)
    blocks = [panels[first : first + 2].swapaxes(0, 1).ravel() for first in range(0, len(panels), 2)]
    return np.concatenate(blocks).view(np.int32)


@contextmanager
def _tiles(b: Builder, config: Ref) -> Iterator[None]:
    """AMX between its begin and end, where the ISA has it."""
    if not b.isa.tiles:
        yield
        return
    tiles = amx.Tiles(b)
    tiles.begin(config)
    yield
    tiles.end()


def _lines(count: int) -> int:
    """`count` rounded up to whole lines of 16."""
    return -(-count // LINE) * LINE
