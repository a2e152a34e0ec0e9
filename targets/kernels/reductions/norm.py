"""`sp.norm`: layer, instance and RMS normalisation; the variance is that of the centred elements."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import NormOp, type_of
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.reductions.domain import domain
from sparsec.targets.kernels.reductions.fold import Fold, amount
from sparsec.targets.kernels.reductions.rewrite import Group, Rewriting
from sparsec.weights import WeightStore

_SUM, _SQUARES = Fold("sum", "f32"), Fold("sum_square", "f32")


@dataclass(frozen=True)
class Norm(Rewriting):
    """(x − mean) / sqrt(variance + epsilon) over the domain's segments; without `center` the mean counts as 0."""

    epsilon: float
    center: bool

    @property
    def name(self) -> str:
        return f"{'norm' if self.center else 'rmsnorm'}_f32_{'along' if self.domain.along else 'across'}"

    def rewrite(self, b: Builder, group: Group) -> None:
        """The variance is that of the elements around the mean, which takes a fold of its own."""
        known = self.domain.count
        count = known if isinstance(known, int) else amount(b, known, "f32", None)
        means = group.fold(_SUM, lambda _, x: x, lambda total: total / count) if self.center else []
        centred = lambda slot, x: x - means[slot] if means else x  # noqa: E731
        scales = group.fold(_SQUARES, centred, lambda squares: 1.0 / b.sqrt(squares / count + self.epsilon))
        group.rewrite(lambda slot, x: centred(slot, x) * scales[slot], group.x)


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
