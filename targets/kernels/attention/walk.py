"""Which tiles of keys a tile of queries meets, and in which order: all of them, or what a mask leaves.

A walk is a part of the kernel's specification. It calls `tile(first key, count, kept)` for each tile of keys. `count`
keys exist in it (a number where that is known). `kept` is None, or refers to booleans [keys of a tile][QUERIES] that
are true where the key counts for the query: the scores of all others become −inf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value

QUERIES = 32  # of a chunk: two vectors of AVX-512, four of AVX2, eight of NEON

Tile = Callable[[Index, Index, "Ref | None"], None]
Alive = Callable[[Index, Index], Value]


@dataclass(frozen=True)
class Place:
    """What a chunk computes: tile `tile` of the queries of a head of a sequence; `refs` are the walk's own.

    `before` is how many keys of other sequences come before the first one in its panel.
    """

    sequence: Index
    head: Index
    tile: Index
    refs: list[Ref]
    before: Index = 0


class Walk(Protocol):
    """The order of the tiles of keys. Frozen, hashable and printable, as all of a kernel's specification."""

    @property
    def name(self) -> str:
        """What the kernel's name ends in; empty for the dense walk."""
        ...

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements of the arguments that it needs, which come before the result."""
        ...

    @property
    def share(self) -> float:
        """The part of all tiles that is computed, at most."""
        ...

    @property
    def partial(self) -> float:
        """The part of all tiles of which only some keys count."""
        ...

    def visit(self, b: Builder, place: Place, tile: Tile, alive: Alive | None) -> None:
        """Calls `tile` for all tiles of keys that the queries of `place` meet.

        `alive(first key, count)` tells whether a padding mask leaves a key of the tile; None: there is no such mask.
        """
        ...


@dataclass(frozen=True)
class Dense:
    """All `keys` in tiles of `size`; in tiles of a panel where sequences begin anywhere in panels (`cut`)."""

    keys: Dim
    size: int
    cut: bool = False

    name = ""
    elements = ()
    share, partial = 1.0, 0.0

    def visit(self, b: Builder, place: Place, tile: Tile, alive: Alive | None) -> None:
        """The last tile is code of its own."""
        if self.cut:
            self._by_panels(b, place.before, tile, alive)
            return
        if not isinstance(self.keys, int):
            keys = b.size(self.keys)
            whole = keys // self.size
            with b.loop(0, whole) as index:
                self._unless_dead(b, index * self.size, self.size, tile, alive)
            with b.if_(whole * self.size < keys):
                self._unless_dead(b, whole * self.size, keys - whole * self.size, tile, alive)
            return
        whole, rest = divmod(self.keys, self.size)
        if whole:
            with b.loop(0, whole) as index:
                self._unless_dead(b, index * self.size, self.size, tile, alive)
        if rest:
            self._unless_dead(b, whole * self.size, rest, tile, alive)

    def _by_panels(self, b: Builder, before: Index, tile: Tile, alive: Alive | None) -> None:
        """The first and the last tile are what others leave of their panels; as fast as tiles of a known size."""
        at = b.as_index(before)
        stop = at + self.keys
        with b.loop(at // self.size * self.size, stop, self.size) as start:
            first, last = b.max(at, start), b.min(stop, start + self.size)
            self._unless_dead(b, first - at, last - first, tile, alive)

    def _unless_dead(self, b: Builder, first: Index, count: Index, tile: Tile, alive: Alive | None) -> None:
        if alive is None:
            tile(first, count, None)
            return
        with b.if_(alive(first, count)):
            tile(first, count, None)
