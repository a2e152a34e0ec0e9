"""`sp.softmax`: exp(x − max) / Σ exp(x − max), or its logarithm, in three passes over cached elements."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import SoftmaxOp, type_of
from sparsec.ir.ops import values
from sparsec.targets import vector_math
from sparsec.targets.builder import Builder
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.reductions.domain import domain
from sparsec.targets.kernels.reductions.fold import Fold
from sparsec.targets.kernels.reductions.rewrite import Group, Rewriting
from sparsec.weights import WeightStore

# A NaN need not reach the maximum: its own exponent is NaN, and so is their sum.
_MAX, _SUM = Fold("largest", "f32"), Fold("sum", "f32")


@dataclass(frozen=True)
class Softmax(Rewriting):
    """Over the domain's segments of each kept place."""

    log: bool

    @property
    def name(self) -> str:
        return f"{'log' if self.log else ''}softmax_f32_{'along' if self.domain.along else 'across'}"

    def rewrite(self, b: Builder, group: Group) -> None:
        """The logarithm goes through the input once more, else y holds the exponents."""
        largest = group.fold(_MAX, lambda _, x: x)
        exponent = lambda slot, x: vector_math.exp(b, x - largest[slot])  # noqa: E731
        totals = group.fold(_SUM, exponent, keep=not self.log)
        if self.log:
            shifts = [vector_math.log(b, total) for total in totals]
            group.rewrite(lambda slot, x: x - largest[slot] - shifts[slot], group.x)
        else:
            scales = [1.0 / total for total in totals]
            group.rewrite(lambda slot, power: power * scales[slot], group.y)


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
