"""The rows of the kernel table for convolutions: which tiles there are, and what each fixes about a shape."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec import formats
from sparsec.formats import k_blocked
from sparsec.ir import Format
from sparsec.targets.kernels.conv.dense import OUTPUTS
from sparsec.targets.kernels.conv.shape import ConvShape

CHUNKS = 16  # for up to this many threads, where a result has so few panels that these must be split
PACKED_BYTES = 512 * 1024  # most that a packed block of K takes of the L2
PART_BYTES = 256 * 1024  # most that the sums of one part of the outputs take of the L2


@dataclass(frozen=True)
class Row:
    """A kernel of the table: about `depth` rows of B in a block of K; sparse ones with tiles of `columns` floats.

    Sparse rows keep `depth` × `columns` floats within 40 KB of L1.
    """

    depth: int
    columns: int | None = None

    @property
    def name(self) -> str:
        tile = f"conv_f32_dense_m{OUTPUTS}" if self.columns is None else f"spmm_f32_csr_n{self.columns}"
        return f"{tile}k{self.depth}"

    @property
    def sparse(self) -> bool:
        return self.columns is not None

    def block(self, shape: ConvShape) -> int:
        """Input channels in a block of K: about `depth` rows of B, in blocks as equal as they can be."""
        rows = self.depth if shape.direct else min(self.depth, PACKED_BYTES // (4 * shape.stride))
        most = max(1, rows // shape.taps)
        return -(-shape.channels // -(-shape.channels // most))

    def splits(self, shape: ConvShape) -> int:
        """Parts of the outputs (or groups) that are chunks of their own."""
        wanted = max(-(-CHUNKS // max(1, shape.panels)), -(-shape.sums_bytes // PART_BYTES))
        least = 64 if self.sparse else 12  # outputs: a part has runs, or blocks of six, of its own
        return max(1, min(wanted, shape.groups if shape.groups > 1 else shape.outputs // least))

    def format(self, shape: ConvShape) -> Format:
        """Which weights are stored; K is axes C, KH and KW together."""
        return k_blocked(self.block(shape) * shape.taps) if self.sparse else formats.DENSE


DENSE = Row(128)
# Wider tiles cost less a multiply-add, but leave L1 for fewer rows of B, and so fewer non-zeros for each load of sums.
SPARSE = (Row(64, 128), Row(96, 128), Row(128, 80), Row(160, 64))
ROWS = {row.name: row for row in (DENSE, *SPARSE)}

__all__ = ["DENSE", "ROWS", "SPARSE", "Row"]
