"""A tile of keys for a tile of queries: scores, powers, and what they add to the result; all with queries in lanes.

    s[j, i] = score(Σ k[d, j] · q[d, i])                    the largest score of each query so far: m
    p[j, i] = 2^((s[j, i] − m[i]) · log2 e)                 sums of p so far, for each query
    o[d, i] = o[d, i] · 2^((m before − m) · log2 e) + Σ v[d, j] · p[j, i]

The online softmax of Milakov and Gimelshein (2018) as in FlashAttention (Dao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sparsec.targets import vector_math
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.attention.scores import Operands
from sparsec.targets.kernels.attention.walk import QUERIES
from sparsec.targets.kernels.gemm import UNROLL, Matrix, Rows, multiply, tile_rows, tile_vectors
from sparsec.targets.kernels.region import Body

LOG2_E = 1.4426950408889634
INF = float("inf")


@dataclass(frozen=True)
class Scratch:
    """What a chunk keeps: q [depth][QUERIES], s [keys][QUERIES], o [value depth][QUERIES], m and sums [QUERIES]."""

    q: Ref
    s: Ref
    o: Ref
    m: Ref
    sums: Ref


@dataclass(frozen=True)
class Group:
    """`vectors` vectors of queries from `query` of the chunk on: the columns of register tiles."""

    query: Index
    vectors: int
    count: Index | None  # queries of the chunk that exist, unless all do


@dataclass(frozen=True)
class TileCode:
    """Writes the code of one tile of keys for one group of queries."""

    b: Builder
    score: Body
    depth: int
    value_depth: int
    scratch: Scratch

    def at(self, key: Index) -> TileCode:
        """The code for the tile of keys from `key` on."""
        return self

    def emit(self, group: Group, keys: Matrix, values: Matrix, count: Index, operands: Operands, kept: Ref | None):
        """`keys` and `values` have a row for each key of the tile and a column for each feature."""
        largest = self._scores(group, keys, count, operands, kept)
        masked = kept is not None or any(extra.by_query and extra.by_key for extra in operands.extras)
        shrunk = self._powers(group, largest, count, masked)
        self._values(group, values, count, shrunk)

    def start(self, group: Group) -> None:
        """Before the first tile."""
        b, lanes = self.b, self.b.isa.lanes
        for v in range(group.vectors):
            b.vstore(b.constant(-INF, "f32", lanes), self.scratch.m, group.query + v * lanes)
            b.vstore(b.constant(0.0, "f32", lanes), self.scratch.sums, group.query + v * lanes)
            with b.loop(0, self.value_depth) as d:
                b.vstore(b.constant(0.0, "f32", lanes), self.scratch.o, d * QUERIES + (group.query + v * lanes))

    def finish(self, group: Group, guard: bool) -> None:
        """In sums is then what o must be multiplied with; where all scores are −inf, 0 with `guard`, else NaN."""
        b = self.b
        for v in range(group.vectors):
            at = group.query + v * b.isa.lanes
            none = b.constant(0.0 if guard else float("nan"), "f32", b.isa.lanes)
            scale = b.select(b.vload(self.scratch.m, at) == -INF, none, 1.0 / b.vload(self.scratch.sums, at))
            b.vstore(scale, self.scratch.sums, at)

    def _scores(self, group: Group, keys: Matrix, count: Index, operands: Operands, kept: Ref | None) -> list[Value]:
        """Stores the scores of the tile, and gives the largest of each query."""
        b, lanes, place = self.b, self.b.isa.lanes, self.scratch
        largest = [b.vload(place.m, group.query + v * lanes) for v in range(group.vectors)]
        queries = Matrix(place.q + group.query, QUERIES, 1)

        def tile(row: Index, rows: int) -> None:
            part = Matrix(keys.ref + row * keys.row, keys.row, keys.column)
            sums = multiply(b, part, queries, rows, [None] * group.vectors, self.depth)
            for i, total in enumerate(sums):
                r, v = divmod(i, group.vectors)
                query = group.query + v * lanes
                score = self._score(total, operands, query, row + r, group.count, kept)
                largest[v] = b.select(score > largest[v], score, largest[v])
                b.vstore(score, place.s, (row + r) * QUERIES + query)

        visit_rows(b, count, tile_rows(b.isa), tile, largest)
        return largest

    def _score(
        self, product: Value, operands: Operands, query: Index, key: Index, count: Index | None, kept: Ref | None
    ) -> Value:
        b = self.b
        left = None if count is None else b.as_index(count) - query
        (score,) = self.score.emit(b, [product, *operands.load(b, query, key, left)])
        if kept is None:
            return score
        return b.select(b.vload(kept, key * QUERIES + query), score, -INF)

    def _powers(self, group: Group, largest: list[Value], count: Index, masked: bool) -> list[Value]:
        """Scores become powers; gives by what the sums so far shrink.

        Where scores may be `masked`, powers of −inf are 0: the least power, 2^-125, would make the first sums of a
        query denormal, and a window then takes the time of all tiles.
        """
        b, lanes, place = self.b, self.b.isa.lanes, self.scratch
        shifts, shrunk, sums = [], [], []
        for v in range(group.vectors):
            at = group.query + v * lanes
            shifts.append(b.select(largest[v] == -INF, 0.0, largest[v]))
            shrunk.append(self._power(b.vload(place.m, at), shifts[v]))
            sums.append(b.vload(place.sums, at) * shrunk[v])
            b.vstore(largest[v], place.m, at)
        with b.loop(0, count, carry=sums) as key:
            for v in range(group.vectors):
                at = key * QUERIES + (group.query + v * lanes)
                score = b.vload(place.s, at)
                power = self._power(score, shifts[v])
                power = b.select(score == -INF, b.constant(0.0, "f32", lanes), power) if masked else power
                b.vstore(power, place.s, at)
                sums[v] = sums[v] + power
        for v in range(group.vectors):
            b.vstore(sums[v], place.sums, group.query + v * lanes)
        return shrunk

    def _power(self, score: Value, shift: Value) -> Value:
        """e^(score − shift); of the least floats, too, which times log2 e would be −inf."""
        return vector_math.exp2_for_sum(self.b, (score - shift) * LOG2_E)

    def _values(self, group: Group, values: Matrix, count: Index, shrunk: list[Value]) -> None:
        """Adds values times powers to the result."""
        b, lanes, place = self.b, self.b.isa.lanes, self.scratch
        powers = Matrix(place.s + group.query, QUERIES, 1)

        def tile(row: Index, rows: int) -> None:
            at = [(row + r) * QUERIES + (group.query + v * lanes) for r in range(rows) for v in range(group.vectors)]
            started = [b.vload(place.o, to) * shrunk[i % group.vectors] for i, to in enumerate(at)]
            part = Matrix(values.ref + row * values.column, values.column, values.row)
            sums = added(b, part, powers, rows, group.vectors, count, started)
            for to, total in zip(at, sums, strict=True):
                b.vstore(total, place.o, to)

        visit_rows(b, self.value_depth, tile_rows(b.isa), tile, [])


def group_vectors(b: Builder) -> int:
    """Vectors of queries in a register tile."""
    return tile_vectors(b.isa, tile_rows(b.isa), QUERIES)


def visit_rows(b: Builder, count: Index, most: int, tile: Callable[[Index, int], None], carry: list[Value]) -> None:
    """Calls `tile(first row, rows)` for all tiles of `count` rows; those that only the run knows end in small tiles."""
    if not isinstance(count, int):
        done: Index = 0
        for size in (most, 4, 1):
            stop = done + (count - done) // size * size
            with b.loop(done, stop, size, carry=carry) as row:
                tile(row, size)
            done = stop
        return
    rows = Rows.of(count, most)
    bulk = rows.large * (rows.rows + 1)
    if rows.large:
        with b.loop(0, bulk, rows.rows + 1, carry=carry) as row:
            tile(row, rows.rows + 1)
    if rows.large < rows.tiles:
        with b.loop(bulk, count, rows.rows, carry=carry) as row:
            tile(row, rows.rows)


def added(b: Builder, x: Matrix, w: Matrix, rows: int, vectors: int, k: Index, sums: list[Value]) -> list[Value]:
    """`sums` and x[r, :k] · w[:k, c], also where only the run knows k."""
    counts = [None] * vectors
    if isinstance(k, int):
        return multiply(b, x, w, rows, counts, k, started=sums)
    for start, stop, step in ((0, k // UNROLL * UNROLL, UNROLL), (k // UNROLL * UNROLL, k, 1)):
        with b.loop(start, stop, step, carry=sums) as i:
            left, right = (replace(matrix, ref=matrix.ref + i * by) for matrix, by in ((x, x.column), (w, w.row)))
            sums[:] = multiply(b, left, right, rows, counts, step, copies=1, started=list(sums))
    return sums
