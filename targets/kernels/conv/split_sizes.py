"""Sizes of kernels of f32 products from pieces of bf16 (see `split`): what lies where in scratch and in the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.isa import LINE
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.pack import Packing
from sparsec.targets.kernels.pairs import PIECES

OUTPUTS, STRIP, DEPTH = 32, 32, 32  # outputs of a block of weights, columns of a strip, channels of a step
PAIRS = DEPTH // 2
CELL = PAIRS * LINE  # pairs of a tile
STEP = PIECES * 2 * CELL  # pairs of the two tiles of all pieces of a step, the first pieces in front
RAW = OUTPUTS * DEPTH  # weights of a step


@dataclass(frozen=True)
class Unit:
    """Some panels from `panel` on, and of the results the blocks [low, high) of outputs.

    In scratch: `packed` rows of B, a `copy` of their columns in pieces, `sums`, and `near`, pieces of weights.
    """

    panel: Index
    source: Ref
    packed: Ref
    copy: Ref
    sums: Ref
    near: Ref
    weights: Ref
    output: Callable[[Index], Output]
    low: Index
    high: Index


@dataclass(frozen=True)
class SplitSizes(ConvKernel):
    """`together` panels are computed at once, as columns of one; `stored`: weights lie in memory as pieces.

    Weights are [blocks of K][M / 32][steps of 32 channels][32 outputs][16 even, 16 odd channels], zeros where there are
    none, or their pieces, [3][2 tiles][16 outputs][16 pairs] for each step.
    """

    together: int
    stored: bool

    weight_element: ClassVar[str] = "f32"

    @property
    def layout(self) -> str:
        return f"split:{self.block}:{self.stored}"

    @property
    def steps(self) -> int:
        """Steps along K in a block; in the last one some may be of zeros."""
        return -(-self.block * self.shape.taps // DEPTH)

    @property
    def tall(self) -> int:
        """Blocks of outputs."""
        return -(-self.shape.outputs // OUTPUTS)

    @property
    def strips(self) -> int:
        """Strips of a panel, of which the last may have one tile."""
        return -(-self.shape.target.stride // STRIP)

    @property
    def units(self) -> int:
        """Groups of panels."""
        return self.shape.panels // self.together

    @property
    def chunks(self) -> int:
        return self.units * self.splits

    @property
    def group(self) -> int:
        return self.splits

    @property
    def walk(self) -> Walk | None:
        return self.shape.walk(self.shape.target.rows * self.together, self.splits)

    @property
    def parts_of_scratch(self) -> tuple[int, int, int]:
        """Elements of scratch: pieces of columns, sums, pieces of two blocks of weights or one of joined ones."""
        columns = self.together * self.strips
        sums = columns * OUTPUTS * STRIP * (self.tall if self.blocks > 1 else 1)
        return columns * self.steps * STEP, sums, self.steps * (RAW if self.stored else 2 * STEP)

    @property
    def scratch(self) -> int:
        return amx.CONFIG_BYTES + 4 * (sum(self.parts_of_scratch) + self.packed)

    @property
    def packed(self) -> int:
        """Elements of packed rows of B; ISAs without tiles pack all of them."""
        return 0 if self.shape.direct else self.shape.depth * self.shape.stride

    def rows(self, b: Builder, work: Unit, panel: Index, block: Index | None = None) -> Ref:
        """Where the rows of B of a block, or all of them, begin, for one of the unit's panels."""
        channel = 0 if block is None else block * self.block
        channels = self.shape.channels if block is None else self._channels(b, block)
        source, target = self.shape.source, self.shape.target
        if self.shape.direct:
            return work.source + ((work.panel + panel) * source.panel_size + channel * source.stride)
        image, place = divide(work.panel + panel, target.panels, target.images)
        first = work.source + (source.image(image) + channel * source.stride)
        Packing(b, self.shape).emit(first, work.packed, place, channels)
        return work.packed
