"""Boxes: strided sets of elements that are copied, or filled with one value, and how they are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from sparsec.ir.dims import Dim, Sym, ceildiv, evaluate, symbols
from sparsec.targets.builder import Builder, Index, Value
from sparsec.targets.kernels.space import guess, unravel

LARGE = 1 << 20  # what symbols count for where strides are compared

Range = tuple[Index, Index]


@dataclass(frozen=True)
class Axis:
    """One loop: `size` elements, and the steps from one to the next in source and target. The target's is positive."""

    size: Dim
    source: Dim
    target: Dim

    @property
    def forwards(self) -> bool:
        """Whether the source goes to higher places, or stays."""
        return magnitude(self.source) >= 0

    def follows(self, inner: Axis) -> bool:
        """Whether this loop goes on where `inner` ends."""
        return self.source == inner.source * inner.size and self.target == inner.target * inner.size


@dataclass(frozen=True)
class Box:
    """target[start + ...] = source[start + ...] over nested loops, outermost first; all in elements.

    `argument` says which of the kernel's sources is read; None fills the box with the bits `value`.
    """

    axes: tuple[Axis, ...]
    source_start: Dim = 0
    target_start: Dim = 0
    argument: int | None = 0
    value: int = 0

    @classmethod
    def of(
        cls, sizes: Sequence[Dim], source: Sequence[Dim], target: Sequence[Dim], source_start: Dim = 0,
        target_start: Dim = 0, argument: int | None = 0, value: int = 0,
    ) -> Box:  # fmt: skip
        """A box from sizes and strides in as few loops as can be, ordered by the target's strides.

        The loop over neighbours in the source comes next to the innermost one, for tiles.
        """
        if argument is None:
            source, source_start = [0] * len(sizes), 0
        axes = [Axis(*axis) for axis in zip(sizes, source, target, strict=True) if axis[0] != 1]
        axes.sort(key=lambda axis: magnitude(axis.target), reverse=True)
        merged: list[Axis] = []
        for axis in axes:
            if merged and merged[-1].follows(axis):
                axis = Axis(merged.pop().size * axis.size, axis.source, axis.target)
            merged.append(axis)
        for axis in merged[:-2]:
            if axis.source == 1:
                merged.remove(axis)
                merged.insert(-1, axis)
        # Loops that go backwards count from their far end: offsets that a kernel computes are never negative.
        source_start += sum((axis.size - 1) * axis.source for axis in merged if not axis.forwards)
        return cls(tuple(merged), source_start, target_start, argument, value)

    @classmethod
    def in_order(cls, axes: Sequence[Axis], source_start: Dim = 0, target_start: Dim = 0) -> Box:
        """A box of loops in the order given, in as few as can be."""
        merged: list[Axis] = []
        for axis in axes:
            if merged and merged[-1].follows(axis):
                axis = Axis(merged.pop().size * axis.size, axis.source, axis.target)
            if axis.size != 1:
                merged.append(axis)
        return cls(tuple(merged), source_start, target_start)

    @property
    def count(self) -> Dim:
        """Elements of the box."""
        return prod(axis.size for axis in self.axes)


def magnitude(stride: Dim) -> int:
    """A stride, or a number that compares with others as a symbolic one does where symbols are large."""
    return int(evaluate(stride, dict.fromkeys(symbols(stride), LARGE)))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Cut:
    """A loop dealt out in `block`s; the last one takes the rest, so that none is shorter than `block` or the loop.

    Of a symbolic size the last block is what is left, and may be short.
    """

    size: Dim
    block: int

    @property
    def pieces(self) -> Dim:
        return ceildiv(self.size, self.block) if isinstance(self.size, Sym) else max(1, self.size // self.block)

    def range(self, b: Builder, index: Index) -> Range:
        """The part of the loop that a piece covers."""
        if self.pieces == 1:
            return 0, self.size
        start = index * self.block
        stop = start + self.block
        if isinstance(self.size, Sym):
            return start, b.min(b.as_index(stop), self.size)
        if self.pieces * self.block == self.size or not isinstance(index, Value):
            return start, stop
        return start, b.select(index == self.pieces - 1, b.constant(self.size), stop)


@dataclass(frozen=True)
class Cuts:
    """How the loops of a box are dealt out as chunks."""

    cuts: tuple[Cut, ...]

    @classmethod
    def of(cls, sizes: Sequence[Dim], elements: int, blocks: Sequence[int] = ()) -> Cuts:
        """Chunks of about `elements` elements; `blocks` are the least blocks of the innermost loops."""
        least = [*[1] * (len(sizes) - len(blocks)), *blocks]
        cuts: list[Cut] = []
        room = max(1, elements // prod(min(guess(size), block) for size, block in zip(sizes, least, strict=True)))
        for size, block in reversed(list(zip(sizes, least, strict=True))):
            factor = max(1, min(room, -(-guess(size) // block)))
            cuts.append(Cut(size, block * factor))
            room //= factor
        return cls(tuple(reversed(cuts)))

    @property
    def chunks(self) -> Dim:
        return prod(cut.pieces for cut in self.cuts)

    def ranges(self, b: Builder, chunk: Index) -> list[Range]:
        """The ranges of all loops that a chunk covers."""
        indices = unravel(b, chunk, [cut.pieces for cut in self.cuts])
        return [cut.range(b, index) for cut, index in zip(self.cuts, indices, strict=True)]


@contextmanager
def walk(b: Builder, ranges: Sequence[Range]) -> Iterator[list[Index]]:
    """Nested loops over ranges; gives their indices."""
    with ExitStack() as stack:
        yield [stack.enter_context(b.loop(*span)) for span in ranges]
