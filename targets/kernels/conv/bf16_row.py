"""The row of dense weights of bf16, and which of two kernels runs a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.targets.kernels.conv.bf16 import OUTPUTS, Bf16Conv
from sparsec.targets.kernels.conv.grid import STEP
from sparsec.targets.kernels.conv.pixels import PixelConv
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.region import Body

COPY_BYTES = 4 << 20  # most that the copy of a panel may take


@dataclass(frozen=True)
class Bf16Row(Row):
    """Dense weights of bf16."""

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = OUTPUTS
    reads_pairs: ClassVar[bool] = True
    writes_pairs: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"conv_bf16_dense_m{OUTPUTS}k{2 * STEP}"

    def fits(self, shape: ConvShape) -> bool:
        return shape.groups == 1 and 4 * _kind(shape).grid_of(shape).size <= COPY_BYTES

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> Bf16Conv:
        return _kind(shape)(self.name, shape, extras, epilogue, shape.channels, self.splits(shape))


def _kind(shape: ConvShape) -> type[Bf16Conv]:
    """Windows of several taps, and whole steps along K, are for pixels as rows."""
    turned = shape.taps > 1 and shape.channels % (2 * STEP) == 0
    return PixelConv if turned else Bf16Conv
