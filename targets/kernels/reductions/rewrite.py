"""Kernels that rewrite elements by what all of their group come to: the frame of softmax and of normalisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.reductions.domain import Domain
from sparsec.targets.kernels.reductions.fold import Fold, fold_across, fold_along, walk

Each = Callable[[int, Value], Value]
"""What becomes of a vector of elements of a slot."""


@dataclass(frozen=True)
class Group:
    """The elements that are folded together: those of one place, or of vectors of places side by side, the slots.

    The slots start at `at`, and `count` elements of each are wanted (None: all lanes).
    """

    b: Builder
    domain: Domain
    x: Ref
    y: Ref
    at: Sequence[Index]
    count: Index | None

    def fold(
        self, fold: Fold, each: Each, then: Callable[[Value], Value] = lambda total: total, keep: bool = False
    ) -> list[Value]:
        """For each slot, `then` of the total of its elements after `each`, in all lanes. `keep` writes these to y."""
        b, segments, target = self.b, self.domain.segments, self.y if keep else None
        if self.domain.along:
            total = fold_along(b, fold, segments, lambda offset, n: self._apply(each, self.x, target, offset, n)[0])
            return [b.broadcast(then(total), b.isa.lanes)]
        load = lambda offset: self._apply(each, self.x, target, offset, self.count)  # noqa: E731
        return [then(total) for total in fold_across(b, fold, segments, load, len(self.at))]

    def rewrite(self, each: Each, source: Ref) -> None:
        """Writes `each` of the elements at `source`, x or y, to y."""
        along = self.domain.along

        def visit(offsets: list[Index], count: Index | None) -> None:
            for offset in offsets:
                self._apply(each, source, self.y, offset, count if along else self.count)

        for segment in self.domain.segments:
            walk(self.b, segment, self.b.isa.lanes if along else 1, 4 if along else 1, visit)

    def _apply(self, each: Each, source: Ref, target: Ref | None, offset: Index, count: Index | None) -> list[Value]:
        loaded = [self.b.vload(source + i, offset, count) for i in self.at]
        found = [each(slot, x) for slot, x in enumerate(loaded)]
        if target is not None:
            for i, value in zip(self.at, found, strict=True):
                self.b.vstore(value, target + i, offset, count)
        return found


@dataclass(frozen=True)
class Rewriting(Kernel):
    """Folds the domain's segments of each kept place, then rewrites their elements; x and y may be one."""

    domain: Domain

    @property
    def chunks(self) -> Dim:
        return self.domain.blocks.chunks

    def emit(self, b: Builder) -> None:
        with (
            b.function(self.symbol, ["f32", "f32"], in_place=True) as ((x, y), _, begin, end),
            b.loop(begin, end) as chunk,
        ):
            self.domain.visit(
                b, chunk, lambda at, i, n: self.rewrite(b, Group(b, self.domain, x + at[0], y + at[1], i, n))
            )

    @abstractmethod
    def rewrite(self, b: Builder, group: Group) -> None:
        """Writes the code of one group."""
