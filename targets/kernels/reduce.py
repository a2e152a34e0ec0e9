"""`sp.reduce`: sums, products, extrema and their places over any axes, in vectors along or across the reduced ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import ReduceOp, type_of
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.builder import elements as element_types
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.domain import Domain, domain, element_name
from sparsec.targets.kernels.fold import Fold, Segment, fold_across, fold_along
from sparsec.targets.kernels.space import dot, nest, split, sweep
from sparsec.weights import WeightStore

CHUNK = 16384  # elements read by a chunk, about: a few microseconds
SLOTS = 4  # vectors of results that are folded at once


@dataclass(frozen=True)
class Reduce(Kernel):
    """result[kept] = fold of x over the domain's segments; `divisor` is that of a mean, else 0."""

    fold: Fold
    source: str
    result: str
    domain: Domain
    divisor: int

    @property
    def name(self) -> str:
        kind = "mean" if self.divisor else self.fold.kind
        return f"reduce_{kind}_{self.source}_{'along' if self.domain.along else 'across'}"

    @property
    def _blocks(self):
        sizes, multiple = self.domain.kept.sizes, 1 if self.domain.along else 16 * SLOTS
        return split(sizes, max(multiple, CHUNK // max(self.domain.count, 1)), multiple)

    @property
    def chunks(self) -> int:
        return self._blocks.chunks

    def emit(self, b: Builder) -> None:
        with (
            b.function(self.symbol, [self.source, self.result]) as ((x, y), _, begin, end),
            b.loop(begin, end) as chunk,
            self._blocks.chunk(b, chunk) as (indices, start, stop),
        ):
            emit = self._along if self.domain.along else self._across
            emit(b, x, y, indices, start, stop)

    def _along(self, b: Builder, x: Ref, y: Ref, indices: list[Index], start: Index, stop: Index) -> None:
        kept = self.domain.kept
        with b.loop(start, stop) as i, nest(b, kept.sizes[len(indices) + 1 :]) as inner:
            place = [*indices, i, *inner][: len(kept.sizes)]
            source, target = (dot(place, strides) for strides in kept.strides)
            total = fold_along(b, self.fold, x + source, self.domain.segments, lambda v, _: self._term(b, v))
            b.store(self._finish(b, total), y, target)

    def _across(self, b: Builder, x: Ref, y: Ref, indices: list[Index], start: Index, stop: Index) -> None:
        kept = self.domain.kept
        *outer, last = range(len(kept.sizes))
        if len(indices) == last:
            source, target = (dot(indices, strides[:last]) for strides in kept.strides)
            self._row(b, x + source, y + target, (start, stop))
            return
        with b.loop(start, stop) as i, nest(b, kept.sizes[len(indices) + 1 : last]) as inner:
            source, target = (dot([*indices, i, *inner], strides[:last]) for strides in kept.strides)
            self._row(b, x + source, y + target, None)

    def _row(self, b: Builder, x: Ref, y: Ref, within: tuple[Index, Index] | None) -> None:
        lanes = b.isa.lanes

        def block(at: list[Index], count: int | None) -> None:
            def loads(offset: Index) -> list[Value]:
                offset = offset * self.domain.stride if self.fold.places else offset
                return [self._term(b, b.vload(x + i, offset, count)) for i in at]

            totals = fold_across(b, self.fold, self.domain.segments, loads, lanes, len(at))
            for i, total in zip(at, totals, strict=True):
                b.vstore(self._finish(b, total), y, i, count)

        sweep(b, self.domain.kept.sizes[-1], lanes, SLOTS, block, within=within)

    def _term(self, b: Builder, x: Value) -> Value:
        return b.convert(x, self.fold.element)

    def _finish(self, b: Builder, total: Value) -> Value:
        if self.divisor:
            total = total / b.constant(self.divisor, total.element, total.lanes)
        return b.convert(total, self.result)


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, ReduceOp)


def takes_panels(op: Operation) -> bool:
    """A 4-D input may be in panels where both spatial axes are reduced, or none of them is and they stay."""
    assert isinstance(op, ReduceOp)
    axes = set(values(op.axes)) & {2, 3}
    return not axes or (axes == {2, 3} and not op.kind.data.startswith("arg"))


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.reduce`."""
    assert isinstance(op, ReduceOp)
    x, y, kind = type_of(op.input), type_of(op.result), op.kind.data
    source = element_name(x.element)
    mean = kind == "mean"
    wide = "i64" if mean and not element_types.is_float(source) else source
    fold = Fold("sum" if mean else kind, wide, bool(op.select_last))
    where = domain(x, y, values(op.axes), bool(op.keepdims), fold.places)
    count = prod(x.static_shape[axis] for axis in values(op.axes))
    kernel = Reduce(fold, source, element_name(y.element), where, count if mean else 0)
    return [Call(kernel, (op.input, op.result), (1,))]


__all__ = ["Reduce", "accepts", "lower", "takes_panels", "Segment", "Sequence"]
