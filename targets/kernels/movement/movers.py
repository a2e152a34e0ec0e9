"""How the elements of a box move, by what its innermost loops look like: one function for each pattern of `Copy`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

from sparsec.ir.dims import Dim, fixed
from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.movement.boxes import Axis, Box, Range, walk
from sparsec.targets.kernels.space import dot
from sparsec.targets.kernels.strips import joined

UNROLL = 4  # vectors that one turn of a loop moves
WRITTEN_OUT = 16  # vectors of a row that are moved without a loop
REPEATS = 4  # repeats of an element that are made by permuting vectors
SCALARS = 16  # elements that are loaded one by one into a vector, at most

Move = Callable[[Sequence[Index], int], None]


class Mover:
    """A box being copied: its source and target from the box's first element on. Reversed loops start at their end."""

    def __init__(self, b: Builder, box: Box, source: Ref | None, target: Ref) -> None:
        self.b, self.box, self.target = b, box, target
        self.source = source if source is not None else target
        self.element = target.element
        self.lanes = b.isa.lanes * 4 // elements.size(target.element)

    @contextmanager
    def loops(self, ranges: Sequence[Range], inner: int) -> Iterator[tuple[Index, Index]]:
        """Loops over all but the `inner` innermost axes; gives the offsets in source and target."""
        axes = self.box.axes[: len(ranges) - inner]
        with walk(self.b, ranges[: len(axes)]) as indices:
            pairs = list(zip(axes, indices, strict=True))
            source = reduce(lambda total, pair: self.place(*pair) + total, pairs, 0)
            yield source, dot(indices, [axis.target for axis in axes])

    def place(self, axis: Axis, index: Index, last: int = 0) -> Index:
        """Where the source stands at an index of a loop; with `last`, the lowest place up to that of index + `last`."""
        if axis.forwards:
            return index * axis.source
        return (axis.size - 1 - last - index) * -axis.source


def cover(b: Builder, size: Dim, span: Range, lanes: int, move: Move) -> None:
    """Calls `move(places, lanes)` until [start, stop) of a loop of `size` is covered; tails overlap their neighbour.

    A range is either the whole loop or at least `lanes` long. Where only the run knows, tails are ever shorter vectors.
    """
    start, stop = span
    if not isinstance(size, int):
        _loop(b, span, lanes, move)
        _halves(b, span, lanes, move)
        return
    while lanes > size:
        lanes //= 2
    if isinstance(stop, int) and isinstance(start, int) and stop - start <= WRITTEN_OUT * lanes:
        places = list(range(start, stop - lanes + 1, lanes))
        for first in range(0, len(places), UNROLL):
            move(places[first : first + UNROLL], lanes)
    else:
        _loop(b, span, lanes, move)
    if size % lanes:
        move([stop - lanes], lanes)


def _loop(b: Builder, span: Range, lanes: int, move: Move) -> None:
    (start, stop), turn = span, lanes * UNROLL
    bulk = (stop - start) // turn * turn + start
    with b.loop(start, bulk, turn) as at:
        move([at + lane * lanes for lane in range(UNROLL)], lanes)
    with b.loop(bulk, stop - (lanes - 1), lanes) as at:
        move([at], lanes)


