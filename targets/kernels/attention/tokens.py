"""Where the tokens of heads lie: values [1, channels, B·S, 1] in panels or row-major; sequences begin anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsec.ir import TensorType
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
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

        def piece(place: Index, done: Index, count: Index) -> None:
            spans = Spans(b, count, tile, not self.aligned(tile))
            with b.loop(0, self.depth) as channel:
                row, to = source + (place + channel * self.stride), target + (channel * pitch + done)
                spans.visit(lambda at, mask: b.vstore(b.vload(row, at, mask=mask), to, at, mask=mask))

        self.pieces(b, token, count, tile, piece)

    def store(self, b: Builder, result: Ref, token: Index, count: Index, tile: int, source: Ref, scales: Ref) -> None:
        """Stores `count` ≤ `tile` tokens of a head times `scales`, which differ by token, from rows of `tile`."""

        def piece(place: Index, done: Index, count: Index) -> None:
            spans = Spans(b, count, tile, not self.aligned(tile))
            with b.loop(0, self.depth) as channel:
                row, at_source = result + (place + channel * self.stride), source + (channel * tile + done)

                def move(at: Index, mask: Value | None) -> None:
                    scaled = b.vload(at_source, at, mask=mask) * b.vload(scales + done, at, mask=mask)
                    b.vstore(scaled, row, at, mask=mask)

                spans.visit(move)

        self.pieces(b, token, count, tile, piece)


class Spans:
    """The vectors of `count` elements, at most `most`; where not `exact`, the last is whole whatever comes after them.

    With masked access, vectors that the run decides upon have masks, made once: no loop, no branch.
    """

    def __init__(self, b: Builder, count: Index, most: int, exact: bool) -> None:
        lanes = b.isa.lanes
        self._b, self._masks = b, None
        self._count = count if exact else (count + (lanes - 1)) // lanes * lanes
        if isinstance(self._count, int):
            self._masks = [self._mask(self._count - at) for at in range(0, self._count, lanes)]
        elif b.isa.masked_memory:
            self._masks = [b.mask(self._count - at) for at in range(0, most, lanes)]

    def _mask(self, left: int) -> Value | None:
        return None if left >= self._b.isa.lanes else self._b.mask(left)

    def visit(self, visit: Callable[[Index, Value | None], None]) -> None:
        """Calls `visit(at, mask)` for each vector, None where all lanes count."""
        b, lanes = self._b, self._b.isa.lanes
        for index, mask in enumerate(self._masks or []):
            visit(index * lanes, mask)
        if self._masks is None:
            whole = self._count // lanes * lanes
            with b.loop(0, whole, lanes) as at:
                visit(at, None)
            visit(whole, b.mask(self._count - whole))


def cuts_panels(keys: Tokens, values: Tokens, tile: int) -> bool:
    """Whether tiles are counted from the panels' begin: those of a sequence straddle panels, which whole tiles fill."""
    straddle = not (keys.inside(tile) and values.inside(tile))
    return straddle and keys.rows == values.rows and _divides(tile, keys.rows)


def _divides(step: int, size: Dim) -> bool:
    return isinstance(size, int) and size % step == 0
