"""The matrix products of Winograd convolutions: weights to points, a block of K at a time; M = U · V at each point."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.dense import OUTPUTS
from sparsec.targets.kernels.conv.shape import LINE, Tile, tiles
from sparsec.targets.kernels.conv.winograd_chunk import Chunk
from sparsec.targets.kernels.conv.winograd_formulas import POINTS, TAPS, filter_to_points


@dataclass(frozen=True)
class Products:
    """The sums of a chunk at all points, for `outputs` outputs whose weights are `taps`; `g` is the matrix."""

    b: Builder
    chunk: Chunk
    g: Ref
    taps: Ref
    outputs: int

    @property
    def size(self) -> int:
        """Floats of the weights of a block of K at one tap or point."""
        return self.chunk.tiling.weights(self.outputs)

    def emit(self) -> None:
        """Writes the sums to scratch."""
        b, tiling = self.b, self.chunk.tiling
        across = tiling.points // POINTS
        with b.loop(0, tiling.blocks) as block:
            taps = self.taps + block * (tiling.taps * self.size)
            with b.loop(0, POINTS) as i:
                self._transform(taps, self.g + i * TAPS)
                with b.loop(0, across) as j:
                    self._multiply(block, i * across + j, j, taps + tiling.taps * self.size)

    def _transform(self, taps: Ref, row: Ref) -> None:
        """The weights of a block at one point along the height, of which `row` is that of G."""
        b, tiling, u, lanes = self.b, self.chunk.tiling, self.chunk.scratch.u, self.b.isa.lanes
        width = tiling.taps // TAPS
        factors = [b.broadcast(b.load(row, i)) for i in range(TAPS)]
        with b.loop(0, self.size, lanes) as at:
            values: list[Value] = []
            for tap in range(width):
                places = (taps + (i * width + tap) * self.size for i in range(TAPS))
                low, middle, high = (b.vload(place, at) for place in places)
                values.append(b.fma(factors[2], high, b.fma(factors[1], middle, factors[0] * low)))
            for j, value in enumerate(filter_to_points(b, values) if tiling.across else values):
                b.vstore(value, u + j * self.size, at, align=4 * lanes)

    def _multiply(self, block: Index, point: Index, across: Index, ahead: Ref) -> None:
        """Adds the products of a block of K at a point; meanwhile the weights `ahead` come to the L2."""
        b, tiling, scratch = self.b, self.chunk.tiling, self.chunk.scratch
        columns, depth, lanes = self.chunk.columns, tiling.block, b.isa.lanes
        u = scratch.u + across * self.size
        v = scratch.v + (point * tiling.v_point + block * (depth * columns))
        m = scratch.m + point * tiling.m_point
        ahead = ahead.view("i8") + point * (4 * tiling.taps * self.size // tiling.points)
        for tile in tiles(columns, lanes, widest(b.isa)):
            rows = tallest(b.isa, tile.vectors)
            full, rest = divmod(self.outputs, rows)
            with b.loop(0, tile.repeats) as repeat:
                column = repeat * (tile.vectors * lanes) + tile.start
                with b.loop(0, full) as part:
                    first = part * rows
                    place = m + (first * columns + column)
                    self._tile((u + first * depth, v + column, place), tile, rows, block, ahead + first * depth)
                if rest:
                    first = full * rows
                    place = m + (column + first * columns)
                    self._tile((u + first * depth, v + column, place), tile, rest, block, ahead + first * depth)

    def _tile(self, refs: tuple[Ref, Ref, Ref], tile: Tile, rows: int, block: Index, ahead: Ref) -> None:
        """`rows` rows of weights, from the beginning of a block of 6 on, times one tile of V."""
        u, v, m = refs
        b, columns, depth, lanes = self.b, self.chunk.columns, self.chunk.tiling.block, self.b.isa.lanes
        places = [row * columns + vector * lanes for row in range(rows) for vector in range(tile.vectors)]
        sums = [b.constant(0.0, "f32", lanes)] * len(places)
        if self.chunk.tiling.blocks > 1:
            with b.if_(block != 0, carry=sums):
                sums[:] = [b.vload(m, place, align=4 * lanes) for place in places]
        with b.loop(0, depth, carry=sums) as k:
            if tile.start == 0:
                b.prefetch(ahead, k * rows, locality=2)
            if self.chunk.tiling.across:  # the rows of V at the next point (2 %)
                for i in range(0, tile.vectors, 1 if b.isa.x86 else LINE // lanes):
                    b.prefetch(v, k * columns + (self.chunk.tiling.v_point + i * lanes))
            vectors = [b.vload(v, k * columns + i * lanes, align=4 * lanes) for i in range(tile.vectors)]
            by_lane = b.isa.lane_operands and rows <= OUTPUTS
            splats = b.vload_splats(u, k * rows, rows) if by_lane else []
            for row in range(rows):
                first = row // OUTPUTS * OUTPUTS
                packed = min(OUTPUTS, rows - first)
                place = k * packed + (first * depth + row - first)
                weight = splats[row] if splats else b.broadcast(b.load(u, place))
                for i, vector in enumerate(vectors):
                    sums[row * tile.vectors + i] = b.fma(weight, vector, sums[row * tile.vectors + i])
        for total, place in zip(sums, places, strict=True):
            b.vstore(total, m, place, align=4 * lanes)


def widest(isa: Isa) -> int:
    """Most vectors in a row of a register tile."""
    return 4 if isa.registers >= 32 else 2


def tallest(isa: Isa, vectors: int) -> int:
    """Rows of a register tile of `vectors` vectors, whole blocks of 6: 24 × 1, 12 × 2, 6 × 3 and 6 × 4 on AVX-512."""
    rows = (isa.registers - 2) // vectors - 1
    return min(4 * OUTPUTS, max(OUTPUTS, rows // OUTPUTS * OUTPUTS))