def _halves(b: Builder, span: Range, lanes: int, move: Move) -> None:
    """What vectors of `lanes` leave of a range."""
    start, stop = span
    rest = (b.as_index(stop) - start) % lanes
    first = b.as_index(stop) - rest
    while lanes > 1:
        lanes //= 2
        with b.if_((rest & lanes) != 0):
            move([rest // (2 * lanes) * (2 * lanes) + first], lanes)


def rows(m: Mover, ranges: Sequence[Range]) -> None:
    """Contiguous elements."""
    with m.loops(ranges, 1) as (source, target):

        def move(places: Sequence[Index], lanes: int) -> None:
            vectors = [m.b.vload(m.source, source + at, lanes=lanes) for at in places]
            for at, vector in zip(places, vectors, strict=True):
                m.b.vstore(vector, m.target, target + at)

        cover(m.b, m.box.axes[-1].size, ranges[-1], m.lanes, move)


def fill(m: Mover, ranges: Sequence[Range]) -> None:
    """One element, or a constant, over a contiguous run."""
    with m.loops(ranges, 1) as (source, target):
        constant = m.box.argument is None
        value = m.b.constant(m.box.value, m.element) if constant else m.b.load(m.source, source)

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                m.b.vstore(m.b.broadcast(value, lanes), m.target, target + at)

        cover(m.b, m.box.axes[-1].size, ranges[-1], m.lanes, move)


def back(m: Mover, ranges: Sequence[Range]) -> None:
    """Contiguous elements in reverse."""
    axis = m.box.axes[-1]
    with m.loops(ranges, 1) as (source, target):

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                vector = m.b.vload(m.source, m.place(axis, at, lanes - 1) + source, lanes=lanes)
                m.b.vstore(m.b.permute(vector, range(lanes)[::-1]), m.target, target + at)

        cover(m.b, axis.size, ranges[-1], m.lanes, move)


def steps(m: Mover, ranges: Sequence[Range]) -> None:
    """Elements some steps apart in the source."""
    axis = m.box.axes[-1]
    order, step = (1, axis.source) if axis.forwards else (-1, -axis.source)
    with m.loops(ranges, 1) as (source, target):

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                low = m.place(axis, at, lanes - 1) + source
                vector = m.b.vload_strided(m.source, low, step, lanes=lanes)
                m.b.vstore(m.b.permute(vector, range(lanes)[::order]), m.target, target + at)

        cover(m.b, axis.size, ranges[-1], min(m.lanes, SCALARS), move)


def repeats(m: Mover, ranges: Sequence[Range]) -> None:
    """Contiguous elements, each written a few times."""
    axis, count = m.box.axes[-2], fixed(m.box.axes[-1].size)
    with m.loops(ranges, 2) as (source, target):

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                vector = m.b.vload(m.source, source + at, lanes=lanes)
                for part in range(count):
                    chosen = m.b.permute(vector, [(part * lanes + lane) // count for lane in range(lanes)])
                    m.b.vstore(chosen, m.target, at * count + target + part * lanes)

        cover(m.b, axis.size, ranges[-2], m.lanes, move)


def tiles(m: Mover, ranges: Sequence[Range]) -> None:
    """The innermost loop walks across lines of the source: tiles of lines, or of every other element of these, are
    transposed in registers.

    Tiles that share a cache line of the target are written together: else AVX2 took twice as long on 512 × 512.
    """
    size = elements.size(m.element)
    across, along = m.box.axes[-2:]
    group, width = 16 // size, 64 // size
    if isinstance(along.size, int):
        while width > along.size:
            width //= 2
    if isinstance(along.size, int) and isinstance(across.size, int):
        _tiles(m, ranges, group, width)
        return
    fits = (m.b.as_index(along.size) >= width) & (m.b.as_index(across.size) >= group)
    with m.b.if_(fits) as branch:
        _tiles(m, ranges, group, width)
    with branch.else_():
        single(m, ranges)


def _tiles(m: Mover, ranges: Sequence[Range], group: int, width: int) -> None:
    """Tiles of `group` elements of `width` lines."""
    b, (across, along) = m.b, m.box.axes[-2:]
    order = range(width) if along.forwards else range(width)[::-1]
    step = along.source if along.forwards else -along.source
    lanes = min(width, m.lanes)
    with (
        m.loops(ranges, 2) as (source, target),
        _tiled(b, along.size, ranges[-1], width) as i,
        _tiled(b, across.size, ranges[-2], group) as j,
    ):
        place = m.place(along, i, width - 1) + source + j * across.source
        for part in range(0, width, lanes):
            offsets = [place + line * step for line in order[part : part + lanes]]
            lines = [b.vload_strided(m.source, offset, fixed(across.source), lanes=group) for offset in offsets]
            columns = _transposed(b, [joined(b, lines[k::group]) for k in range(group)])
            for k, column in enumerate(columns):
                b.vstore(column, m.target, (j + k) * across.target + target + i + part)


def single(m: Mover, ranges: Sequence[Range]) -> None:
    """Element by element."""
    with m.loops(ranges, 0) as (source, target):
        constant = m.box.argument is None
        value = m.b.constant(m.box.value, m.element) if constant else m.b.load(m.source, source)
        m.b.store(value, m.target, target)


@contextmanager
def _tiled(b: Builder, size: Dim, span: Range, tile: int) -> Iterator[Index]:
    """Walks a range in tiles; the last one overlaps its neighbour where they do not fit."""
    start, stop = span
    with b.loop(start, stop, tile) as at:
        last = stop - tile
        if size % tile == 0:
            yield at
        else:
            yield min(at, last) if isinstance(at, int) and isinstance(last, int) else b.min(b.as_index(at), last)


def _transposed(b: Builder, vectors: list[Value]) -> list[Value]:
    """In every 128 bits, element i of vector k becomes element k of vector i: rounds of interleaving halves."""
    group, lanes = len(vectors), vectors[0].lanes or 1
    order = [[lane // group * group + (lane % group + side * group) // 2 for lane in range(lanes)] for side in (0, 1)]
    picks = [[x + lanes * (lane % 2) for lane, x in enumerate(half)] for half in order]
    for _ in range(group.bit_length() - 1):
        pairs = zip(vectors[: group // 2], vectors[group // 2 :], strict=True)
        vectors = [b.shuffle(low, high, pick) for low, high in pairs for pick in picks]
    return vectors


PATTERNS: dict[str, Callable[[Mover, Sequence[Range]], None]] = {
    function.__name__: function for function in (rows, fill, back, steps, repeats, tiles, single)
}
