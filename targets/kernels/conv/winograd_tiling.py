"""How Winograd convolutions cut an image into chunks of tiles, and where their operands lie in scratch."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.conv.winograd_formulas import POINTS, SIDE, TAPS

GROUP = 12  # outputs whose sums at all points lie in scratch together
POINT_BYTES = 640 * 1024  # that the inputs of a chunk at all points take of the L2; a quarter slower beyond
CHUNK_COST = 4  # columns whose products take as long as the weights' transform, which each chunk repeats
LEAST = 12  # channels of a block of K: where fewer divide them all, they are one block
WIDE = 48  # columns of a chunk
STAGED_BYTES = 12 * 1024  # of padded image rows in L1


@dataclass(frozen=True)
class Tiling:
    """`step` rows of tiles are a chunk; the last chunk of an image may have fewer.

    A lane of V, the inputs at the points, stands for a tile of 4 × 4 results, or for a column of 4 results where only
    the height is transformed.
    """

    shape: ConvShape
    across: bool
    most: int  # channels in a block of K
    step: int

    @staticmethod
    def of(shape: ConvShape, across: bool, most: int) -> Tiling | None:
        """The best chunks of whole panels whose points are not far too large for the L2; None where there are none."""
        target = shape.target
        height = max(1, -(-target.height // SIDE))
        parts = [rows for rows in range(1, height) if SIDE * rows % target.rows == 0]
        found = [Tiling(shape, across, most, rows) for rows in (*parts, height)]
        fitting = [one for one in found if 4 * one.v_size <= 2 * POINT_BYTES]
        return min(fitting, key=lambda one: one._cost, default=None)

    @property
    def _cost(self) -> float:
        columns = self.all_columns + CHUNK_COST * self.chunks
        return columns * (1.25 if 4 * self.v_size > POINT_BYTES else 1)

    @property
    def width(self) -> int:
        """Lanes of one row of tiles."""
        return -(-self.shape.target.width // SIDE) if self.across else self.shape.target.width

    @property
    def height(self) -> int:
        """Rows of tiles of an image."""
        return -(-self.shape.target.height // SIDE)

    @property
    def chunks(self) -> int:
        """Chunks of an image."""
        return -(-self.height // self.step)

    @property
    def last(self) -> int:
        """Rows of tiles in the last chunk."""
        return self.height - (self.chunks - 1) * self.step

    @property
    def even(self) -> bool:
        """Whether all chunks have the same rows of results."""
        return self.chunks == 1 or self.chunks * self.step * SIDE == self.shape.target.height

    @property
    def points(self) -> int:
        """Matrix products of a chunk."""
        return POINTS * POINTS if self.across else POINTS

    @property
    def taps(self) -> int:
        """Weights of an output for one row of K, from which those at the points are computed."""
        return TAPS * TAPS if self.across else TAPS

    @property
    def block(self) -> int:
        """Rows of K in a block: the channels of all blocks are equally many.

        Twice as many where the products of wide chunks take far longer than the transform of weights (4 % faster).
        """
        channels = self.shape.channels
        most = self.most * (2 if self.columns(self.step) >= WIDE else 1)
        size = max(size for size in range(1, most + 1) if channels % size == 0)
        return self.depth // channels * (channels if size < LEAST else size)

    @property
    def blocks(self) -> int:
        return self.depth // self.block

    @property
    def group(self) -> int:
        """Outputs whose sums at all points lie in scratch together."""
        return GROUP

    def weights(self, outputs: int) -> int:
        """Floats of the weights of some outputs at one tap or point in a block of K, in whole lines."""
        return -(-outputs * self.block // LINE) * LINE

    @property
    def depth(self) -> int:
        """Rows of V at a point."""
        return self.shape.channels * (1 if self.across else TAPS)

    def columns(self, rows: int) -> int:
        """Floats in a row of V for `rows` rows of tiles."""
        return -(-rows * self.width // LINE) * LINE

    @property
    def all_columns(self) -> int:
        """Columns of all chunks of an image."""
        return (self.chunks - 1) * self.columns(self.step) + self.columns(self.last)

    @property
    def v_point(self) -> int:
        """Floats from one point of V to the next; a line more than needed, else all points share a set of the L1."""
        return self.depth * self.columns(self.step) + LINE

    @property
    def v_size(self) -> int:
        return self.points * self.v_point

    @property
    def u_size(self) -> int:
        """Floats of the weights of a group of outputs at one point along the height."""
        return self.points // POINTS * self.weights(self.group)

    @property
    def m_point(self) -> int:
        """Floats from one point of the sums to the next."""
        return self.group * self.columns(self.step) + LINE

    @property
    def m_size(self) -> int:
        return self.points * self.m_point

    @property
    def padded_row(self) -> int:
        """Floats of a padded image row: vectors may read beyond what they need."""
        return -(-(SIDE * self.width + SIDE if self.across else self.width + TAPS + LINE) // LINE) * LINE

    @property
    def padded_channel(self) -> int:
        """Floats of the padded rows of a channel, those read by lanes that stand for no tile included."""
        rows = self.step
        if self.across:
            rows = max(rows, -(-self.columns(self.step) // self.width))
        return (SIDE * rows + TAPS - 1) * self.padded_row

    @property
    def batch(self) -> int:
        """Channels whose rows are padded at a time."""
        return max(1, min(self.shape.channels, STAGED_BYTES // (4 * self.padded_channel)))

    @property
    def padded_size(self) -> int:
        return self.batch * self.padded_channel + LINE
