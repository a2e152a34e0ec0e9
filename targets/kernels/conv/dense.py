"""Dense weights: the register tile of a matrix product, fed from packed weights and rows of B."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.blocked import BlockedConv
from sparsec.targets.kernels.conv.kernel import dealt
from sparsec.targets.kernels.conv.output import Work
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.conv.tokens import sized_tiles
from sparsec.targets.kernels.region import Body

AHEAD = 3072  # bytes of weights: without asking for them, weights that lie in the L3 take twice the time
OUTPUTS = 6  # rows of a block of packed weights
SETS_APART = 128  # floats between rows of B, or a multiple, that leave at least half of the sets of an L1 unused
WIDEST = 64  # floats of a tile


@dataclass(frozen=True)
class DenseConv(BlockedConv):
    """Weights packed as [groups][blocks of K][M / 6][K of the block][6], read from front to back.

    Where 6 does not divide M, the last rows are fewer; the last block of K may be shorter. A line of zeros is behind
    them, as weights are read as vectors too.
    """

    weight_element: ClassVar[str] = "f32"
    begins: ClassVar[bool] = True
    outputs: ClassVar[int] = OUTPUTS  # rows of a block of packed weights
    copies: ClassVar[bool] = True  # whether it may copy crowded columns

    @property
    def layout(self) -> str:
        kind = "dense" if self.outputs == OUTPUTS else f"dense{self.outputs}"
        return f"{kind}:g{self.shape.groups}:{self.block * self.shape.taps}"

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_dense(weight, self.shape.groups, self.block * self.shape.taps, self.outputs)

    def register_tile(self, isa: Isa) -> tuple[int, int]:
        """Rows and vectors of a tile: the sums, one row of B and a weight fit in the registers.

        AVX-512 and NEON 6 × 4 (12 × 2 and 8 × 3 were 3 to 8 % slower), AVX2 and WebAssembly 6 × 2: of 57 GFLOP/s V8
        reaches 54, with 3 × 3 and 2 × 4 48, with 4 × 2, which has too few sums for the latency, 37.
        """
        return self.outputs, min(4, (isa.registers - 1) // (self.outputs + 1))

    def multiply(self, b: Builder, work: Work) -> None:
        rows, most = self.register_tile(b.isa)
        full, rest = divmod(self.shape.outputs, self.outputs)
        parts = self.splits if self.shape.groups == 1 else 1
        low, high, has_rest = blocks_of_parts(b, (work.low, work.high), parts, full, rest)
        for tile, start, repeats, pixel in self._tiles(b, work, most):
            with b.loop(0, repeats) as repeat:
                place = repeat * (tile.vectors * b.isa.lanes) + start, pixel
                work = replace(work, near=self._copied(b, work, tile, place[0]) if self.crowded else None)
                with b.loop(low, high) as block:
                    for first in range(0, self.outputs, rows):
                        some = range(first, first + rows)
                        self._tile(b, work, tile, place, block * self.outputs, self.outputs, some)
                if rest:
                    with b.if_(has_rest):
                        for first in range(0, rest, rows):
                            some = range(first, min(first + rows, rest))
                            self._tile(b, work, tile, place, full * self.outputs, rest, some)

    @property
    def crowded(self) -> bool:
        """Whether the columns of a tile are too far apart to fill all sets of the L1: 512 bytes leave half of them.

        Copied, they are one run. On panels of 128 tokens 170 to 180 GFLOP/s instead of 162.
        """
        return self.copies and self.shape.direct and self.shape.stride % SETS_APART == 0

    @property
    def scratch(self) -> int:
        return 4 * self.block * WIDEST if self.crowded else super().scratch

    def _copied(self, b: Builder, work: Work, tile: Tile, column: Index) -> Ref:
        """The columns of a tile of B in scratch."""
        assert work.scratch is not None
        with b.loop(0, work.depth) as k:
            for i in range(tile.vectors):
                vector = b.vload(work.rows + column, k * self.shape.stride + i * b.isa.lanes)
                b.vstore(vector, work.scratch, k * (tile.vectors * b.isa.lanes) + i * b.isa.lanes)
        return work.scratch

    def _tiles(self, b: Builder, work: Work, most: int) -> Iterator[tuple[Tile, Index, Index, int | None]]:
        """The tiles of the panel, each with its first start and its repeats, and the pixel beside it."""
        if work.strips is None:
            for tile, pixel in tiles_and_pixel(self.shape, b.isa, most):
                yield tile, tile.start, tile.repeats, pixel
            return
        cut = lambda columns: tiles(columns, b.isa.lanes, most)  # noqa: E731
        for found in sized_tiles(b, self.shape, work.strips, cut):
            yield *found, None

    def _tile(
        self,
        b: Builder,
        work: Work,
        tile: Tile,
        place: tuple[Index, int | None],
        first: Index,
        packed: int,
        rows: Sequence[int],
    ) -> None:
        """`rows` of a block of weights, which begins at output `first` and has `packed` rows, times one tile of B.

        `place` is the tile's first column, and that of a pixel beside it, whose sums are the lanes of one vector.
        """
        outputs = [first + row for row in rows]
        column, pixel = place
        sums = work.output.begin(tile, outputs, column, work.block)
        if pixel is not None:
            sums += work.output.begin_pixel(outputs, pixel, work.block)
        passed = work.group * self.shape.depth + work.block * (self.block * self.shape.taps)
        weights = work.weights + (passed * self.shape.outputs + first * work.depth + rows[0])
        self._products(b, work, (weights, packed), tile, place, len(rows), sums)
        if pixel is not None:
            work.output.finish_pixel(sums.pop(), outputs, pixel, work.block)
        work.output.finish(sums, tile, outputs, column, work.block)

    def _products(
        self,
        b: Builder,
        work: Work,
        packed: tuple[Ref, int],
        tile: Tile,
        place: tuple[Index, int | None],
        rows: int,
        sums: list[Value],
    ) -> None:
        """Adds the products of a tile through the block of K; `packed` is its weights, and how many K are apart."""
        (weights, pitch), (column, pixel) = packed, place
        operand, apart = work.rows + column, self.shape.stride
        if work.near is not None:
            operand, apart = work.near, tile.vectors * b.isa.lanes
        with b.loop(0, work.depth, carry=sums) as k:
            b.prefetch(weights, k * pitch + AHEAD // 4)
            vectors = [b.vload(operand, k * apart + i * b.isa.lanes) for i in range(tile.vectors)]
            for row in range(rows):
                weight = b.broadcast(b.load(weights, k * pitch + row))
                for i, vector in enumerate(vectors):
                    sums[row * tile.vectors + i] = b.fma(weight, vector, sums[row * tile.vectors + i])
            if pixel is not None:
                weight = b.vload(weights, k * pitch)
                sums[-1] = b.fma(b.broadcast(b.load(work.rows, k * self.shape.stride + pixel)), weight, sums[-1])

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        shape, rows = self.shape, self.shape.panels * self.shape.groups * self.shape.outputs
        parts = tiles_and_pixel(shape, isa, self.register_tile(isa)[1])
        vectors = sum(tile.vectors * tile.repeats for tile, _ in parts)
        blocks = -(-shape.outputs // self.outputs) / shape.outputs
        pixels = sum(pixel is not None for _, pixel in parts)
        return {
            "dense fma": rows * shape.depth * (vectors + pixels * blocks),
            "dense tile": rows * blocks * self.blocks * sum(tile.repeats for tile, _ in parts),
            **self.shared_events(isa, caches, weight.nbytes),
        }


@dataclass(frozen=True)
class DenseRow(Row):
    """Dense weights."""

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = 2 * OUTPUTS
    sized: ClassVar[bool] = True
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (64, 96, 128, 192, 256, 384)}

    @property
    def name(self) -> str:
        return f"conv_f32_dense_m{OUTPUTS}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> DenseConv:
        return DenseConv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape))

    def suits(self, isa: Isa) -> bool:
        return not isa.lane_operands


def tiles_and_pixel(shape: ConvShape, isa: Isa, most: int) -> list[tuple[Tile, int | None]]:
    """The tiles of a panel, of at most `most` vectors.

    One pixel behind full vectors (7 × 7) goes with the last tile, as lanes for its rows: 19 multiply-adds for 6 rows
    instead of 24, a fifth of the time of layers on 7 × 7 pixels.
    """
    last = shape.target.rows * shape.target.width - 1
    if last == 0 or last % isa.lanes or isa.lanes < OUTPUTS:
        return [(tile, None) for tile in tiles(shape.columns(isa), isa.lanes, most)]
    found = [
        replace(tile, start=tile.start + i * tile.vectors * isa.lanes, repeats=1)
        for tile in tiles(last, isa.lanes, most)
        for i in range(tile.repeats)
    ]
    return [(tile, last if tile is found[-1] else None) for tile in found]


def blocks_of_parts(
    b: Builder, wanted: tuple[Index, Index], parts: int, full: int, rest: int
) -> tuple[Index, Index, Value | bool]:
    """The full blocks of outputs in the parts [low, high) of `parts`, and whether the short one is there too."""
    total = full + bool(rest)
    low, high = (dealt(part, total, parts) for part in wanted)
    if isinstance(low, int) and isinstance(high, int):
        return low, min(high, full), low < total <= high
    # There may be more parts than blocks: just one may add to the sums of the last block.
    return low, b.min(b.as_index(high), b.constant(full)), (b.as_index(low) < total) & (b.as_index(high) >= total)


def pack_dense(weight: np.ndarray, groups: int, block: int, outputs: int = OUTPUTS) -> np.ndarray:
    """[M, C, KH, KW] in the order in which `DenseConv` reads it, in blocks of `block` rows of K and of `outputs`."""
    weight = weight.reshape(groups, weight.shape[0] // groups, -1)
    starts = range(0, weight.shape[2], block)
    blocks = ((group, start) for group in range(groups) for start in starts)
    pieces = [pack_rows(weight[group, :, start : start + block], outputs) for group, start in blocks]
    return np.concatenate([*pieces, np.zeros(LINE)], dtype=np.float32)


def pack_rows(weight: np.ndarray, outputs: int = OUTPUTS) -> np.ndarray:
    """[M, K] as [M / outputs][K][outputs], flat."""
    rows, depth = weight.shape
    full = rows // outputs * outputs
    blocks = weight[:full].reshape(full // outputs, outputs, depth).swapaxes(1, 2)
    return np.concatenate([blocks.ravel(), weight[full:].T.ravel()])
