"""Kernels that slide a window over the planes of activations: depthwise convolution and pooling share this walk.

Units of work are blocks of output rows of a few channels. A block is computed in strips one vector wide, from its first
source row to its last: each source vector is loaded once and feeds every output row whose window holds it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sparsec.bf16 import as_pairs
from sparsec.chains import Walk
from sparsec.ir import ConvOp, PoolOp, type_of
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.strips import Masks
from sparsec.targets.kernels.windows.blocks import Block, Channel, Run
from sparsec.targets.kernels.windows.large import LargeBlock
from sparsec.targets.kernels.windows.paired import PairedChannel

Pair = tuple[int, int]

ROWS = 4  # image rows in a block, about: few streams of source rows at once; 16 took 1.2 to 1.6 times as long
LONGEST = 16  # most rows that are written out
SMALL = 9  # elements of windows that always are written out
WRITTEN_OUT = 4096  # multiplications that are; 9680 took LLVM 4 to 8 s
ELEMENTS = 4096  # elements that a chunk reads, about: 0.5 µs of work, so that threads end together


@dataclass(frozen=True)
class Window:
    """Sizes in (rows, columns); `pads` are those before the first row and column."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pair

    @classmethod
    def of(cls, op: ConvOp | PoolOp) -> Window:
        """The window of a 2-D op."""
        kernel = type_of(op.rhs).static_shape[2:] if isinstance(op, ConvOp) else values(op.kernel_shape)
        return cls(_pair(kernel), _pair(values(op.strides)), _pair(values(op.dilations)), _pair(values(op.pads)[:2]))

    def row(self, output: int, tap: int) -> int:
        """The source row of a tap of an output row."""
        return output * self.strides[0] + tap * self.dilations[0] - self.pads[0]

    def column(self, tap: int) -> int:
        """The source column of a tap of output column 0."""
        return tap * self.dilations[1] - self.pads[1]

    def walk(self, images: int, heights: Pair, rows: int, chunks: int) -> Walk:
        """The walk of a kernel to results from sources of `heights`, in units of `rows` rows of the result."""
        reach = (self.kernel[0] - 1) * self.dilations[0] + 1
        return Walk(images, heights[0], rows, chunks, heights[1], self.strides[0], self.pads[0], reach)

    def __str__(self) -> str:
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.strides, self.dilations
        text = f"k{kh}s{sh}" if (kh, sh) == (kw, sw) else f"k{kh}x{kw}s{sh}x{sw}"
        return text if (dh, dw) == (1, 1) else f"{text}d{dh}x{dw}"


