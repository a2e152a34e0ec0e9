"""Convolutions with ARM's arithmetic on f16, eight products an instruction instead of four (`--precision f16`).

A block of K of a panel is rounded to f16 in scratch. Products are added in f16 through the block; sums of blocks are
f32 and lie in the target, as activations do. A block has few rows, for each addition in f16 is off by up to 2^-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels.conv.blocked import BlockedConv
from sparsec.targets.kernels.conv.dense import blocks_of_parts
from sparsec.targets.kernels.conv.neon import OUTPUTS, TOGETHER, LaneDenseConv, LaneDenseRow, QuadConv, QuadRow
from sparsec.targets.kernels.conv.output import Work
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.conv.sparse import product_events, stream_bytes
from sparsec.targets.kernels.conv.stream import accumulate, ask_ahead, outputs_of, pack_stream, walk
from sparsec.targets.kernels.region import Body

LANES = 8  # of f16 in a vector
DENSE_VECTORS = 3  # of a dense tile


@dataclass(frozen=True)
class HalfConv(BlockedConv):
    """A convolution whose rows of B are f16 in scratch, behind those that are packed."""

    @property
    def group(self) -> int:
        return self.splits

    @property
    def singly(self) -> bool:
        return False

    @property
    def scratch(self) -> int:
        return self._packed + 2 * self.block * self.shape.taps * self.shape.stride

    @property
    def _packed(self) -> int:
        """Bytes of the rows of B that are packed as f32."""
        return -(-super().scratch // LINE_BYTES) * LINE_BYTES

    def prepared(self, b: Builder, rows: Ref, scratch: Ref, depth: Index) -> Ref:
        """The rows of B of a block, rounded."""
        halves = (scratch + self._packed).view("f16")
        with b.loop(0, depth) as row, b.loop(0, self.shape.stride, 2 * LANES) as column:
            at = row * self.shape.stride + column
            for vector in range(2):
                value = b.convert(b.vload(rows, at + vector * LANES, lanes=LANES), "f16")
                b.vstore(value, halves, at + vector * LANES)
        return halves

    @property
    def pixels(self) -> int:
        """Floats of a row of the result, whole vectors of f16."""
        return -(-self.shape.target.rows * self.shape.target.width // LANES) * LANES

    def rounded_events(self, events: Mapping[str, float]) -> dict[str, float]:
        """`events`, and those of rounding B and of adding up sums of blocks."""
        shape = self.shape
        copies = shape.panels * shape.source.channels * shape.taps * shape.stride / LANES
        return {**events, "copy": events.get("copy", 0.0) + copies}

    def add(
        self, b: Builder, work: Work, sums: Sequence[Value], tile: Tile, outputs: Sequence[Index], column: Index
    ) -> None:
        """Adds the sums of a block, output by output, to those of the blocks before it, and stores them."""
        wide = Tile(0, 2 * tile.vectors)
        for i, output in enumerate(outputs):
            halves = sums[i * tile.vectors :][: tile.vectors]
            values = [b.convert(b.half(x, side), "f32") for x in halves for side in (0, 1)]
            if self.blocks > 1:
                before = work.output.begin(wide, [output], column, work.block)
                values = [x + y for x, y in zip(before, values, strict=True)]
            work.output.finish(values, wide, [output], column, work.block)


@dataclass(frozen=True)
class HalfDenseConv(HalfConv, LaneDenseConv):
    """Dense weights in f16, in tiles of 8 outputs × 3 vectors."""

    weight_element: ClassVar[str] = "f16"

    @property
    def layout(self) -> str:
        return f"half {super().layout}"

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return super().pack(weight).astype(np.float16)

    def multiply(self, b: Builder, work: Work) -> None:
        full, rest = divmod(self.shape.outputs, OUTPUTS)
        parts = self.splits if self.shape.groups == 1 else 1
        low, high, has_rest = blocks_of_parts(b, (work.low, work.high), parts, full, rest)
        for tile in tiles(self.pixels, LANES, DENSE_VECTORS):
            with b.loop(0, tile.repeats) as repeat:
                column = repeat * (tile.vectors * LANES) + tile.start
                with b.loop(low, high) as block:
                    self._half_tile(b, work, tile, column, block * OUTPUTS, OUTPUTS)
                if rest:
                    with b.if_(has_rest):
                        self._half_tile(b, work, tile, column, full * OUTPUTS, rest)

    def _half_tile(self, b: Builder, work: Work, tile: Tile, column: Index, first: Index, outputs: int) -> None:
        """`outputs` outputs from `first` on."""
        passed = work.group * self.shape.depth + work.block * (self.block * self.shape.taps)
        weights = work.weights + (passed * self.shape.outputs + first * work.depth)
        operand = work.rows + column
        sums = [b.constant(0.0, "f16", LANES)] * (outputs * tile.vectors)
        with b.loop(0, work.depth, carry=sums) as k:
            loaded = b.vload(weights, k * outputs, lanes=LANES)  # there are zeros behind the last weights
            vectors = [b.vload(operand, k * self.shape.stride + v * LANES, lanes=LANES) for v in range(tile.vectors)]
            for i in range(outputs):
                value = b.broadcast(b.extract(loaded, i), LANES)
                for v, vector in enumerate(vectors):
                    sums[i * tile.vectors + v] = b.fma(vector, value, sums[i * tile.vectors + v])
        self.add(b, work, sums, tile, [first + i for i in range(outputs)], column)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        shape, widths = self.shape, tiles(self.pixels, LANES, DENSE_VECTORS)
        rows = shape.panels * shape.groups * shape.outputs
        each = -(-shape.outputs // OUTPUTS) / shape.outputs
        return self.rounded_events(
            {
                "dense fma": rows * shape.depth * sum(tile.vectors * tile.repeats for tile in widths),
                "dense tile": rows * each * self.blocks * sum(tile.repeats for tile in widths),
                **self.shared_events(isa, caches, weight.nbytes / 2),
            }
        )


@dataclass(frozen=True)
class HalfSparseConv(HalfConv, QuadConv):
    """Sparse weights, whose values are f16 in words of 32 bits."""

    @property
    def layout(self) -> str:
        return f"half {super().layout}"

    def pack(self, weight: np.ndarray) -> np.ndarray:
        places = 2 * self.shape.stride * np.arange(self.block * self.shape.taps)
        return pack_stream(_halves(weight), 1, self.shape.groups, places, self.splits, TOGETHER)

    @property
    def tiles(self) -> list[Tile]:
        """Tiles of vectors of f16."""
        return tiles(self.pixels, LANES, max(1, self.columns // LANES))

    def multiply(self, b: Builder, work: Work) -> None:
        parts = self.splits if self.shape.groups == 1 else 1
        head = (work.group * self.blocks + work.block) * parts
        for tile in self.tiles:
            with b.loop(0, tile.repeats) as repeat, b.loop(work.low, work.high) as part:
                column = repeat * (tile.vectors * LANES) + tile.start
                place = b.convert(b.load(work.weights, head + part), "index")
                stream = (work.weights.view("i8") + place).view("i32")
                walk(b, stream, 1, partial(self._half_row, b, work, tile, column))

    def _half_row(self, b: Builder, work: Work, tile: Tile, column: Index, row: Ref, count: Value) -> None:
        """All non-zeros of one row in a block of K."""
        outputs = outputs_of(b, row, 1)
        sums = [b.constant(0.0, "f16", LANES)] * tile.vectors
        ask_ahead(b, row, 1, count)
        offsets = [v * LANES for v in range(tile.vectors)]
        accumulate(b, row, 1, count, (work.rows + column).view("i8"), offsets, sums, "f16", TOGETHER)
        self.add(b, work, sums, tile, outputs, column)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        panels, groups = self.shape.panels, self.shape.groups
        vectors = sum(tile.vectors * tile.repeats for tile in self.tiles)
        strips = sum(tile.repeats for tile in self.tiles)
        events = product_events(weight, 1, groups, self.blocks, panels * vectors, panels * strips, 0.0)
        events["sparse sum"] *= 2
        stream = stream_bytes(weight, 1, groups, self.blocks)
        return self.rounded_events({**events, **self.shared_events(isa, caches, stream)})


def _halves(weight: np.ndarray) -> np.ndarray:
    """f16 as the lower halves of words, which here are those of f32; what f16 rounds to zero is none."""
    return (weight.astype(np.float16) + np.float16(0)).view(np.uint16).astype(np.uint32).view(np.float32)


class _HalfRow:
    """What rows of f16 ask of an ISA and a shape."""

    sized: ClassVar[bool] = False

    def suits(self, isa: Isa) -> bool:
        return isa.half_arithmetic

    def fits(self, shape: ConvShape) -> bool:
        """Whether rows of the result hold whole vectors of f16."""
        return shape.target.stride % (2 * LANES) == 0


@dataclass(frozen=True)
class HalfDenseRow(_HalfRow, LaneDenseRow):
    """Dense weights in f16."""

    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (32, 64, 128)}

    @property
    def name(self) -> str:
        return f"conv_f16_dense_m{OUTPUTS}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> HalfDenseConv:
        return HalfDenseConv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape))


@dataclass(frozen=True)
class HalfQuadRow(_HalfRow, QuadRow):
    """Compressed rows of weights in f16, on tiles of `columns` elements."""

    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (64, 128, 256), "columns": (32, 64, 112)}

    @property
    def name(self) -> str:
        return f"spmm_f16_quads_n{self.columns}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> HalfSparseConv:
        block, splits = self.block(shape), self.splits(shape)
        return HalfSparseConv(self.name, shape, extras, epilogue, block, splits, self.columns, self.height)
