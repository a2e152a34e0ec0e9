"""`sp.norm`: layer, instance and RMS normalisation; the variance is that of the centred elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import NormOp, type_of
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.reductions.domain import Domain, domain
from sparsec.targets.kernels.reductions.fold import Fold, fold_across, fold_along, walk
from sparsec.weights import WeightStore

_SUM, _SQUARES = Fold("sum", "f32"), Fold("sum_square", "f32")


@dataclass(frozen=True)
class Norm(Kernel):
    """(x − mean) / sqrt(variance + epsilon) over the domain's segments; without `center` the mean counts as 0."""

    domain: Domain
    epsilon: float
    center: bool

    @property
    def name(self) -> str:
        return f"{'norm' if self.center else 'rmsnorm'}_f32_{'along' if self.domain.along else 'across'}"

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
        load = lambda offset, count: b.vload(x, offset, count)  # noqa: E731
        mean = b.constant(0.0, "f32", lanes)
        if self.center:
            mean = b.broadcast(fold_along(b, _SUM, segments, load) / self.domain.count, lanes)
        centred = self._centred(mean)
        squares = fold_along(b, _SQUARES, segments, lambda offset, count: centred(load(offset, count)))
        scale = b.broadcast(self._scale(b, squares), lanes)

        def finish(offsets: list[Index], count: int | None) -> None:
            for offset in offsets:
                b.vstore(centred(load(offset, count)) * scale, y, offset, count)

        for segment in segments:
            walk(b, segment, lanes, 4, finish)

    def _across(self, b: Builder, x: Ref, y: Ref, at: list[Index], count: int | None) -> None:
        segments = self.domain.segments
        load = lambda offset: [b.vload(x + i, offset, count) for i in at]  # noqa: E731
        means = [b.constant(0.0, "f32", b.isa.lanes) for _ in at]
        if self.center:
            means = [total / self.domain.count for total in fold_across(b, _SUM, segments, load, len(at))]
        centre = [self._centred(mean) for mean in means]
        centred = lambda offset: [f(v) for f, v in zip(centre, load(offset), strict=True)]  # noqa: E731
        scales = [self._scale(b, total) for total in fold_across(b, _SQUARES, segments, centred, len(at))]

        def finish(offsets: list[Index], _count: int | None) -> None:
            for offset in offsets:
                for i, value, scale in zip(at, centred(offset), scales, strict=True):
                    b.vstore(value * scale, y + i, offset, count)

        for segment in segments:
            walk(b, segment, 1, 1, finish)

    def _centred(self, mean: Value) -> Callable[[Value], Value]:
        return (lambda x: x - mean) if self.center else (lambda x: x)

    def _scale(self, b: Builder, squares: Value) -> Value:
        return 1.0 / b.sqrt(squares / self.domain.count + self.epsilon)


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, NormOp) and str(type_of(op.input).element) == "f32"


def takes_panels(op: Operation) -> bool:
    """A 4-D input may be in panels where both spatial axes are reduced, or none of them."""
    assert isinstance(op, NormOp)
    return set(values(op.axes)) & {2, 3} in (set(), {2, 3})


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.norm`."""
    assert isinstance(op, NormOp)
    where = domain(type_of(op.input), None, values(op.axes))
    return [Call(Norm(where, op.epsilon.value.data, bool(op.center)), (op.input, op.result), (1,))]
