"""Sparse weights: for each non-zero, its value times one row of B is added to the sums of its output (see `stream`).

On a Xeon with 217 GFLOP/s of FMA from registers (3.38 GHz), FMAs that each load a vector from L1 end at 137: the core
lowers its clock to 2.88 GHz (184) and starts 1.5 of them a cycle, as it does for any mix of a zmm load and a vector
instruction. One load for two FMAs reaches 171, which is what blocks of outputs (`height`) are for. This loop has 118 at
7 vectors and 16 non-zeros a row in L1; rows of B, sums and stream that come from L2 take it to 80 to 95 (14 × 14).

Not faster: two or four non-zeros unrolled, two offsets in one load, two to four rows side by side (2 %), asking ahead
for sums, weights with pairs of similar rows as blocks of two (in random weights with 10 to 30 % non-zeros a pair shares
15 to 43 %: 1.6 to 1.85 FMAs a non-zero, at 1.27 times the rate); slower: offset and value in one load and the value
through a general register (8 %), outputs in natural order (up to 15 %).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from sparsec.formats import k_blocked
from sparsec.ir import Format
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.blocked import BlockedConv
from sparsec.targets.kernels.conv.output import Work
from sparsec.targets.kernels.conv.row import CHUNKS, PART_BYTES, Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.conv.stream import (
    accumulate,
    ask_ahead,
    later_output,
    outputs_of,
    pack_stream,
    stored,
    walk,
)
from sparsec.targets.kernels.conv.tokens import sized_tiles
from sparsec.targets.kernels.region import Body

LEAST = 64  # outputs of a part
MOST_SHARE = 16  # lines of B that a row of weights asks for
FAR = 1 << 20  # bytes of activations from which on they are asked for: 64 -> 256 channels of 56 × 56: 0.65 to 0.50 ms


@dataclass(frozen=True)
class SparseConv(BlockedConv):
    """`columns` is the width of a tile in floats; `height` outputs share their non-zeros."""

    columns: int
    height: int
    weight_element: ClassVar[str] = "i32"
    together: ClassVar[int] = 1  # non-zeros that are one step of the loop
    begins: ClassVar[bool] = True

    @property
    def layout(self) -> str:
        depth = self.block * self.shape.taps
        kind = f"csr{self.height}" if self.together == 1 else f"csr{self.height}x{self.together}"
        return f"{kind}:g{self.shape.groups}:{depth}:{self.shape.stride}:{self.splits}"

    def pack(self, weight: np.ndarray) -> np.ndarray:
        places = 4 * self.shape.stride * np.arange(self.block * self.shape.taps)
        return pack_stream(weight, self.height, self.shape.groups, places, self.splits, self.together)

    def multiply(self, b: Builder, work: Work) -> None:
        parts = self.splits if self.shape.groups == 1 else 1
        head = (work.group * self.blocks + work.block) * parts
        for tile, start, repeats in self._tiles(b, work):
            with b.loop(0, repeats) as repeat, b.loop(work.low, work.high) as part:
                column = repeat * (tile.vectors * b.isa.lanes) + start
                place = b.convert(b.load(work.weights, head + part), "index")
                stream = (work.weights.view("i8") + place).view("i32")
                walk(b, stream, self.height, partial(self._row, b, work, tile, column))

    def _tiles(self, b: Builder, work: Work) -> Iterator[tuple[Tile, Index, Index]]:
        """The tiles of the panel, each with its first start and its repeats."""
        most = most_vectors(b.isa, self.columns, self.height)
        if work.strips is None:
            yield from ((tile, tile.start, tile.repeats) for tile in row_tiles(self.shape, b.isa, most))
        else:
            yield from sized_tiles(b, self.shape, work.strips, lambda columns: tiles(columns, b.isa.lanes, most))

    def _row(self, b: Builder, work: Work, tile: Tile, column: Index, row: Ref, count: Value) -> None:
        """All non-zeros of one row in a block of K."""
        outputs = outputs_of(b, row, self.height)
        sums = work.output.begin(tile, outputs, column, work.block)
        ask_ahead(b, row, self.height, count)
        if self._asks_results:
            work.output.ask_for(tile, later_output(b, row, self.height, count), column, work.block)
        if self._asks_operand:
            self._ask_operand(b, work, outputs[0])
        offsets = [v * b.isa.lanes for v in range(tile.vectors)]
        operand = (work.rows + column).view("i8")
        accumulate(b, row, self.height, count, operand, offsets, sums, together=self.together)
        for i, output in reversed(list(enumerate(outputs))):
            work.output.finish(sums[i * tile.vectors :][: tile.vectors], tile, [output], column, work.block)

    @property
    def _asks_results(self) -> bool:
        """Whether results, and what is added to them, are more than the L2 holds: rows visit them in no order."""
        held = 4 * self._held_panels * self.shape.target.panel_size
        return held * (1 + sum(extra.full for extra in self.extras)) > FAR

    @property
    def _asks_operand(self) -> bool:
        """Whether the source is more than the L2 holds, and the block that comes next lies behind this one."""
        held = 4 * self._held_panels * self.shape.source.panel_size
        return self.shape.direct and held > FAR and self._share <= MOST_SHARE

    @property
    def _held_panels(self) -> int:
        """Panels that a layer goes through. Of a symbolic number one counts, as few tokens are slower by asking (an
        encoder of 16 and 64 tokens 7 %), and many are not faster.
        """
        return 1 if self.shape.sized else self.shape.panels

    @property
    def _share(self) -> int:
        """Lines of a block of B for each output."""
        return -(-self.block * self.shape.stride // (LINE * self.shape.outputs))

    def _ask_operand(self, b: Builder, work: Work, output: Value) -> None:
        """Each row of weights prefetches its outputs' share of the next block of B."""
        next_block = self.block * self.shape.stride
        for line in range(self._share * self.height):
            b.prefetch(work.rows, output * (LINE * self._share) + (next_block + LINE * line), locality=2)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        shape, panels = self.shape, self.shape.panels
        widths = row_tiles(shape, isa, most_vectors(isa, self.columns, self.height))
        wide = 4 * isa.lanes * widths[0].vectors
        far = caches.overflow(min(self.block * shape.taps, shape.depth), wide, 4 * shape.stride)
        vectors = sum(tile.vectors * tile.repeats for tile in widths)
        strips = sum(tile.repeats for tile in widths)
        packed = 4 * self.block * shape.taps * shape.stride
        brought = panels * shape.source.channels * shape.taps * vectors if shape.direct or packed > caches.l1 else 0
        return {
            **product_events(weight, self.height, shape.groups, self.blocks, panels * vectors, panels * strips, far),
            "brought vector": brought,
            **self.shared_events(isa, caches, stream_bytes(weight, self.height, shape.groups, self.blocks)),
        }


