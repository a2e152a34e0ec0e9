"""`sp.reduce`: sums, products, extrema and their places over any axes, in vectors along or across the reduced ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import ReduceOp, type_of
from sparsec.ir.dims import Dim, Sym
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.builder import elements as element_types
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.reductions.domain import Domain, domain
from sparsec.targets.kernels.reductions.fold import Fold, amount, fold_across, fold_along
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.space import guess
from sparsec.weights import WeightStore


@dataclass(frozen=True)
class Reduce(Kernel):
    """result[kept] = fold of x over the domain's segments; `divisor` is that of a mean, else 0."""

    fold: Fold
    source: str
    result: str
    domain: Domain
    divisor: Dim

    @property
    def name(self) -> str:
        kind = self.fold.kind if self.divisor == 0 else "mean"
        return f"reduce_{kind}_{self.source}_{'along' if self.domain.along else 'across'}"

    @property
    def chunks(self) -> Dim:
        return self.domain.blocks.chunks

    def splits_by(self, images: int) -> bool:
        """The outermost loop of the input is over images where no loop that is folded has a larger stride."""
        strides = [stride for segment in self.domain.segments for _, stride in segment.loops]
        outer = self.domain.kept.strides[0][:1]
        if not outer or any(isinstance(stride, Sym) for stride in (*outer, *strides)):
            return False
        return max(map(guess, strides), default=0) < guess(outer[0]) and self.domain.blocks.splits_by(images)

    def emit(self, b: Builder) -> None:
        with (
            b.function(self.symbol, [self.source, self.result]) as ((x, y), _, begin, end),
            b.loop(begin, end) as chunk,
        ):
            result = self._along if self.domain.along else self._across
            self.domain.visit(b, chunk, lambda at, i, n: result(b, x + at[0], y + at[1], i, n))

    def _along(self, b: Builder, x: Ref, y: Ref, _at: list[Index], _count: Index | None) -> None:
        load = lambda offset, count: self._term(b, b.vload(x, offset, count))  # noqa: E731
        b.store(self._finish(b, fold_along(b, self.fold, self.domain.segments, load)), y)

    def _across(self, b: Builder, x: Ref, y: Ref, at: list[Index], count: Index | None) -> None:
        step = self.domain.stride if self.fold.places else 1
        load = lambda offset: [self._term(b, b.vload(x + i, offset * step, count)) for i in at]  # noqa: E731
        totals = fold_across(b, self.fold, self.domain.segments, load, len(at))
        for i, total in zip(at, totals, strict=True):
            b.vstore(self._finish(b, total), y, i, count)

    def _term(self, b: Builder, x: Value) -> Value:
        return b.convert(x, self.fold.element)

    def _finish(self, b: Builder, total: Value) -> Value:
        if self.divisor != 0:
            total = b.div(total, amount(b, self.divisor, total.element, total.lanes))
        return b.convert(total, self.result)


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, ReduceOp)


def takes_panels(op: Operation) -> bool:
    """A 4-D input may be in panels where both spatial axes are reduced, or none of them is and they stay."""
    assert isinstance(op, ReduceOp)
    if op.kind.data.startswith("arg"):
        return False
    axes = set(values(op.axes)) & {2, 3}
    return axes == {2, 3} or (not axes and bool(op.keepdims))


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.reduce`."""
    assert isinstance(op, ReduceOp)
    x, y, kind = type_of(op.input), type_of(op.result), op.kind.data
    source = element(x.element)
    mean = kind == "mean"
    wide = "i64" if mean and not element_types.is_float(source) else source
    fold = Fold("sum" if mean else kind, wide, bool(op.select_last))
    where = domain(x, y, values(op.axes), bool(op.keepdims), fold.places)
    count = prod(x.shape[axis] for axis in values(op.axes))
    kernel = Reduce(fold, source, element(y.element), where, count if mean else 0)
    return [Call(kernel, (op.input, op.result), (1,))]


__all__ = ["Reduce", "accepts", "lower", "takes_panels"]
