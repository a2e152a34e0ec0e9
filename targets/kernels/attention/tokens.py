"""Where the tokens of heads lie: values [1, channels, B·S, 1] in panels or row-major; sequences begin anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsec.ir import TensorType
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.isa import LINE


@dataclass(frozen=True)
class Tokens:
    """Token t of channel c lies at t // rows · pitch + c · stride + t % rows; row-major is one panel without padding.

    There are `sequences` runs of `length` tokens, and `depth` channels in each head.
    """

    depth: int
    sequences: Dim
    length: Dim
    rows: Dim
    stride: Dim
    pitch: Dim
    padded: bool

    @classmethod
    def of(cls, type_: TensorType, depth: int, sequences: Dim, length: Dim) -> Tokens:
        """The tokens of a value."""
        _, channels, count, _ = type_.shape
        if type_.panel is None:
            return cls(depth, sequences, length, count, count, count * channels, False)
        panel = type_.panel
        return cls(depth, sequences, length, panel.rows, panel.stride, panel.pitch or channels * panel.stride, True)

    @property
    def together(self) -> bool:
        """Whether all tokens lie in one panel."""
        count = self.sequences * self.length
        return count == self.rows or (isinstance(count, int) and isinstance(self.rows, int) and count <= self.rows)

    def inside(self, tile: int) -> bool:
        """Whether tiles of so many tokens, counted in each sequence, never reach into another panel."""
        return self.together or (_divides(tile, self.rows) and self._begin_at(tile))

    def aligned(self, tile: int) -> bool:
        """Whether such tiles begin on a line of a panel in which they lie, so that whole vectors of it can be read."""
        return self.padded and self.inside(tile) and tile % LINE == 0 and self._begin_at(LINE)

    def _begin_at(self, step: int) -> bool:
        """Whether every sequence begins at a multiple of `step`."""
        return self.sequences == 1 or _divides(step, self.length)

    def head(self, ref: Ref, head: Index) -> Ref:
        """The first channel of a head."""
        return ref + head * (self.depth * self.stride)

    def place(self, token: Index) -> Index:
        """Where a token lies in a channel of panel 0."""
        if self.together:
            return token
        return token // self.rows * self.pitch + token % self.rows

    def pieces(
        self, b: Builder, token: Index, count: Index, tile: int, visit: Callable[[Index, Index, Index], None]
    ) -> None:
        """Calls `visit(place, done, count)` for the `count` ≤ `tile` tokens, panel by panel; `done` come before."""
        if self.inside(tile):
            visit(self.place(token), 0, count)
            return
        at, stop = b.as_index(token), b.as_index(token) + count
        with b.loop(at // self.rows, (stop - 1) // self.rows + 1) as panel:
            first = b.max(at, panel * self.rows)
            last = b.min(stop, panel * self.rows + self.rows)
            visit(panel * self.pitch + (first - panel * self.rows), first - at, last - first)

    def copy(self, b: Builder, source: Ref, token: Index, count: Index, tile: int, target: Ref, pitch: int) -> None:
        """Copies `count` ≤ `tile` tokens of a head, a channel every `pitch` elements."""
        with_rest = not self.aligned(tile)

        def piece(place: Index, done: Index, count: Index) -> None:
            with b.loop(0, self.depth) as channel:
                row, to = source + (place + channel * self.stride), target + (channel * pitch + done)
                sweep(b, count, with_rest, lambda at, left: b.vstore(b.vload(row, at, left), to, at, left))

        self.pieces(b, token, count, tile, piece)

    def store(self, b: Builder, result: Ref, token: Index, count: Index, tile: int, source: Ref, scales: Ref) -> None:
        """Stores `count` ≤ `tile` tokens of a head times `scales`, which differ by token, from rows of `tile`."""
        with_rest = not self.aligned(tile)

        def piece(place: Index, done: Index, count: Index) -> None:
            with b.loop(0, self.depth) as channel:
                row, at_source = result + (place + channel * self.stride), source + (channel * tile + done)

                def move(at: Index, left: Index | None) -> None:
                    b.vstore(b.vload(at_source, at, left) * b.vload(scales + done, at, left), row, at, left)

                sweep(b, count, with_rest, move)

        self.pieces(b, token, count, tile, piece)


def sweep(b: Builder, count: Index, exact: bool, visit: Callable[[Index, Index | None], None]) -> None:
    """Calls `visit(at, None)` for whole vectors of `count` elements, where `exact` `visit(at, left)` for the rest."""
    lanes = b.isa.lanes
    if not exact:
        count = (count + (lanes - 1)) // lanes * lanes
    whole = count // lanes * lanes
    if not (isinstance(whole, int) and whole == 0):
        with b.loop(0, whole, lanes) as at:
            visit(at, None)
    if exact and not (isinstance(count, int) and isinstance(whole, int) and whole == count):
        visit(whole, count - whole)


def _divides(step: int, size: Dim) -> bool:
    return isinstance(size, int) and size % step == 0