def product_events(
    weight: np.ndarray, height: int, groups: int, blocks: int, vectors: int, strips: int, far: float
) -> dict[str, float]:
    """The events of all products, on panels of `vectors` in tiles of `strips`; the part `far` of B is not in L1."""
    steps = stored(weight, height, groups) / height
    rows = groups * -(-weight.shape[0] // groups // height) * blocks
    each = {"sparse fma": vectors, "sparse far fma": far * vectors, "non-zero": strips}
    if height > 1:
        each = {"block fma": height * vectors, "block load": vectors, "sparse far fma": far * vectors}
        each["block value"] = height * strips
    return {
        **{name: steps * count for name, count in each.items()},
        "sparse sum": rows * height * vectors,
        "sparse row": rows * strips,
    }


def stream_bytes(weight: np.ndarray, height: int, groups: int, blocks: int) -> float:
    """Bytes of the stream of `weight`."""
    steps = stored(weight, height, groups) / height
    return 4 * (steps * (1 + height) + weight.shape[0] * blocks)


def row_tiles(shape: ConvShape, isa: Isa, most: int) -> list[Tile]:
    """The tiles of a panel, on WebAssembly whole lines where they can be: 12, 12, 12 and 13 vectors for 14 × 14 pixels.

    So a tile touches fewer lines of B and of sums; 3 % faster than 13, 12, 12 and 12 vectors.
    """
    columns, line = shape.columns(isa), LINE // isa.lanes
    found = tiles(columns, isa.lanes, most)
    vectors, count = columns // isa.lanes, sum(tile.repeats for tile in found)
    if not isa.wasm or columns % isa.lanes or count == 1:
        return found
    lines, uneven = divmod(vectors // line, count)
    last = vectors - (count - 1) * lines * line
    if uneven or last > most:
        return found
    return [Tile(0, lines * line, count - 1), Tile((count - 1) * lines * line * isa.lanes, last)]


def most_vectors(isa: Isa, columns: int, height: int) -> int:
    """Vectors of a tile: besides the sums, each output's value needs a register, and on ARM vectors of B do.

    WebAssembly: 13 sums, a value and a vector of B are the 15 registers of V8; tiles of 7 to 9 vectors are 3 to 20 %
    slower on 1024 channels of 7 × 7, 28 × 28 and 56 × 56 pixels.
    """
    if height > 1:
        return max(1, min(columns // isa.lanes, (isa.registers - 1 - height) // height))
    return max(1, min(columns // isa.lanes, isa.registers * 3 // 4 if isa.lane_operands else isa.registers - 2))


@dataclass(frozen=True)
class SparseRow(Row):
    """Compressed rows of weights, or of blocks of `height` outputs, on tiles of `columns` floats."""

    columns: int
    height: int = 1

    sparse: ClassVar[bool] = True
    sized: ClassVar[bool] = True
    least: ClassVar[int] = LEAST
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "depth": (32, 48, 64, 80, 96, 128, 192, 256, 384),
        "columns": (32, 64, 96, 112, 128, 160, 208, 256),
    }

    @property
    def name(self) -> str:
        return f"spmm_f32_{kind(self.height)}_n{self.columns}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> SparseConv:
        block, splits = self.block(shape), self.splits(shape)
        return SparseConv(self.name, shape, extras, epilogue, block, splits, self.columns, self.height)

    def suits(self, isa: Isa) -> bool:
        """Steps of several non-zeros are better where one load gives their values."""
        return self.height > 1 or not isa.lane_operands

    def splits(self, shape: ConvShape) -> int:
        return parts(shape, shape.some_panels)

    def format(self, shape: ConvShape) -> Format:
        return k_blocked(self.block(shape) * shape.taps, self.height)


@dataclass(frozen=True)
class DeepRow(SparseRow):
    """Deep blocks of K on narrow tiles, for WebAssembly: sums are loaded half as often, and rows of B take 36 KB of L1.

    3 to 10 % faster than 128 rows of 52 floats where K is 256 or more and the image larger than 7 × 7.
    """

    space: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def suits(self, isa: Isa) -> bool:
        return isa.wasm


def parts(shape: ConvShape, tiles: int) -> int:
    """Parts of the outputs (or groups) that are chunks of their own, for a result of `tiles` pieces.

    Parts have runs of their own: 16 parts of 64 rows took 6 to 10 % longer than 8 of 128, 4 of them 1 to 2 %.
    """
    wanted = max(-(-CHUNKS // 2 // max(1, tiles)), -(-shape.sums_bytes // PART_BYTES))
    if shape.groups > 1:
        return max(1, min(wanted, shape.groups))
    few = min(-(-CHUNKS // 4 // max(1, tiles)), shape.outputs // LEAST)
    return max(1, min(wanted, max(few, shape.outputs // (2 * LEAST))))


def kind(height: int) -> str:
    """What rows of a stream are called in the names of kernels."""
    return "csr" if height == 1 else f"b{height}x1"
