"""The row of f32 products on AMX, and how many panels a shape takes at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import ClassVar

from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.conv.row import CHUNKS, Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.conv.split import SplitConv
from sparsec.targets.kernels.conv.split_sizes import DEPTH, OUTPUTS, STEP, STRIP
from sparsec.targets.kernels.region import Body

PACKED_BYTES = 4 << 20  # most that the rows of B of a panel may take
COPY_BYTES = 640 << 10  # most that the pieces of a block of K may take of the L2
STORED_BYTES = 512 << 10  # most that all pieces of the weights may take of it


@dataclass(frozen=True)
class SplitRow(Row):
    """Dense weights of f32 in pieces of bf16: at most `depth` rows of B in a block of K, about `columns` at once."""

    columns: int

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = OUTPUTS

    @property
    def name(self) -> str:
        return f"conv_f32_amx_m{OUTPUTS}n{self.columns}"

    def fits(self, shape: ConvShape) -> bool:
        rows = 0 if shape.direct else 4 * shape.depth * shape.stride
        return shape.groups == 1 and not shape.sized and shape.target.stride % LINE == 0 and rows <= PACKED_BYTES

    def suits(self, isa: Isa) -> bool:
        return isa.tiles

    def together(self, shape: ConvShape) -> int:
        """Panels of a unit: as many as divide those of an image, where they are whole strips."""
        stride, panels = shape.target.stride, shape.target.panels
        most = 1 if stride % STRIP else max(1, self.columns // stride)
        return max(count for count in range(1, most + 1) if panels % count == 0)

    def block(self, shape: ConvShape) -> int:
        """Channels of equal blocks of whole steps, or all of them."""
        strips = self.together(shape) * -(-shape.target.stride // STRIP)
        most = max(1, min(self.depth // DEPTH, COPY_BYTES // (4 * STEP * strips)))
        each = DEPTH // gcd(DEPTH, shape.taps)  # channels whose rows of B are whole steps
        parts, rows = -(-shape.channels // each), each * shape.taps // DEPTH
        return min(shape.channels, -(-parts // -(-parts // max(1, most // rows))) * each)

    def splits(self, shape: ConvShape) -> int:
        units = shape.panels // self.together(shape)
        return max(1, min(-(-CHUNKS // max(1, units)), shape.outputs // self.least))

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> SplitConv:
        together, block = self.together(shape), self.block(shape)
        pieces = 4 * STEP * -(-block * shape.taps // DEPTH) * -(-shape.outputs // OUTPUTS)
        stored = shape.panels > together and shape.channels <= block and pieces <= STORED_BYTES
        return SplitConv(self.name, shape, extras, epilogue, block, self.splits(shape), together, stored)
