"""The rows of the kernel table for convolutions; a new one is an entry here, tested and measured like all others."""

from functools import cache

from sparsec.targets.kernels.conv.bf16_row import Bf16Row
from sparsec.targets.kernels.conv.bf16_sparse import SparseBf16Row
from sparsec.targets.kernels.conv.dense import DenseRow
from sparsec.targets.kernels.conv.expanded import ExpandedRow
from sparsec.targets.kernels.conv.expanded_pixels import ExpandedPixelRow
from sparsec.targets.kernels.conv.grid import STEP
from sparsec.targets.kernels.conv.half import HalfDenseRow, HalfQuadRow
from sparsec.targets.kernels.conv.neon import LaneDenseRow, QuadRow, QuadTapsRow
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.sparse import DeepRow, SparseRow
from sparsec.targets.kernels.conv.split_row import SplitRow
from sparsec.targets.kernels.conv.taps import TapsRow
from sparsec.targets.kernels.conv.winograd import WinogradRow
from sparsec.targets.kernels.conv.winograd_strided import StridedWinogradRow

DENSE = DenseRow(128)
WINOGRAD = (WinogradRow(32, True), WinogradRow(32, False))
STRIDED_WINOGRAD = StridedWinogradRow(1)
# Wider tiles cost less a multiply-add, but leave L1 for fewer rows of B, and so fewer non-zeros for each load of sums:
# rows of B take 40 KB of it.
SPARSE = (SparseRow(64, 128), SparseRow(96, 128), SparseRow(128, 80), SparseRow(160, 64))
# Blocks of outputs: with 4 sums a vector the tile that registers hold is 96 wide. They load so little of B that deep
# blocks of K may come from the L2: on 128 tokens 8 to 12 % faster with 256 rows than with 96.
BLOCKS = (SparseRow(80, 128, 2), SparseRow(96, 96, 4), SparseRow(128, 80, 4), SparseRow(256, 96, 4))
# Windows whose taps share copied rows, in kilobytes: with 36 of the 48 of L1, ResNet-50 at 90 % zeros took 1 % longer.
TAPS = (TapsRow(28, 128), TapsRow(36, 96, 4))
ROWS: dict[str, Row] = {row.name: row for row in (DENSE, *WINOGRAD, STRIDED_WINOGRAD, *SPARSE, *BLOCKS, *TAPS)}

# A tile and its sums take at most 29 of 32 registers; rows of B take 32 KB, the whole L1 of small cores.
ARM: tuple[Row, ...] = (LaneDenseRow(128), QuadRow(128, 64), QuadRow(256, 32), QuadRow(512, 16), QuadTapsRow(28, 64))
ARM_ROWS: dict[str, Row] = {row.name: row for row in ARM}
"""Rows that only ARM gets (`Row.suits`)."""

WASM_ROWS: dict[str, Row] = {row.name: row for row in (DeepRow(256, 36),)}
"""Rows that only WebAssembly gets."""

AMX_ROWS: dict[str, Row] = {row.name: row for row in (SplitRow(1024, 128),)}
"""Rows of f32 that only CPUs with AMX get."""

BF16_ROWS: dict[str, Row] = {row.name: row for row in (Bf16Row(2 * STEP), SparseBf16Row(80, 128))}
"""Rows that round products to bf16, for compilations that allow it."""

STRIP_ROWS: dict[str, Row] = {row.name: row for row in (ExpandedRow(128),)}
"""Those of them that run 1×1 convolutions on panels as they lie, in whole steps of channels, and nothing else."""

PIXEL_ROWS: dict[str, Row] = {row.name: row for row in (ExpandedPixelRow(2 * STEP),)}
"""Those of them that run other windows, in whole steps of channels, and nothing else."""

F16_ROWS: dict[str, Row] = {row.name: row for row in (HalfDenseRow(64), HalfQuadRow(128, 112), HalfQuadRow(128, 64))}
"""Rows that round products to f16, for compilations that allow it."""


def rows_of(precision: str) -> dict[str, Row]:
    """The rows whose products are at least of this precision."""
    return {
        **ROWS,
        **ARM_ROWS,
        **WASM_ROWS,
        **AMX_ROWS,
        **{"bf16": {**BF16_ROWS, **STRIP_ROWS, **PIXEL_ROWS}, "f16": F16_ROWS}.get(precision, {}),
    }


@cache
def variants(precision: str) -> dict[str, Row]:
    """The rows that tuning tries beside those of the table."""
    return {variant.name: variant for row in rows_of(precision).values() for variant in row.variants()}


def row_named(name: str) -> Row:
    """The row that a plan names."""
    precision = "bf16" if "_bf16_" in name else "f16"
    return {**variants(precision), **rows_of(precision)}[name]


__all__ = [
    "AMX_ROWS",
    "ARM_ROWS",
    "BF16_ROWS",
    "BLOCKS",
    "DENSE",
    "F16_ROWS",
    "PIXEL_ROWS",
    "ROWS",
    "SPARSE",
    "STRIP_ROWS",
    "TAPS",
    "WASM_ROWS",
    "WINOGRAD",
    "row_named",
    "rows_of",
    "variants",
]
