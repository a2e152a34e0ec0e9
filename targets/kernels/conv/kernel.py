"""What all convolution kernels share: chunks and panels, and traffic between caches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.region import Body

SUMS_BYTES = 512 * 1024  # of a panel's sums, from which on they count as too large for the L2


@dataclass(frozen=True)
class ConvKernel(Kernel):
    """A convolution with packed weights, by the table's `row`. Arguments: source, weights, epilogue operands, target.

    K is walked in blocks of `block` input channels; between blocks, partial sums lie in the target. A chunk is one
    panel for one of `splits` parts of the outputs (of the groups, where there are several). Chunks of one panel that
    follow one another share its packing and its blocks of K in L1; but where there are far more sums than rows of B,
    one part after the other is finished, so that its sums stay in L2 (3072 × 768 on 128 pixels: 8 % faster).
    """

    row: str
    shape: ConvShape
    extras: tuple[Extra, ...]
    epilogue: Body
    block: int
    splits: int

    weight_element: ClassVar[str]
    begins: ClassVar[bool] = False  # whether all sums begin as `Output.begin` says

    @property
    def name(self) -> str:
        return self.row

    @property
    @abstractmethod
    def layout(self) -> str:
        """Names the order of the packed weights: equal names, equal bytes."""

    @abstractmethod
    def pack(self, weight: np.ndarray) -> np.ndarray:
        """[M, C, KH, KW] as the kernel reads it."""

    @abstractmethod
    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core (see `CostModel`)."""

    def traffic(self, caches: Caches, stream: float, passes: int | None = None) -> dict[str, float]:
        """Bytes of weights, read in each of `passes` (panels) anew where the L2 does not hold them, and of activations.

        With them come the elementary functions of the epilogue, 16 elements at a time.
        The source has been written just before: where all activations do not fit in the L2, a part of each is beyond.
        """
        shape = self.shape
        written = 4 * shape.target.images * shape.target.image_size
        read = 4 * shape.source.images * shape.source.image_size + written * sum(x.full for x in self.extras)
        beyond = caches.beyond(read + written)
        passes = passes or (shape.panels if shape.groups == 1 else 1)
        return {
            "call": 1,
            "far byte": stream * (passes if stream > caches.l2 / 2 else 1),
            "near byte": read + written,
            "far read byte": beyond * read,
            "far written byte": beyond * written,
            "epilogue function": self.epilogue.long_ops * written / LINE_BYTES,
        }

    @property
    def carried(self) -> int | None:
        """The operand of the epilogue that sums begin with, as it lies as the result does and is only added to them.

        Then it may lie in the same memory.
        """
        if not self.begins:
            return None
        fits = (i for i, x in enumerate(self.extras) if x.full and x.element == "f32" and self.epilogue.adds(i + 1))
        return next(fits, None)

    @property
    def overwrites(self) -> tuple[int, ...]:
        return () if self.carried is None else (2 + self.carried,)

    @property
    def blocks(self) -> int:
        """Blocks of K."""
        return -(-self.shape.channels // self.block)

    @property
    def singly(self) -> bool:
        """Whether the parts of a panel are computed one after the other, through all of K."""
        shape = self.shape
        return shape.direct and shape.outputs >= 2 * shape.depth and shape.sums_bytes > SUMS_BYTES

    @property
    def chunks(self) -> int:
        return self.shape.panels * self.splits

    @property
    def group(self) -> int:
        return 1 if self.shape.direct else self.splits

    @property
    def walk(self) -> Walk | None:
        """Panel by panel; None where chunks are other than parts of panels, and the kernel does not say which."""
        shape = self.shape
        if shape.sized:
            return None
        return shape.walk(shape.target.rows, self.splits) if self.chunks == shape.panels * self.splits else None

    def splits_by(self, images: int) -> bool:
        """Chunks are parts of panels or of images, in order."""
        return self.shape.target.images == images and self.chunks % images == 0

    def _channels(self, b: Builder, block: Index) -> Index:
        """How many input channels a block has."""
        total = self.shape.channels
        if total % self.block == 0:
            return self.block
        if isinstance(block, int):
            return min(self.block, total - block * self.block)
        return b.min(b.as_index(self.block), total - block * self.block)

    @contextmanager
    def _panels(self, b: Builder, begin: Value, end: Value) -> Iterator[tuple[Index, Index, Index]]:
        """The panels of the chunks [begin, end), each with the range of its parts that is wanted."""
        parts = self.splits
        if parts == 1:
            with b.loop(begin, end) as panel:
                yield panel, 0, 1
            return
        with b.loop(begin // parts, (end + (parts - 1)) // parts) as panel:
            first = panel * parts
            yield panel, b.max(begin - first, b.constant(0)), b.min(end - first, b.constant(parts))

    @contextmanager
    def _groups(self, b: Builder, low: Index, high: Index) -> Iterator[tuple[Index, Index, Index]]:
        """The groups that the parts [low, high) stand for, each whole; without groups, the parts as one or singly."""
        groups = self.shape.groups
        if groups == 1 and self.singly:
            with b.loop(low, high) as part:
                yield 0, part, part + 1
            return
        if groups == 1:
            yield 0, low, high
            return
        with b.loop(dealt(low, groups, self.splits), dealt(high, groups, self.splits)) as group:
            yield group, 0, 1


def dealt(part: Index, total: int, parts: int) -> Index:
    """Where a part of `total` pieces begins: the parts differ by one piece at most.

    Two threads have half of them each; with the last parts empty, one of two computed 16 of 22 groups of outputs.
    """
    return part * total if parts == 1 else part * total // parts


def divide(flat: Index, size: int, count: int) -> tuple[Index, Index]:
    """Quotient and remainder of `flat`, which is below count * size."""
    if count == 1:
        return 0, flat
    return flat if size == 1 else flat // size, 0 if size == 1 else flat % size
