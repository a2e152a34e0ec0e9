"""Masks of attention by blocks: which tiles of [heads, queries, keys] hold a kept pair, and what partly kept ones hold.

    causal, tiles of 2:    places = [[2, 0],      pool = [[[1, 0],        0: nothing is kept, the tile is not computed
                                     [1, 2]]               [1, 1]]]       1: everything is kept; 2 + n: as pool[n]

That is the format `block_format(2, 2)`, "d0: dense, d1/2: dense, d2/2: compressed, d1%2: dense, d2%2: dense", of a
mask of booleans, with equal blocks stored once. A causal mask or a window of any length has two or three of them, so
that no array of queries × keys is ever made: masks are built from stripes of some queries, and kept in this form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sparsec.ir import Format, Level

EMPTY, FULL, PARTIAL = 0, 1, 2
Rows = Callable[[int, int], np.ndarray]
"""(first, count) → [heads, count, keys], true where the query and the key are a kept pair."""


def block_format(queries: int, keys: int) -> Format:
    """The format of a mask [heads, queries, keys] of which the tiles that hold a kept pair are stored."""
    outer = Level(0, "dense"), Level(1, "dense", "/", queries), Level(2, "compressed", "/", keys)
    return Format((*outer, Level(1, "dense", "%", queries), Level(2, "dense", "%", keys)))


def tile_of(format: Format) -> tuple[int, int]:
    """The queries and keys of a tile of `block_format`. Raises ValueError for another format."""
    tiles = {level.dim: level.tile for level in format.levels if level.part == "/"}
    if len(tiles) != 2 or format != block_format(tiles.get(1, 0), tiles.get(2, 0)):
        raise ValueError(f"{format} is no format of tiles of an attention mask")
    return tiles[1], tiles[2]


@dataclass(frozen=True, eq=False)
class BlockMask:
    """A mask of booleans [heads, queries, keys]; heads is 1 where all are alike.

    `places` i32 [heads, query tiles, key tiles] are EMPTY, FULL, or PARTIAL + an index of `pool` [n, *tile].
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int]
    places: np.ndarray
    pool: np.ndarray

    dtype = np.dtype(np.bool_)

    @staticmethod
    def build(shape: tuple[int, int, int], tile: tuple[int, int], rows: Rows) -> BlockMask:
        """The mask whose stripes `rows` gives."""
        places = np.zeros((shape[0], -(-shape[1] // tile[0]), -(-shape[2] // tile[1])), np.int32)
        known: dict[bytes, int] = {}
        pool: list[np.ndarray] = []
        for index in range(places.shape[1]):
            first = index * tile[0]
            stripe = rows(first, min(tile[0], shape[1] - first))
            places[:, index], tiles = _classify(stripe, tile)
            for (head, key), kept in tiles:
                number = known.setdefault(np.packbits(kept).tobytes(), len(pool))
                if number == len(pool):
                    pool.append(kept)
                places[head, index, key] = PARTIAL + number
        return BlockMask(shape, tile, places, np.array(pool, np.bool_).reshape(-1, *tile))._merged()

    @staticmethod
    def of(array: np.ndarray, tile: tuple[int, int]) -> BlockMask:
        """The mask that an array [heads, queries, keys] is: true, or not zero, where a pair is kept."""
        heads, queries, keys = array.shape
        return BlockMask.build((heads, queries, keys), tile, lambda first, count: array[:, first : first + count] != 0)

    @property
    def format(self) -> Format:
        """What is stored, as levels."""
        return block_format(*self.tile)

    @property
    def density(self) -> float:
        """The share of tiles that are computed."""
        return float((self.places != EMPTY).mean()) if self.places.size else 0.0

    @property
    def partial(self) -> float:
        """The share of the tiles that are computed whose elements must be looked at."""
        return float((self.places >= PARTIAL).sum() / max(1, (self.places != EMPTY).sum()))

    @property
    def nbytes(self) -> int:
        """Bytes of the places and of the pool."""
        return self.places.nbytes + self.pool.nbytes

    @property
    def has_empty_rows(self) -> bool:
        """Whether some query keeps no key at all."""
        return any(not stripe.any(axis=2).all() for stripe in self.stripes())

    def rows(self, first: int, count: int) -> np.ndarray:
        """The stripe of `count` queries from `first` on, as booleans [heads, count, keys]."""
        low, high = first // self.tile[0], -(-(first + count) // self.tile[0])
        tiles = np.concatenate([np.zeros((1, *self.tile), bool), np.ones((1, *self.tile), bool), self.pool])
        heads, queries, keys = self.places[:, low:high].shape
        whole = tiles[self.places[:, low:high]].transpose(0, 1, 3, 2, 4)
        whole = whole.reshape(heads, queries * self.tile[0], keys * self.tile[1])
        start = first - low * self.tile[0]
        return whole[:, start : start + count, : self.shape[2]]

    def stripes(self) -> Iterator[np.ndarray]:
        """All queries, a tile's at a time."""
        for first in range(0, self.shape[1], self.tile[0]):
            yield self.rows(first, min(self.tile[0], self.shape[1] - first))

    def dense(self) -> np.ndarray:
        """The whole mask as an array: queries × keys bytes a head."""
        return self.rows(0, self.shape[1])

    def head(self, index: int) -> BlockMask:
        """The mask of one head alone."""
        return BlockMask((1, *self.shape[1:]), self.tile, self.places[index : index + 1], self.pool)

    def same(self, other: BlockMask) -> bool:
        """Whether both keep the same pairs; the numbers of partial tiles may differ."""
        if self.shape != other.shape or self.tile != other.tile:
            return False
        pairs = np.unique(np.stack([self.places.ravel(), other.places.ravel()]), axis=1).T
        return all(_equal_tiles(self, int(a), other, int(b)) for a, b in pairs)

    def _merged(self) -> BlockMask:
        """With one head where all are alike."""
        if self.shape[0] < 2 or (self.places != self.places[:1]).any():
            return self
        return BlockMask((1, *self.shape[1:]), self.tile, self.places[:1], self.pool)


def _classify(stripe: np.ndarray, tile: tuple[int, int]) -> tuple[np.ndarray, list[tuple[tuple[int, int], np.ndarray]]]:
    """What the tiles of a stripe are, [heads, key tiles], and the partial ones by head and key tile."""
    heads, count, keys = stripe.shape
    columns = -(-keys // tile[1])
    padded = np.zeros((heads, tile[0], columns * tile[1]), np.bool_)
    padded[:, :count, :keys] = stripe
    tiles = padded.reshape(heads, tile[0], columns, tile[1])
    kept = np.add.reduce(np.add.reduce(tiles, axis=3, dtype=np.int32), axis=1)
    widths = np.minimum(tile[1], keys - np.arange(columns) * tile[1])
    places = np.where(kept == count * widths, FULL, EMPTY).astype(np.int32)
    partial = np.argwhere((kept > 0) & (kept < count * widths))
    return places, [((int(h), int(k)), tiles[h, :, k].copy()) for h, k in partial]


def _equal_tiles(a: BlockMask, i: int, b: BlockMask, j: int) -> bool:
    if min(i, j) < PARTIAL:
        return i == j
    return np.array_equal(a.pool[i - PARTIAL], b.pool[j - PARTIAL])
