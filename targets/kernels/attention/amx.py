"""Both products of a tile of keys on AMX, rounded to bf16; scores, powers and sums stay f32, in vectors as in `tile`.

    s[64 keys][32 queries] = kt[keys][features] · qp[pairs of features][queries]
    o[features][queries]  += vb[features][keys] · pp[pairs of keys][queries]

Queries and powers become pairs of rows, which are whole vectors; values are rounded where they lie; keys are turned in
registers, 16 × 16 pairs at once.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import LINE
from sparsec.targets.kernels.amx import CONFIG_BYTES, DEPTH, PIXELS, ROWS, Tiles
from sparsec.targets.kernels.attention.scores import Operands
from sparsec.targets.kernels.attention.tile import Group, TileCode
from sparsec.targets.kernels.attention.walk import QUERIES
from sparsec.targets.kernels.gemm import Matrix
from sparsec.targets.kernels.pairs import consecutive, pair

KEYS = 64
PAIRS = DEPTH // 2  # in a row of a tile
SUMS, LEFT, RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)


def fits(depth: int, value_depth: int, keys: int) -> bool:
    """Whether heads of these sizes are whole tiles."""
    return depth % DEPTH == 0 and value_depth % DEPTH == 0 and keys == KEYS


def scratch_sizes(depth: int, value_depth: int, kept: int) -> tuple[int, ...]:
    """Elements of 4 bytes: the configuration of the tiles, qp, kt and vb of all tiles that are `kept`, pp."""
    half, count = KEYS // 2, max(kept, 1)
    return CONFIG_BYTES // 4, depth // 2 * QUERIES, count * half * depth, count * half * value_depth, half * QUERIES


@dataclass(frozen=True)
class AmxCode(TileCode):
    """`packed` are qp, kt, vb and pp in scratch, of i32. Where tiles of keys and values are `kept` for the chunks of a
    head, they are packed when it is `fresh`: that takes half the time of a chunk.
    """

    packed: tuple[Ref, Ref, Ref, Ref]
    kept: bool
    fresh: Value

    def prepare(self) -> None:
        """Queries as pairs."""
        b, (qp, *_) = self.b, self.packed
        with b.loop(0, self.depth // 2) as row:
            for at in range(0, QUERIES, LINE):
                low, high = (b.vload(self.scratch.q, row * (2 * QUERIES) + (side * QUERIES + at)) for side in (0, 1))
                b.vstore(pair(b, low, high), qp, row * QUERIES + at)

    def at(self, key: Index) -> AmxCode:
        """Each tile has a place of its own."""
        if not self.kept:
            return self
        qp, kt, vb, pp = self.packed
        place = (key + (KEYS - 1)) // KEYS
        moved = kt + place * (KEYS // 2 * self.depth), vb + place * (KEYS // 2 * self.value_depth)
        return replace(self, packed=(qp, *moved, pp))

    def emit(self, group: Group, keys: Matrix, values: Matrix, count: Index, operands: Operands, kept: Ref | None):
        """As without AMX."""
        with self.b.if_(self.fresh) if self.kept else nullcontext():
            self._pack_keys(keys, count)
            self._pack_values(values, count)
        self._multiply_keys()
        largest = self._score_all(group, count, operands, kept)
        masked = kept is not None or any(extra.by_query and extra.by_key for extra in operands.extras)
        shrunk = self._powers(group, largest, count, masked)
        self._pack_powers(group, count)
        self._multiply_values(group, shrunk)

    def _mask(self, count: Index, at: Index) -> Value | None:
        """Which of the keys from `at` on exist."""
        if isinstance(count, int) and count == KEYS:
            return None
        return self.b.mask(self.b.as_index(count) - at)

    def _pack_keys(self, keys: Matrix, count: Index) -> None:
        b, (_, kt, *_) = self.b, self.packed
        with b.loop(0, KEYS, ROWS) as key:
            mask = self._mask(count, key)
            with b.loop(0, self.depth, DEPTH) as feature:
                source = keys.ref + (key + feature * keys.column)
                rows = [b.vload(source, i * keys.column, mask=mask) for i in range(DEPTH)]
                pairs = [pair(b, low, high) for low, high in zip(rows[::2], rows[1::2], strict=True)]
                for i, row in enumerate(turned(b, pairs)):
                    b.vstore(row, kt, (key + i) * (self.depth // 2) + feature // 2)

    def _pack_values(self, values: Matrix, count: Index) -> None:
        b, vb = self.b, self.packed[2]
        with b.loop(0, self.value_depth) as row:
            source = values.ref + row * values.column
            for at in range(0, KEYS, DEPTH):
                first, second = (b.vload(source, i, mask=self._mask(count, i)) for i in (at, at + LINE))
                b.vstore(consecutive(b, first, second), vb, row * (KEYS // 2) + at // 2)

    def _multiply_keys(self) -> None:
        qp, kt, *_ = self.packed
        tiles, pitch = Tiles(self.b), self.depth // 2
        with self.b.loop(0, KEYS, 2 * ROWS) as key:
            for tile in SUMS:
                tiles.zero(tile)
            for step in range(self.depth // DEPTH):
                lefts = [kt + (key + a * ROWS) * pitch + step * PAIRS for a in (0, 1)]
                rights = [qp + (step * PAIRS * QUERIES + c * PIXELS) for c in (0, 1)]
                self._multiply(tiles, lefts, 4 * pitch, rights)
            for tile in SUMS:
                a, c = divmod(tile, 2)
                tiles.store(tile, self.scratch.s + (key + a * ROWS) * QUERIES + c * PIXELS, 4 * QUERIES)

    def _multiply_values(self, group: Group, shrunk: list[Value]) -> None:
        b, (_, _, vb, pp) = self.b, self.packed
        tiles, sums, pitch = Tiles(b), self.scratch.o, KEYS // 2
        with b.loop(0, self.value_depth) as row:
            for v, factor in enumerate(shrunk):
                at = row * QUERIES + (group.query + v * b.isa.lanes)
                b.vstore(b.vload(sums, at) * factor, sums, at)
        with b.loop(0, self.value_depth, 2 * ROWS) as row:
            places = [sums + (row + a * ROWS) * QUERIES + c * PIXELS for a in (0, 1) for c in (0, 1)]
            for tile, place in zip(SUMS, places, strict=True):
                tiles.load(tile, place, 4 * QUERIES)
            for step in range(KEYS // DEPTH):
                lefts = [vb + (row + a * ROWS) * pitch + step * PAIRS for a in (0, 1)]
                rights = [pp + (step * PAIRS * QUERIES + c * PIXELS) for c in (0, 1)]
                self._multiply(tiles, lefts, 4 * pitch, rights)
            for tile, place in zip(SUMS, places, strict=True):
                tiles.store(tile, place, 4 * QUERIES)

    def _multiply(self, tiles: Tiles, lefts: list[Ref], pitch: int, rights: list[Ref]) -> None:
        """Two by two tiles of sums; `pitch` bytes from row to row on the left."""
        for number, left, right in zip((0, 1), lefts, rights, strict=True):
            tiles.load(LEFT[number], left, pitch)
            tiles.load(RIGHT[number], right, 4 * QUERIES)
        for tile in SUMS:
            a, c = divmod(tile, 2)
            tiles.multiply(tile, LEFT[a], RIGHT[c])

    def _score_all(self, group: Group, count: Index, operands: Operands, kept: Ref | None) -> list[Value]:
        """Products become scores; gives the largest of each query."""
        b, lanes, place = self.b, self.b.isa.lanes, self.scratch
        largest = [b.vload(place.m, group.query + v * lanes) for v in range(group.vectors)]
        with b.loop(0, count, carry=largest) as key:
            for v in range(group.vectors):
                query = group.query + v * lanes
                product = b.vload(place.s, key * QUERIES + query)
                score = self._score(product, operands, query, key, group.count, kept)
                largest[v] = b.select(score > largest[v], score, largest[v])
                b.vstore(score, place.s, key * QUERIES + query)
        return largest

    def _pack_powers(self, group: Group, count: Index) -> None:
        """Powers as pairs of keys; of keys that do not exist, 0."""
        b, lanes, pp, s = self.b, self.b.isa.lanes, self.packed[3], self.scratch.s
        if not (isinstance(count, int) and count == KEYS):
            with b.loop(count, KEYS) as key:
                for at in range(0, QUERIES, lanes):
                    b.vstore(b.constant(0.0, "f32", lanes), s, key * QUERIES + at)
        with b.loop(0, KEYS // 2) as row:
            for v in range(group.vectors):
                at = group.query + v * lanes
                low, high = (b.vload(s, row * (2 * QUERIES) + (side * QUERIES + at)) for side in (0, 1))
                b.vstore(pair(b, low, high), pp, row * QUERIES + at)


def turned(b: Builder, rows: list[Value]) -> list[Value]:
    """The transpose of a square of vectors, in as many rounds as its size has bits."""
    size = len(rows)
    halves = [[i // 2 + half * size // 2 + i % 2 * size for i in range(size)] for half in (0, 1)]
    for _ in range(size.bit_length() - 1):
        pairs = zip(rows[: size // 2], rows[size // 2 :], strict=True)
        rows = [b.shuffle(x, y, half) for x, y in pairs for half in halves]
    return rows
