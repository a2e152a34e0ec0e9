"""Tiles of a panel of tokens of which only the run knows how many there are.

A panel is full but for the last one, of which only the strips of 16 that hold tokens are computed: in the tiles that a
panel of so many strips would be cut into. So there is code for each width of a tile, and the run picks from it: where a
tile begins, and how many follow one another, for each number of strips, are bytes of constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sparsec.targets.builder import Builder, Index, Value
from sparsec.targets.kernels.conv.shape import ConvShape, Tile
from sparsec.targets.kernels.space import STRIP

MOST = 8  # strips of a panel: as many bytes as a constant has


def strips_of(b: Builder, shape: ConvShape, panel: Index) -> Value:
    """How many strips of a panel hold tokens."""
    planes = shape.target
    left = b.as_index((planes.height + (STRIP - 1)) // STRIP) - panel * (planes.rows // STRIP)
    return b.min(left, planes.rows // STRIP)


def sized_tiles(
    b: Builder, shape: ConvShape, strips: Value, cut: Callable[[int], list[Tile]]
) -> Iterator[tuple[Tile, Index, Index]]:
    """The tiles of `strips` strips, which `cut` makes of a number of columns: a tile, its first start, its repeats."""
    cuts = [cut(STRIP * (number + 1)) for number in range(shape.target.rows // STRIP)]
    for width in sorted({tile.vectors for tiles in cuts for tile in tiles}, reverse=True):
        none = Tile(0, width, 0)
        found = [next((tile for tile in tiles if tile.vectors == width), none) for tiles in cuts]
        starts = _pick(b, [tile.start // b.isa.lanes for tile in found], strips)
        yield Tile(0, width), starts * b.isa.lanes, _pick(b, [tile.repeats for tile in found], strips)


def _pick(b: Builder, choices: Sequence[int], strips: Value) -> Index:
    """The byte that belongs to a number of strips, counted from 1."""
    if len(set(choices)) == 1:
        return choices[0]
    packed = sum(choice << (8 * place) for place, choice in enumerate(choices))
    place = b.convert((strips - 1) * 8, "i64")
    return b.convert(b.shr(b.constant(packed, "u64"), b.convert(place, "u64")) & 255, "index")
