"""The register tile of dense matrix products: rows of broadcast elements times vectors of columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import LINE, Isa

CHAINS = 8  # sums that must run at once: two multiply-adds a cycle with a latency of four
UNROLL = 4  # steps of k written out


@dataclass(frozen=True)
class Matrix:
    """Elements at row · `row` + column · `column` of `ref`, in elements."""

    ref: Ref
    row: Dim
    column: Dim


@dataclass(frozen=True)
class Ahead:
    """Memory to fetch into the second-level cache while a tile is computed: `lines` for every `UNROLL` steps of k."""

    ref: Ref
    lines: int


def tile_rows(isa: Isa) -> int:
    """Rows of the full register tile.

    With 5 NEON holds four elements of each row: 0.54 cycles a multiply-add on Neoverse N1 by llvm-mca, 0.66 with 6.
    """
    return {32: 12 if isa.lanes == 16 else 5, 16: 6, 15: 6}.get(isa.registers, 4)


def tile_vectors(isa: Isa, rows: int, width: int) -> int:
    """Vectors in a row of a tile of `rows`, the more the fewer rows; `width` columns at most."""
    budget = {32: 26, 16: 12, 15: 12}.get(isa.registers, 8)
    vectors = 1
    while 2 * vectors * rows <= budget and 2 * vectors * isa.lanes <= width:
        vectors *= 2
    return vectors


def partial_sums(rows: int, vectors: int) -> int:
    """How many sums each element of a tile is the total of, so that enough of them run at once."""
    copies = 1
    while copies * rows * vectors < CHAINS:
        copies *= 2
    return copies


def multiply(
    b: Builder,
    x: Matrix,
    w: Matrix,
    rows: int,
    counts: Sequence[int | None],
    k: Dim,
    copies: int | None = None,
    started: list[Value] | None = None,
    ahead: Ahead | None = None,
) -> list[Value]:
    """The sums x[r, :k] · w[:k, c] of `rows` rows and one vector of columns for each of `counts` (None: whole).

    `w` has columns of stride 1, of f32 or f16. `copies` is the `partial_sums` of another tile, where this one has to
    add in the same order; `started` are sums to go on from; `ahead` is prefetched meanwhile. The sums of a row come one
    after another.
    """
    lanes = b.isa.lanes
    copies = copies or partial_sums(rows, len(counts))
    # In longer code LLVM computes one sum of wasm after the other: 51 GFLOP/s of 57, with 4 steps written out 40.
    unroll = copies if b.isa.wasm else max(UNROLL, copies)
    zero = b.constant(0.0, "f32", lanes)
    size = rows * len(counts)
    sums = [*(started or [zero] * size), *[zero] * ((copies - 1) * size)]

    by_lane = b.isa.lane_operands and x.column == 1 and unroll % lanes == 0

    def step(at: Index, copy: int, elements: Sequence[Value] | None = None) -> None:
        loaded = [b.vload(w.ref, at * w.row + v * lanes, count) for v, count in enumerate(counts)]
        columns = [b.convert(vector, "f32") for vector in loaded]
        for row in range(rows):
            element = elements[row] if elements else b.load(x.ref, at * x.column + row * x.row)
            scalar = b.broadcast(element, lanes)
            for v, column in enumerate(columns):
                place = (copy * rows + row) * len(counts) + v
                sums[place] = b.fma(scalar, column, sums[place])

    with b.loop(0, k // unroll * unroll, unroll, carry=sums) as i:
        if ahead:
            for line in range(ahead.lines):
                b.prefetch(ahead.ref, i * (ahead.lines * LINE // UNROLL) + line * LINE, locality=2)
        several: list[Value] = []
        for more in range(unroll):
            if by_lane and more % lanes == 0:
                several = [b.vload(x.ref, i + more + row * x.row) for row in range(rows)]
            step(i + more, more % copies, [b.extract(each, more % lanes) for each in several])
    if isinstance(k, int):
        for i in range(k // unroll * unroll, k):
            step(i, i % copies)
    else:
        with b.loop(k // unroll * unroll, k, carry=sums) as i:
            step(i, 0)
    while len(sums) > size:
        half = len(sums) // 2
        sums = [x + y for x, y in zip(sums[:half], sums[half:], strict=True)]
    return sums


def column_vectors(lanes: int, width: int) -> list[int | None]:
    """The `counts` of `multiply` that cover `width` columns."""
    whole, rest = divmod(width, lanes)
    return [None] * whole + ([rest] if rest else [])


@dataclass(frozen=True)
class Rows:
    """`count` rows in tiles of almost equal height: the first `large` tiles have `rows` + 1 rows, the others `rows`."""

    count: int
    tiles: int

    @classmethod
    def of(cls, count: int, most: int) -> Rows:
        """As few tiles of at most `most` rows as there can be."""
        return cls(count, -(-count // most))

    @property
    def rows(self) -> int:
        return self.count // self.tiles if self.tiles else 0

    @property
    def large(self) -> int:
        return self.count - self.rows * self.tiles

    def visit(self, b: Builder, tile: Callable[[Index, int], None]) -> None:
        """Calls `tile(first row, rows)` for all tiles."""
        bulk = self.large * (self.rows + 1)
        if self.large:
            with b.loop(0, bulk, self.rows + 1) as row:
                tile(row, self.rows + 1)
        if self.large < self.tiles:
            with b.loop(bulk, self.count, self.rows) as row:
                tile(row, self.rows)
