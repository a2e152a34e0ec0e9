"""`sp.softmax`: exp(x − max) / Σ exp(x − max), or its logarithm, in three passes over cached elements."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import SoftmaxOp, type_of
from sparsec.ir.ops import values
from sparsec.targets import vector_math
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.reductions.domain import Domain, domain
from sparsec.targets.kernels.reductions.fold import Fold, fold_across, fold_along, walk
from sparsec.weights import WeightStore

# A NaN need not reach the maximum: its own exponent is NaN, and so is their sum.
_MAX, _SUM = Fold("largest", "f32"), Fold("sum", "f32")


@dataclass(frozen=True)
class Softmax(Kernel):
    """Over the domain's segments of each kept place."""

    domain: Domain
    log: bool

    @property
    def name(self) -> str:
        return f"{'log' if self.log else ''}softmax_f32_{'along' if self.domain.along else 'across'}"

    @property
    def chunks(self) -> int:
        return self.domain.blocks.chunks

    def emit(self, b: Builder) -> None:
        with (
            b.function(self.symbol, ["f32", "f32"], in_place=True) as ((x, y), _, begin, end),
            b.loop(begin, end) as chunk,
        ):
            result = self._along if self.domain.along else self._across
            self.domain.visit(b, chunk, lambda at, i, n: result(b, x + at[0], y + at[1], i, n))

    def _along(self, b: Builder, x: Ref, y: Ref, _at: list[Index], _count: int | None) -> None:
        lanes, segments = b.isa.lanes, self.domain.segments
        largest = b.broadcast(fold_along(b, _MAX, segments, lambda offset, count: b.vload(x, offset, count)), lanes)

        def exponent(offset: Index, count: int | None) -> Value:
            power = vector_math.exp(b, b.vload(x, offset, count) - largest)
            if not self.log:
                b.vstore(power, y, offset, count)
            return power

        total = fold_along(b, _SUM, segments, exponent)
        last = self._last(b, largest, b.broadcast(total, lanes))

        def finish(offsets: list[Index], count: int | None) -> None:
            for offset in offsets:
                b.vstore(last(b.vload(x if self.log else y, offset, count)), y, offset, count)

        for segment in segments:
            walk(b, segment, lanes, 4, finish)

    def _across(self, b: Builder, x: Ref, y: Ref, at: list[Index], count: int | None) -> None:
        segments, slots = self.domain.segments, len(at)
        largest = fold_across(b, _MAX, segments, lambda offset: [b.vload(x + i, offset, count) for i in at], slots)

        def exponents(offset: Index) -> list[Value]:
            powers = [
                vector_math.exp(b, b.vload(x + i, offset, count) - most) for i, most in zip(at, largest, strict=True)
            ]
            if not self.log:
                for i, power in zip(at, powers, strict=True):
                    b.vstore(power, y + i, offset, count)
            return powers

        totals = fold_across(b, _SUM, segments, exponents, slots)
        lasts = [self._last(b, most, total) for most, total in zip(largest, totals, strict=True)]

        def finish(offsets: list[Index], _count: int | None) -> None:
            for offset in offsets:
                for i, last in zip(at, lasts, strict=True):
                    b.vstore(last(b.vload((x if self.log else y) + i, offset, count)), y + i, offset, count)

        for segment in segments:
            walk(b, segment, 1, 1, finish)

    def _last(self, b: Builder, largest: Value, total: Value):
        """What the last pass does to an element: of the input for the logarithm, else of its exponent."""
        if self.log:
            shift = vector_math.log(b, total)
            return lambda x: x - largest - shift
        scale = 1.0 / total
        return lambda power: power * scale


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, SoftmaxOp) and str(type_of(op.input).element) == "f32"


def takes_panels(op: Operation) -> bool:
    """A 4-D input may be in panels where both spatial axes are reduced, or none of them."""
    assert isinstance(op, SoftmaxOp)
    return set(values(op.axes)) & {2, 3} in (set(), {2, 3})


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.softmax`."""
    assert isinstance(op, SoftmaxOp)
    kernel = Softmax(domain(type_of(op.input), None, values(op.axes)), bool(op.log))
    return [Call(kernel, (op.input, op.result), (1,))]
