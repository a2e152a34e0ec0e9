"""Sparse windows of bf16: weights as masks and stored pairs, expanded tile by tile between the products of `PixelConv`.

With 10 % non-zeros that is 27 % of the bytes of dense weights, which come from beyond the L2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.ir import Format
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.bf16 import TILE
from sparsec.targets.kernels.conv.bf16_row import COPY_BYTES
from sparsec.targets.kernels.conv.expanded import pair_format
from sparsec.targets.kernels.conv.grid import STEP
from sparsec.targets.kernels.conv.paired import Part
from sparsec.targets.kernels.conv.pixels import PixelConv, PixelGrid, pack_pixels
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.region import Body

MASKS = amx.ROWS // 2  # words of the masks of a tile, two of 16 bits in each
PANELS = 4  # of an image
EARLY = 2  # steps that weights are expanded ahead: with 1, products wait for stores (210 µs instead of 153)
AHEAD = 4096  # bytes of the stream that are asked for ahead
LINES = 4  # so many lines at once


@dataclass(frozen=True)
class ExpandedPixelConv(PixelConv):
    """For each 16 outputs and step along K a mask of the outputs that store each of 16 pairs, then stored pairs.

    Before all that, the bytes where each 16 outputs begin. The first strip of pixels expands `EARLY` steps ahead of
    its products; where there are other strips, they read what it leaves in scratch.
    """

    @property
    def layout(self) -> str:
        return "expanded pixels"

    @property
    def scratch(self) -> int:
        return super().scratch + 4 * TILE * (self.steps + EARLY)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_expanded_tiles(pack_pixels(weight, self.grid))

    def _block(self, b: Builder, part: Part, block: Index, outputs: int) -> None:
        at = [b.convert(b.load(part.weights, block), "index")]
        tiles, rows = (part.sums + self.sums).view("i32"), (block, outputs)
        if b.isa.tiles:
            columns = min(self.strip, self.grid.columns)
            self._first(b, part, at, tiles, columns // amx.PIXELS)
            self._finish(b, part, 0, rows, columns)
            self._strips(b, part, tiles, rows, 1)
        else:
            with b.loop(0, self.steps, carry=at) as step:
                self._expand(b, part.weights, at, tiles + step * TILE)
            self._strips(b, part, tiles, rows)
        if part.output.revised and not self.grid.plain:
            self._revise(b, part.output, block * self.together, outputs)

    def _first(self, b: Builder, part: Part, at: list[Value], target: Ref, width: int) -> None:
        """The first strip by AMX: one tile of weights is expanded while another is multiplied.

        Without other strips a ring of a few places stays in L1.
        """
        tiles, (down, across) = amx.Tiles(b), self.grid.taps
        ring = 2 * EARLY if self.grid.columns <= self.strip else self.steps + EARLY
        with b.loop(0, EARLY, carry=at) as step:
            self._expand(b, part.weights, at, target + step * TILE)
        for cell in range(width):
            tiles.zero(cell)
        with (
            b.loop(0, self.grid.groups, carry=at) as group,
            b.loop(0, down, carry=at) as i,
            b.loop(0, across, carry=at) as j,
        ):
            number = (group * down + i) * across + j
            now, later = (target + place % ring * TILE for place in (number, number + EARLY))
            self._ask(b, part.copy, number, width)
            self._products(tiles, part.copy + self.grid.run(group, i, j), now, width)
            self._expand(b, part.weights, at, later)
        self._sums(b, part.sums, width)

    def _expand(self, b: Builder, weights: Ref, at: list[Value], target: Ref) -> None:
        """The tile whose masks lie at at[0]; behind it lies the next one."""
        stream = weights.view("i8")
        masks, place = (stream + at[0]).view("u16"), at[0] + 4 * MASKS
        for row in range(amx.ROWS):
            mask = b.load(masks, row)
            b.vstore(b.vload_expanded((stream + place).view("i32"), mask), target, row * STEP)
            place = place + b.convert(b.count_bits(mask), "index") * 4
        at[0] = place
        for line in range(LINES):
            b.prefetch(stream + place, AHEAD + line * LINE_BYTES)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        rows = self.steps * STEP * -(-self.shape.outputs // amx.ROWS)
        channels = weight.reshape(self.shape.outputs, -1, 2, self.shape.taps)
        stream = 2 * rows + 4 * int(np.count_nonzero(channels.any(axis=2)))
        return {**self.events_of(isa, caches, stream), "expanded pixel row": self.shape.panels * rows}


def pack_expanded_tiles(tiles: np.ndarray) -> np.ndarray:
    """[M / 16][steps of K][16 pairs][16 outputs] as the stream of `ExpandedPixelConv`."""
    stored = tiles & 0x7FFF7FFF != 0  # pruning leaves zeros of both signs
    masks = np.ascontiguousarray(stored @ (1 << np.arange(amx.ROWS)), np.uint16).view(np.int32)
    streams = [
        np.concatenate([part for step in zip(words, block, kept, strict=True) for part in (step[0], step[1][step[2]])])
        for words, block, kept in zip(masks, tiles, stored, strict=True)
    ]
    begins = 4 * (len(streams) + np.cumsum([0, *map(len, streams)])[:-1])
    # A few tiles more are expanded than multiplied, and rows are read as whole vectors.
    return np.concatenate([begins.astype(np.int32), *streams, np.zeros((EARLY + 1) * TILE, np.int32)])


@dataclass(frozen=True)
class ExpandedPixelRow(Row):
    """Sparse weights of bf16 for windows and strides, multiplied as dense ones once they are in L1."""

    sparse: ClassVar[bool] = True
    least: ClassVar[int] = 2 * amx.ROWS
    reads_pairs: ClassVar[bool] = True
    writes_pairs: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"spmm_bf16_masks_m{amx.ROWS}"

    def fits(self, shape: ConvShape) -> bool:
        """Few panels: each expands the weights anew, with 28 (64 channels, 56 × 56) in 235 µs instead of 177 dense."""
        whole = shape.groups == 1 and shape.channels % (2 * STEP) == 0 and not shape.direct
        return whole and shape.target.panels <= PANELS and 4 * PixelGrid(shape).size <= COPY_BYTES

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> ExpandedPixelConv:
        return ExpandedPixelConv(self.name, shape, extras, epilogue, shape.channels, self.splits(shape))

    def format(self, shape: ConvShape) -> Format:
        return pair_format()
