"""Sparse weights: for each non-zero, its value times one row of B is added to the sums of its output.

The stream holds K in blocks whose rows of B stay in L1, and inside a block the outputs sorted by how many non-zeros
they have there. So the inner loop runs equally long many times in a row, and the processor predicts its end: in natural
order a misprediction costs about as much as ten non-zeros.

    head:     for each group, block of K and part of the outputs, where its runs begin (bytes)
    part:     number of runs, runs
    run:      non-zeros of each row, number of rows, rows
    row:      output, then for each non-zero the byte offset of its row of B in the block, and its value

On a Xeon whose registers alone reach 216 GFLOP/s, multiply-adds that each load a vector from L1 reach 137, and this
loop 105 to 110 at 30 % non-zeros. Not faster: two or four non-zeros unrolled, two offsets in one load; slower: offset
and value in one load and the value through a general register (8 %), outputs in natural order (up to 15 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.kernel import ConvKernel, Work
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.region import Body

# Bytes of the stream that are asked for ahead, two lines at once: 6 to 20 % where the weights lie in the L3.
AHEAD, LINES = 2048, 2


@dataclass(frozen=True)
class SparseConv(ConvKernel):
    """`columns` is the width of a tile in floats."""

    columns: int
    weight_element: ClassVar[str] = "i32"

    @property
    def layout(self) -> str:
        return f"csr:g{self.shape.groups}:{self.block * self.shape.taps}:{self.shape.stride}:{self.splits}"

    def pack(self, weight: np.ndarray) -> np.ndarray:
        shape = self.shape
        return pack_sparse(weight, shape.groups, self.block * shape.taps, shape.stride, self.splits)

    def multiply(self, b: Builder, work: Work) -> None:
        parts = self.splits if self.shape.groups == 1 else 1
        head = (work.group * self.blocks + work.block) * parts
        for tile in tiles(self.shape.target.stride, b.isa.lanes, self._most(b.isa)):
            with b.loop(0, tile.repeats) as repeat, b.loop(work.low, work.high) as part:
                column = repeat * (tile.vectors * b.isa.lanes) + tile.start
                place = b.convert(b.load(work.weights, head + part), "index")
                self._part(b, work, tile, column, (work.weights.view("i8") + place).view("i32"))

    def _most(self, isa: Isa) -> int:
        """Vectors of a tile: a value needs a register besides the sums and, but for x86, vectors of B do."""
        return max(1, min(self.columns // isa.lanes, isa.registers - 2 if isa.x86 else isa.registers * 3 // 4))

    def _part(self, b: Builder, work: Work, tile: Tile, column: Index, stream: Ref) -> None:
        runs = b.convert(b.load(stream), "index")
        place: list[Value] = [b.constant(1)]
        with b.loop(0, runs, carry=place):
            count, rows = (b.convert(b.load(stream, place[0] + i), "index") for i in range(2))
            inner = [place[0] + 2]
            with b.loop(0, rows, carry=inner):
                self._row(b, work, tile, column, stream + inner[0], count)
                inner[0] = inner[0] + (count * 2 + 1)
            place[0] = inner[0]

    def _row(self, b: Builder, work: Work, tile: Tile, column: Index, row: Ref, count: Value) -> None:
        """All non-zeros of one output in a block of K."""
        output = b.convert(b.load(row), "index")
        sums = work.output.begin(tile, [output], column, work.block)
        operand = (work.rows + column).view("i8")
        with b.loop(0, count, LINES * 8) as i:
            b.prefetch(row, i * 2 + AHEAD // 4)
        with b.loop(0, count, carry=sums) as i:
            offset = b.convert(b.load(row, i * 2 + 1), "index")
            value = b.broadcast(b.load(row.view("f32"), i * 2 + 2))
            source = (operand + offset).view("f32")
            sums[:] = [b.fma(b.vload(source, v * b.isa.lanes), value, x) for v, x in enumerate(sums)]
        work.output.finish(sums, tile, [output], column, work.block)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        shape, panels = self.shape, self.shape.panels
        widths = tiles(shape.target.stride, isa.lanes, self._most(isa))
        count = sum(tile.repeats for tile in widths)
        vectors = sum(tile.vectors * tile.repeats for tile in widths)
        stored, rows = int(np.count_nonzero(weight)), weight.shape[0] * self.blocks
        wide = 4 * isa.lanes * widths[0].vectors
        far = caches.overflow(min(self.block * shape.taps, shape.depth), wide, 4 * shape.stride)
        return {
            "sparse fma": panels * stored * vectors,
            "sparse far fma": panels * stored * vectors * far,
            "non-zero": panels * stored * count,
            "sparse sum": panels * rows * vectors,
            "sparse row": panels * rows * count,
            **self.shared_events(isa, caches, 8 * stored + 4 * rows),
        }


@dataclass(frozen=True)
class SparseRow(Row):
    """Compressed rows of weights, on tiles of `columns` floats."""

    columns: int

    sparse: ClassVar[bool] = True
    least: ClassVar[int] = 64
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "depth": (32, 48, 64, 80, 96, 128, 192, 256, 384),
        "columns": (32, 64, 96, 112, 128, 160, 208, 256),
    }

    @property
    def name(self) -> str:
        return f"spmm_f32_csr_n{self.columns}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> SparseConv:
        return SparseConv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape), self.columns)


def pack_sparse(weight: np.ndarray, groups: int, block: int, stride: int, splits: int) -> np.ndarray:
    """[M, C, KH, KW] as the stream that `SparseConv` reads: `block` rows of K, rows of B `stride` floats apart."""
    weight = weight.reshape(groups, weight.shape[0] // groups, -1)
    parts = splits if groups == 1 else 1
    each = -(-weight.shape[1] // parts)
    pieces = [
        _part(weight[group, part * each : (part + 1) * each, start : start + block], part * each, stride)
        for group in range(groups)
        for start in range(0, weight.shape[2], block)
        for part in range(parts)
    ]
    sizes = np.array([len(pieces), *map(len, pieces)])
    head = (4 * np.cumsum(sizes)[:-1]).astype(np.int32)
    return np.concatenate([head, *pieces])


def _part(weight: np.ndarray, first: int, stride: int) -> np.ndarray:
    """The runs of one block of K for the outputs from `first` on."""
    counts = np.count_nonzero(weight, axis=1)
    order = np.argsort(counts, kind="stable")
    weight, counts = weight[order], counts[order]
    rows, columns = np.nonzero(weight)
    lengths, starts, members = np.unique(counts, return_index=True, return_counts=True)
    # Words: one for the number of runs, two a run, one a row, two a non-zero.
    before_row = np.concatenate([[0], np.cumsum(1 + 2 * counts)[:-1]])
    run_of_row = np.repeat(np.arange(len(lengths)), members)
    row_place = 1 + 2 * (run_of_row + 1) + before_row
    stream = np.empty(1 + 2 * len(lengths) + len(counts) + 2 * len(rows), np.int32)
    stream[0] = len(lengths)
    run_place = row_place[starts] - 2
    stream[run_place], stream[run_place + 1] = lengths, members
    stream[row_place] = order + first
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = row_place[rows] + 1 + 2 * nth
    stream[place] = columns * (4 * stride)
    stream[place + 1] = weight[rows, columns].astype(np.float32).view(np.int32)
    return stream
