"""Sparse weights of bf16 in pairs of channels: one vdpbf16ps adds two products to each sum (see `stream` and `Grid`).

A stored pair costs what a non-zero of f32 does, and holds one or two of them: with 30 % non-zeros at random 0.85 pairs
take the place of a non-zero, with 10 % 0.95; pruned in blocks of 1 × 2, 0.5. On a Xeon, whose vdpbf16ps takes two
cycles, that is no gain (102 against 137 GFLOP/s of f32 FMA, both with a load each); on AMD's CPUs it is as fast as FMA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from sparsec.ir import Format, Level
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.bf16_row import COPY_BYTES
from sparsec.targets.kernels.conv.grid import STEP, Grid
from sparsec.targets.kernels.conv.paired import PairedConv, Part, ordered
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.conv.sparse import LEAST, most_vectors, parts
from sparsec.targets.kernels.conv.stream import accumulate, ask_ahead, outputs_of, pack_stream, walk
from sparsec.targets.kernels.region import Body


@dataclass(frozen=True)
class SparseBf16Conv(PairedConv):
    """`columns` is the width of a tile in floats; a block of K is whole groups of 32 channels."""

    columns: int

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, False)

    @property
    def layout(self) -> str:
        return f"pairs:{self.block}:{self.grid.plane}:{self.grid.pitch}:{self.splits}"

    @property
    def places(self) -> np.ndarray:
        """The bytes where the rows of a block begin in the copy."""
        grid, (down, across) = self.grid, self.grid.taps
        taps = np.array([[grid.run(0, i, j) for j in range(across)] for i in range(down)])
        groups = np.arange(-(-grid.groups // self.blocks)) * (across * STEP * grid.plane)
        places = groups[:, None, None, None] + taps[None, :, :, None] + np.arange(STEP) * grid.plane
        return 4 * places.ravel()

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_stream(pairs_of(weight, self.grid), 1, 1, self.places, self.splits)

    def compute(self, b: Builder, part: Part) -> None:
        grid, each = self.grid, len(self.places) // (self.grid.taps[0] * self.grid.taps[1] * STEP)
        with b.loop(0, self.blocks) as block:
            rows = part.copy + block * (each * grid.taps[1] * STEP * grid.plane)
            for tile in tiles(self.shape.target.stride, b.isa.lanes, most_vectors(b.isa, self.columns, 1)):
                with b.loop(0, tile.repeats) as repeat, b.loop(part.low, part.high) as index:
                    column = repeat * (tile.vectors * b.isa.lanes) + tile.start
                    place = b.convert(b.load(part.weights, block * self.splits + index), "index")
                    stream = (part.weights.view("i8") + place).view("i32")
                    walk(b, stream, 1, partial(self._row, b, part, rows, block, tile, column))

    def _row(
        self,
        b: Builder,
        part: Part,
        rows: Ref,
        block: Index,
        tile: Tile,
        column: Index,
        row: Ref,
        count: Value,
    ) -> None:
        """All pairs of one output in a block of K."""
        outputs = outputs_of(b, row, 1)
        sums = part.output.begin(tile, outputs, column, block)
        ask_ahead(b, row, 1, count)
        offsets = [v * b.isa.lanes for v in range(tile.vectors)]
        accumulate(b, row, 1, count, (rows + column).view("i8"), offsets, sums, "i32")
        part.output.finish(sums, tile, outputs, column, block)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        shape, widths = self.shape, tiles(self.shape.target.stride, isa.lanes, most_vectors(isa, self.columns, 1))
        vectors = shape.panels * sum(tile.vectors * tile.repeats for tile in widths)
        strips = shape.panels * sum(tile.repeats for tile in widths)
        stored, rows = int(np.count_nonzero(pairs_of(weight, self.grid))), shape.outputs * self.blocks
        traffic = self.traffic(caches, 8 * stored + 4 * rows)
        functions = traffic.pop("epilogue function")
        return {
            "pair dot": stored * vectors,
            "pair": stored * strips,
            "pair sum": rows * vectors,
            "pair row": rows * strips,
            **self.copy_events(isa),
            **{f"bf16 {name}": count for name, count in traffic.items()},
            **({"epilogue function": functions} if functions else {}),
        }


@dataclass(frozen=True)
class SparseBf16Row(Row):
    """Compressed rows of pairs, on tiles of `columns` floats; about `depth` rows of pairs in a block of K."""

    columns: int

    sparse: ClassVar[bool] = True
    least: ClassVar[int] = LEAST
    reads_pairs: ClassVar[bool] = True
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (48, 80, 128), "columns": (64, 128, 208)}

    @property
    def name(self) -> str:
        return f"spmm_bf16_csr_n{self.columns}k{self.depth}"

    def fits(self, shape: ConvShape) -> bool:
        return shape.groups == 1 and 4 * Grid(shape, False).size <= COPY_BYTES

    def block(self, shape: ConvShape) -> int:
        """Input channels in a block of K: whole groups of 32, in blocks as equal as they can be."""
        grid = Grid(shape, False)
        most = max(1, self.depth // (STEP * grid.taps[0] * grid.taps[1]))
        each = -(-grid.groups // -(-grid.groups // most))
        return shape.channels if each >= grid.groups else each * 2 * STEP

    def splits(self, shape: ConvShape) -> int:
        return parts(shape, shape.panels)

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> SparseBf16Conv:
        return SparseBf16Conv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape), self.columns)

    def format(self, shape: ConvShape) -> Format:
        """Of each output and pair of channels the taps under which one of both is not zero."""
        return Format((Level(0, "dense"), Level(1, "dense", "/", 2), Level(2, "compressed"), Level(1, "dense", "%", 2)))


def pairs_of(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """[M, C, KH, KW] as [M, K / 2] of 32 bits each in the order of the kernels; floats only in name."""
    bits = np.ascontiguousarray(ordered(weight, grid))
    return bits.reshape(len(weight), -1).view(np.float32)
