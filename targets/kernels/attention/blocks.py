"""Walks over the tiles of keys that a mask or a selection leaves: time goes with the tiles, not with the pairs.

A mask by blocks (sparsec/masks.py) becomes lists made at compile time, one for each tile of queries. A selection made
by the run names blocks; where there is a mask as well, a table says what it leaves of their tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from sparsec.ir import AttentionOp, WeightOp, type_of
from sparsec.masks import EMPTY, FULL, PARTIAL, BlockMask
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.attention.walk import QUERIES, Alive, Dense, Place, Tile, Walk
from sparsec.targets.kernels.call import Argument, Packed
from sparsec.weights import WeightStore

NOTHING, WHOLE = -2, -1  # of a tile: no key counts, all do; from 0 on it is a place in the pool


@dataclass(frozen=True)
class Blocks:
    """Lists of tiles. Its arguments: i32 starts [heads · query tiles + 1], then the pairs (first key, what counts); i1
    pool [.., size keys, QUERIES].

    `heads` is 1 where all have the same lists.
    """

    keys: int
    size: int
    heads: int
    tiles: int
    share: float
    partial: float

    name = "_blocks"
    elements = ("i32", "i1")

    def visit(self, b: Builder, place: Place, tile: Tile, alive: Alive | None) -> None:
        """Calls `tile` for the tiles of a list."""
        lists, pool = place.refs
        row = b.as_index(place.tile) + (place.head * self.tiles if self.heads > 1 else 0)
        start, stop = (b.convert(b.load(lists, row + i), "index") for i in (0, 1))
        entries = lists + (self.heads * self.tiles + 1)
        with b.loop(start, stop) as entry:
            first, kept = (b.load(entries, entry * 2 + i) for i in (0, 1))
            _tile(b, self.keys, self.size, b.convert(first, "index"), kept, pool, tile, alive)


@dataclass(frozen=True)
class Selected:
    """What a selection i32 [sequences, heads, query blocks, kept] names. Its arguments: that; with a mask of `masked`
    heads, i32 places [masked, query tiles, key tiles] and the pool of `Blocks`.
    """

    keys: int
    size: int
    heads: int
    blocks: int
    block: int
    kept: int
    masked: int
    tiles: int
    share: float
    partial: float

    @property
    def name(self) -> str:
        """What the kernel's name ends in."""
        return "_selected_masked" if self.masked else "_selected"

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements of its arguments."""
        return ("i32", "i32", "i1") if self.masked else ("i32",)

    def visit(self, b: Builder, place: Place, tile: Tile, alive: Alive | None) -> None:
        """Calls `tile` for the tiles of the blocks of a row."""
        row = place.sequence * self.heads + place.head
        chosen = place.refs[0] + (row * self.blocks + place.tile // (self.block // QUERIES)) * self.kept
        with b.loop(0, self.kept) as index:
            block = b.load(chosen, index)
            with b.if_(block >= 0):
                first = b.convert(block, "index") * self.block
                stop = b.min(first + self.block, b.constant(self.keys))
                with b.loop(first, stop, self.size) as key:
                    self._tile(b, place, key, tile, alive)

    def _tile(self, b: Builder, place: Place, key: Index, tile: Tile, alive: Alive | None) -> None:
        if not self.masked:
            _tile(b, self.keys, self.size, key, None, None, tile, alive)
            return
        _, places, pool = place.refs
        columns = -(-self.keys // self.size)
        row = b.as_index(place.tile) + (place.head * self.tiles if self.masked > 1 else 0)
        kept = b.load(places, row * columns + key // self.size)
        with b.if_(kept > NOTHING):
            _tile(b, self.keys, self.size, key, kept, pool, tile, alive)


def _tile(
    b: Builder,
    keys: int,
    size: int,
    first: Index,
    kept: Value | None,
    pool: Ref | None,
    tile: Tile,
    alive: Alive | None,
) -> None:
    """One tile: code for whole ones, for those that the pool says more of, and for the last, which may be smaller."""

    def any_of(first: Index, count: int) -> None:
        if kept is None or pool is None:
            tile(first, count, None)
            return
        ref = pool + b.convert(b.max(kept, 0), "index") * (size * QUERIES)
        if count < size:  # the pool has a tile in which all counts for this one
            tile(first, count, ref)
            return
        with b.if_(kept < 0) as branch:
            tile(first, count, None)
        with branch.else_():
            tile(first, count, ref)

    whole, rest = divmod(keys, size)
    if not rest or not whole:
        with _unless_dead(b, alive, first, size if whole else rest):
            any_of(first if whole else 0, size if whole else rest)
        return
    with b.if_(b.as_index(first) < whole * size) as branch, _unless_dead(b, alive, first, size):
        any_of(first, size)
    with branch.else_(), _unless_dead(b, alive, whole * size, rest):
        any_of(whole * size, rest)


@contextmanager
def _unless_dead(b: Builder, alive: Alive | None, first: Index, count: int) -> Iterator[None]:
    if alive is None:
        yield
        return
    with b.if_(alive(first, count)):
        yield


def walk_of(op: AttentionOp, weights: WeightStore, size: int) -> tuple[Walk, tuple[Argument, ...]]:
    """The walk of an attention over tiles of `size` keys, and its arguments."""
    keys = op.shape.keys
    if op.mask is None and op.selection is None:
        return Dense(keys, size), ()
    assert isinstance(keys, int), "masks and selections are of sizes that are known"
    mask = _mask(op, weights, size)
    tiles = -(-int(op.shape.queries) // QUERIES)  # pyright: ignore[reportArgumentType]
    if op.selection is None:
        assert mask is not None, "one of the two is there"
        key = _key(op, size)
        walk = Blocks(keys, size, mask.shape[0], tiles, mask.density, mask.density * mask.partial)
        return walk, (Packed(f"{key}, lists", lambda: lists(mask)), Packed(f"{key}, pool", lambda: pool(mask)))
    assert op.block is not None, "a selection has blocks"
    _, heads, blocks, kept = type_of(op.selection).static_shape
    block = op.block.value.data
    share = min(mask.density if mask is not None else 1.0, kept * block / keys)
    partial = share * mask.partial if mask is not None else 0.0
    masked = mask.shape[0] if mask is not None else 0
    walk = Selected(keys, size, heads, blocks, block, kept, masked, tiles, share, partial)
    if mask is None:
        return walk, (op.selection,)
    key = _key(op, size)
    places = Packed(f"{key}, places", lambda: places_of(mask))
    return walk, (op.selection, places, Packed(f"{key}, pool", lambda: pool(mask)))


def _key(op: AttentionOp, size: int) -> str:
    assert op.mask is not None, "who asks has a mask"
    assert isinstance(op.mask.owner, WeightOp), "masks are constants"
    return f"{op.mask.owner.key}, tiles of {QUERIES} x {size}"


def _mask(op: AttentionOp, weights: WeightStore, size: int) -> BlockMask | None:
    """The mask in the tiles of the kernel."""
    if op.mask is None:
        return None
    assert isinstance(op.mask.owner, WeightOp), "masks are constants"
    tile = QUERIES, size
    if type_of(op.mask).format is None:
        return BlockMask.of(weights.of(op.mask.owner), tile)
    mask = weights.mask_of(op.mask.owner)
    return mask if mask.tile == tile else BlockMask.build(mask.shape, tile, mask.rows)


def places_of(mask: BlockMask) -> np.ndarray:
    """i32 [heads, query tiles, key tiles]; the last tile of keys, where it is smaller, is never WHOLE."""
    places = np.where(mask.places >= PARTIAL, mask.places - PARTIAL, mask.places)
    places = np.where(mask.places == EMPTY, NOTHING, np.where(mask.places == FULL, WHOLE, places))
    if mask.shape[2] % mask.tile[1]:
        last = places[..., -1]
        places[..., -1] = np.where(last == WHOLE, len(mask.pool), last)
    return np.ascontiguousarray(places, np.int32)


def pool(mask: BlockMask) -> np.ndarray:
    """The partial tiles, turned, then one in which all counts."""
    return np.ascontiguousarray(np.concatenate([mask.pool, np.ones((1, *mask.tile), np.bool_)]).swapaxes(1, 2))


def lists(mask: BlockMask) -> np.ndarray:
    """The arguments of `Blocks`."""
    places = places_of(mask)
    rows = places.reshape(-1, places.shape[2])
    stored = rows != NOTHING
    starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    pairs = np.stack([np.nonzero(stored)[1] * mask.tile[1], rows[stored]], axis=1)
    return np.concatenate([starts, pairs.ravel()]).astype(np.int32)