@dataclass(frozen=True)
class WindowKernel(Kernel):
    """A window sliding over `source`: one result for each place of `target`, of the same element type."""

    source: Planes
    target: Planes
    window: Window
    element: str

    moves = "window"
    functions = 0  # elementary functions of an epilogue
    fill = 0.0  # what source elements beyond the borders count as

    @property
    @abstractmethod
    def operands(self) -> list[str]:
        """The element types of the arguments: the source first, the target last."""

    @property
    def stored(self) -> str:
        """The element type in memory of source and target, which both lie in pairs or both do not."""
        return "i32" if self.source.pairs else self.element

    @property
    def stored_fill(self) -> float:
        """`fill` as an element in memory."""
        return int(as_pairs(np.full(2, self.fill))[0]) if self.source.pairs else self.fill

    @abstractmethod
    def channel(self, b: Builder, arguments: Sequence[Ref], image: Index, channel: Index) -> Channel:
        """What combines the taps of one output channel."""

    def combined(self, b: Builder, arguments: Sequence[Ref], image: Index, plane: Index) -> Channel:
        """What combines the taps of one plane of the target: of a channel, or of a pair."""
        if not self.source.pairs:
            return self.channel(b, arguments, image, plane)
        low, high = (self.channel(b, arguments, image, plane * 2 + side) for side in (0, 1))
        return PairedChannel(b, low, high)

    def work(self, isa: Isa) -> dict[str, float]:
        planes, (kh, kw) = self.target.images * self.target.channels, self.window.kernel
        together = max(1, isa.lanes // (self.target.width + kw - 1))  # rows of a small image that one vector holds
        vectors = planes * -(-self.target.height // together) * -(-self.target.width // isa.lanes)
        tap = "window tap" if self.window.strides[1] == 1 else "strided window tap"
        return {tap: vectors * kh * kw, "window vector": vectors, "window function": vectors * self.functions}

    @property
    def block(self) -> int:
        """Output rows of a block: whole panels, or parts of long ones."""
        return 1 if self.large else self._block

    @property
    def _block(self) -> int:
        if self.target.height <= LONGEST:
            return self.target.height
        rows = self.target.rows
        return ROWS if rows > LONGEST else rows * max(1, ROWS // rows)

    @property
    def large(self) -> bool:
        """Whether the window is too large to be written out for all rows of a block."""
        (kh, kw), rows = self.window.kernel, self._block
        if kh * kw <= SMALL:
            return False
        borders = min(3, -(-self.target.height // rows))
        strips = min(4, -(-self.target.width // 16))
        return kh * kw * max(1, self.window.strides[1] // 2) * rows * borders * strips > WRITTEN_OUT

    @property
    def blocks(self) -> int:
        """Blocks of an image."""
        return -(-self.target.height // self.block)

    @property
    def width(self) -> int:
        """Output channels, or pairs of them, in a chunk."""
        read = self.block * self.window.strides[0] * self.source.width
        return max(1, min(self.target.planes, ELEMENTS // max(read, self.block * self.target.width)))

    @property
    def groups(self) -> int:
        """Chunks of a block."""
        return -(-self.target.planes // self.width)

    @property
    def chunks(self) -> int:
        return self.target.images * self.blocks * self.groups

    @property
    def walk(self) -> Walk:
        heights = self.target.height, self.source.height
        return self.window.walk(self.target.images, heights, self.block, self.groups)

    def runs(self) -> list[Run]:
        """All blocks, those next to each other together where the same code computes them."""
        if self.large:
            return [Run(0, self.blocks, 1, frozenset())]
        runs = []
        for (rows, valid, _), same in groupby(range(self.blocks), self._signature):
            members = list(same)
            runs.append(Run(members[0], members[-1] + 1, rows, valid))
        return runs

    def extra_signature(self, block: int) -> Any:
        """What else a block's code depends on, besides the rows that exist."""
        return None

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, self.operands) as (arguments, _, begin, end):
            masks = Masks(b, begin)
            with b.loop(begin, end) as chunk:
                block = chunk // self.groups % self.blocks
                image = chunk // (self.groups * self.blocks) if self.target.images > 1 else 0
                for run in self.runs():
                    with self._within(b, block, run):
                        self._emit_group(b, masks, arguments, (image, block, chunk % self.groups), run)

    def _signature(self, block: int) -> tuple[int, frozenset[int], Any]:
        """Rows of a block, its source rows that exist, and the rest."""
        rows = min(self.block, self.target.height - block * self.block)
        needed = {self.window.row(row, tap) for row in range(rows) for tap in range(self.window.kernel[0])}
        start = block * self.block * self.window.strides[0]
        valid = frozenset(row for row in needed if 0 <= start + row < self.source.height)
        return rows, valid, self.extra_signature(block)

    @contextmanager
    def _within(self, b: Builder, block: Index, run: Run) -> Iterator[None]:
        """Code for the blocks of a run only."""
        if isinstance(block, int) or (run.start, run.stop) == (0, self.blocks):
            yield
            return
        with b.if_((block >= run.start) & (block < run.stop)):
            yield

    def _emit_group(
        self, b: Builder, masks: Masks, arguments: Sequence[Ref], place: tuple[Index, Index, Index], run: Run
    ) -> None:
        image, block, group = place
        start = group * self.width
        stop = start + self.width
        if self.target.planes % self.width:
            stop = b.min(b.as_index(stop), b.constant(self.target.planes))
        with b.loop(start, stop) as plane:
            combine = self.combined(b, arguments, image, plane)
            block_type = LargeBlock if self.large else Block
            block_type(b, masks, self, combine, (image, block, plane), run).emit(arguments[0], arguments[-1])


def _pair(sizes: Sequence[int]) -> Pair:
    height, width = sizes
    return height, width
