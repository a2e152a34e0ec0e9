"""Sparse weights of bf16 as masks and stored pairs, expanded block by block and multiplied as in `strips`.

Layers of 768 × 768 and 3072 × 768 with 10 % non-zeros on 128 columns take 0.13 and 0.51 ms, where dense weights of bf16
take 0.19 and 0.75 and f32's non-zeros 0.17 and 0.72.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.ir import Format, Level
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels.conv.bf16 import OUTPUTS, STRIP, TILE
from sparsec.targets.kernels.conv.grid import STEP
from sparsec.targets.kernels.conv.paired import Part, ordered
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.conv.strips import DEPTH, Aside, StripConv
from sparsec.targets.kernels.region import Body

ROWS = 4  # rows of weights that are expanded side by side
AHEAD = 4096  # bytes of the stream that are asked for ahead; 1024, 2048 and 8192 are 4 to 10 % slower
LINES = 2  # so many lines at once


@dataclass(frozen=True)
class ExpandedConv(StripConv):
    """Sparse weights: for each 32 outputs and block of K, masks of 16 pairs for each row of a tile, then stored pairs.

    Before all that, the bytes where each 32 outputs begin.
    """

    @property
    def layout(self) -> str:
        return f"expanded:{self.block}"

    @property
    def expanded(self) -> int:
        return 2 * self.steps * 2 * TILE

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_expanded(ordered(weight, self.grid), self.steps)

    def begin(self, b: Builder, part: Part, block: Index) -> Value:
        return b.convert(b.load(part.weights, block), "index")

    def weights_of(self, b: Builder, part: Part, place: Value, depth: Index) -> tuple[Ref, Value]:
        target, rows = self._buffers(part), depth * OUTPUTS
        carried = [place + rows * 2]
        with b.loop(0, rows, ROWS, carry=carried) as row:
            self._expand(b, part, place, carried, target, row, ROWS)
        return target, carried[0]

    def compute(self, b: Builder, part: Part) -> None:
        """With AMX the next block is expanded between the products of this one, which hides how far away it lies.

        In BERT-base 0.17 and 0.64 ms instead of 0.24 and 0.93 for layers of 768 and 3072 channels with half zeros.
        """
        strips = next((count for count in (8, 4, 2, 1) if count <= self.grid.columns // STRIP), 0)
        if not b.isa.tiles or not strips or self.shape.channels % self.block:
            super().compute(b, part)
            return
        low, high = self.blocks_of(b, part)
        size, each = self.expanded // 2, OUTPUTS // strips
        _, place = self.weights_of(b, part, self.begin(b, part, low), self.steps)
        carried = [place, b.constant(0)]
        with b.loop(low, high, carry=carried) as outputs:
            with b.loop(0, self.blocks, carry=carried) as block:
                place, now = carried
                later, buffers, following = size - now, self._buffers(part), [place + self.steps * OUTPUTS * 2]

                def turn(
                    number: Index,
                    place: Value = place,
                    following: list[Value] = following,
                    target: Ref = buffers + later,
                ) -> None:
                    self._expand(b, part, place, following, target, number * each, each)

                self._all_strips(b, part, buffers + now, block, self.steps, Aside(strips, following, turn))
                carried[:] = [following[0], later]
            self._finish(b, part, outputs)

    def _buffers(self, part: Part) -> Ref:
        """Scratch for two blocks of weights."""
        return (part.sums + self.grid.strips * OUTPUTS * STRIP).view("i32")

    def _expand(
        self, b: Builder, part: Part, place: Value, at: list[Value], target: Ref, first: Index, count: int
    ) -> None:
        """`count` rows of the block of weights at `place`, whose next pair lies at at[0]."""
        stream = part.weights.view("i8")
        masks = (stream + place).view("u16")
        for row in (first + i for i in range(count)):
            mask = b.load(masks, row)
            b.vstore(b.vload_expanded((stream + at[0]).view("i32"), mask), target, row * STEP)
            at[0] = at[0] + b.convert(b.count_bits(mask), "index") * 4
        for line in range(LINES):
            b.prefetch(stream + at[0], AHEAD + line * LINE_BYTES)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        rows = self.shape.outputs * self.grid.groups
        pairs = np.count_nonzero(weight.reshape(self.shape.outputs, -1, 2).any(axis=2))
        stream = 2 * rows + 4 * int(pairs)
        return {**self.events_of(isa, caches, stream), "expanded row": self.shape.panels * rows}


def pack_expanded(bits: np.ndarray, steps: int) -> np.ndarray:
    """[M, K / 32, 1, 1, 32] of bf16 as the stream of `ExpandedConv` in blocks of `steps` steps."""
    outputs = len(bits)
    rows = np.ascontiguousarray(bits).reshape(outputs // OUTPUTS, OUTPUTS, -1, 2 * STEP).view(np.uint32)
    rows = rows.swapaxes(1, 2)  # [M / 32][steps of K][32][16]
    streams: list[np.ndarray] = []
    for block in rows:
        pieces: list[np.ndarray] = []
        for first in range(0, len(block), steps):
            some = block[first : first + steps].reshape(-1, STEP)
            stored = some & 0x7FFF7FFF != 0  # pruning leaves zeros of both signs
            masks = stored @ (1 << np.arange(STEP))
            pieces += [masks.astype(np.uint16).view(np.uint32), some[stored]]
        streams.append(np.concatenate(pieces))
    begins = 4 * (len(streams) + 1 + np.cumsum([0, *map(len, streams)]))
    # One block more is expanded than multiplied, and rows are read as whole vectors.
    spare = np.zeros(steps * OUTPUTS // 2 + STEP, np.uint32)
    return np.concatenate([begins.astype(np.uint32), *streams, spare]).view(np.int32)


@dataclass(frozen=True)
class ExpandedRow(Row):
    """Sparse weights of bf16, multiplied as dense ones once they are in L1; about `depth` channels in a block of K."""

    sparse: ClassVar[bool] = True
    least: ClassVar[int] = OUTPUTS
    reads_pairs: ClassVar[bool] = True
    writes_pairs: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"spmm_bf16_masks_m{OUTPUTS}k{self.depth}"

    def fits(self, shape: ConvShape) -> bool:
        return shape.groups == 1 and shape.direct and shape.channels % DEPTH == 0 and shape.outputs % OUTPUTS == 0

    def block(self, shape: ConvShape) -> int:
        """Whole steps, in equal blocks where their number has a divisor that is large enough."""
        steps, most = shape.channels // DEPTH, self.depth // DEPTH
        even = max(count for count in range(1, most + 1) if steps % count == 0)
        return (even if 2 * even > most else -(-steps // -(-steps // most))) * DEPTH

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> ExpandedConv:
        return ExpandedConv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape))

    def format(self, shape: ConvShape) -> Format:
        return pair_format()


def pair_format() -> Format:
    """Pairs of channels of which one is not zero."""
    levels = Level(0, "dense"), Level(1, "dense", "/", 2), Level(2, "compressed"), Level(1, "dense", "%", 2)
    return Format(levels)
