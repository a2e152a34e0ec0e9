"""Convolutions as ARM's NEON likes them: a multiply-add takes any lane of a vector for all lanes.

So weights are loaded as vectors: those of a dense tile for eight outputs at once, and those of four non-zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.dense import AHEAD, DenseConv, DenseRow
from sparsec.targets.kernels.conv.output import Work
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile
from sparsec.targets.kernels.conv.sparse import SparseConv, SparseRow
from sparsec.targets.kernels.conv.taps import TapsConv, TapsRow
from sparsec.targets.kernels.region import Body

OUTPUTS = 8  # rows of a dense tile
TOGETHER = 4  # non-zeros of a step


@dataclass(frozen=True)
class LaneDenseConv(DenseConv):
    """`DenseConv` in tiles of 8 × 3 vectors, two steps of K at a time.

    1.25 instructions a multiply-add, of which 6 × 4 takes 1.29, and with weights loaded one by one 1.46; llvm-mca gives
    0.50 cycles on Neoverse N1, the limit, instead of 0.71, and 1.6 on Cortex-A53, not 2.6 (4 × 6 and 12 × 2: 1.7).
    """

    outputs: ClassVar[int] = OUTPUTS
    copies: ClassVar[bool] = False

    def _products(
        self,
        b: Builder,
        work: Work,
        packed: tuple[Ref, int],
        tile: Tile,
        place: tuple[Index, int | None],
        rows: int,
        sums: list[Value],
    ) -> None:
        if place[1] is not None:
            super()._products(b, work, packed, tile, place, rows, sums)
            return
        (weights, pitch), steps = packed, 2 if self._even else 1
        operand = work.rows + place[0]
        with b.loop(0, work.depth, steps, carry=sums) as k:
            b.prefetch(weights, k * pitch + AHEAD // 4)
            for step in range(steps):
                values = b.vload_splats(weights, (k + step) * pitch, rows)
                row = (k + step) * self.shape.stride
                vectors = [b.vload(operand, row + v * b.isa.lanes) for v in range(tile.vectors)]
                for i, value in enumerate(values):
                    for v, vector in enumerate(vectors):
                        sums[i * tile.vectors + v] = b.fma(vector, value, sums[i * tile.vectors + v])

    @property
    def _even(self) -> bool:
        """Whether all blocks of K have an even number of rows."""
        return self.shape.depth % 2 == 0 and self.block * self.shape.taps % 2 == 0


@dataclass(frozen=True)
class LaneDenseRow(DenseRow):
    """Dense weights, eight outputs at a time."""

    least: ClassVar[int] = 2 * OUTPUTS

    @property
    def name(self) -> str:
        return f"conv_f32_dense_m{OUTPUTS}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> LaneDenseConv:
        return LaneDenseConv(self.name, shape, extras, epilogue, self.block(shape), self.splits(shape))

    def suits(self, isa: Isa) -> bool:
        return isa.lane_operands


@dataclass(frozen=True)
class QuadConv(SparseConv):
    """`SparseConv` in steps of four non-zeros."""

    together: ClassVar[int] = TOGETHER


@dataclass(frozen=True)
class QuadTapsConv(TapsConv):
    """`TapsConv` in steps of four non-zeros."""

    together: ClassVar[int] = TOGETHER


@dataclass(frozen=True)
class QuadRow(SparseRow):
    """Compressed rows of weights on tiles of `columns` floats, in steps of four non-zeros."""

    space: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "depth": (64, 96, 128, 160, 192, 256, 384, 512),
        "columns": (16, 32, 48, 56, 64),
    }

    @property
    def name(self) -> str:
        return f"spmm_f32_quads_n{self.columns}k{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> QuadConv:
        block, splits = self.block(shape), self.splits(shape)
        return QuadConv(self.name, shape, extras, epilogue, block, splits, self.columns, self.height)

    def suits(self, isa: Isa) -> bool:
        return isa.lane_operands


@dataclass(frozen=True)
class QuadTapsRow(TapsRow):
    """Windows whose taps share copied rows, in steps of four non-zeros."""

    @property
    def name(self) -> str:
        return f"conv_f32_quads_n{self.columns}l{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> QuadTapsConv:
        block, splits, rows = self.block(shape), self.splits(shape), self.rows(shape)
        return QuadTapsConv(self.name, shape, extras, epilogue, block, splits, rows, self.columns, self.height)

    def suits(self, isa: Isa) -> bool:
        return isa.lane_operands
