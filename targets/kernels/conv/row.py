"""The rows of the kernel table for convolutions: what a row is, and how it cuts a shape into blocks and parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import ClassVar, Self

from sparsec import formats
from sparsec.formats import k_blocked
from sparsec.ir import Format
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.region import Body

CHUNKS = 16  # for up to this many threads, where a result has so few panels that these must be split
PACKED_BYTES = 512 * 1024  # most that a packed block of K takes of the L2
PART_BYTES = 256 * 1024  # most that the sums of one part of the outputs take of the L2


@dataclass(frozen=True)
class Row(ABC):
    """A kernel of the table: about `depth` rows of B in a block of K."""

    depth: int

    sparse: ClassVar[bool]
    least: ClassVar[int]  # outputs of a part, which has runs or blocks of its own
    sized: ClassVar[bool] = False  # whether it runs where only the run knows how many tokens there are
    reads_pairs: ClassVar[bool] = False  # of channels, where the source lies so
    writes_pairs: ClassVar[bool] = False  # and reads operands of the epilogue that lie so
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {}  # values of the fields that tuning tries

    @property
    @abstractmethod
    def name(self) -> str:
        """What the kernel is called in plans and reports."""

    @property
    def sizes(self) -> dict[str, int]:
        """Where the row is in the space that tuning searches."""
        return {name: getattr(self, name) for name in self.space}

    @property
    def kind(self) -> str:
        """What tells it from rows of other sizes: its class, and the fields that tuning does not vary."""
        fixed = [f"{each.name}={getattr(self, each.name)}" for each in fields(self) if each.name not in self.space]
        return " ".join([type(self).__name__, *fixed])

    def variants(self) -> list[Self]:
        """Rows that differ in the fields of `space`; tuning may put them in plans beside the table's."""
        if not self.space:
            return []
        return [replace(self, **dict(zip(self.space, sizes, strict=True))) for sizes in product(*self.space.values())]

    @abstractmethod
    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> ConvKernel:
        """The kernel at these sizes."""

    def fits(self, shape: ConvShape) -> bool:
        """Whether the kernel runs convolutions of this shape."""
        return True

    def suits(self, isa: Isa) -> bool:
        """Whether the kernel may be chosen for this ISA: it runs on all, but others may be made for some."""
        return True

    def block(self, shape: ConvShape) -> int:
        """Input channels in a block of K: about `depth` rows of B, in blocks as equal as they can be."""
        rows = self.depth if shape.direct else min(self.depth, PACKED_BYTES // (4 * shape.stride))
        most = max(1, rows // shape.taps)
        return -(-shape.channels // -(-shape.channels // most))

    def splits(self, shape: ConvShape) -> int:
        """Parts of the outputs (or groups) that are chunks of their own."""
        wanted = max(-(-CHUNKS // max(1, shape.some_panels)), -(-shape.sums_bytes // PART_BYTES))
        return max(1, min(wanted, shape.groups if shape.groups > 1 else shape.outputs // self.least))

    def format(self, shape: ConvShape) -> Format:
        """Which weights are stored; K is axes C, KH and KW together."""
        return k_blocked(self.block(shape) * shape.taps) if self.sparse else formats.DENSE
