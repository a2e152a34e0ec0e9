"""`sp.cumsum`: running sums, vectorised over the dimensions behind the axis; one by one where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import CumsumOp, type_of
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.space import sweep
from sparsec.weights import WeightStore


@dataclass(frozen=True)
class Cumsum(Kernel):
    """Along the middle of [outer, length, inner]."""

    element: str
    outer: Dim
    length: Dim
    inner: Dim
    exclusive: bool
    reverse: bool

    @property
    def name(self) -> str:
        return f"cumsum_{self.element}"

    @property
    def chunks(self) -> Dim:
        return self.outer

    def emit(self, b: Builder) -> None:
        with (
            b.function(self.symbol, [self.element] * 2, in_place=True) as ((x, y), _, begin, end),
            b.loop(begin, end) as chunk,
        ):
            size = self.length * self.inner
            source, target = x + chunk * size, y + chunk * size

            def visit(at: list[Index], count: Index | None) -> None:
                for i in at:
                    lanes = 1 if self.inner == 1 else b.isa.lanes
                    total = [b.constant(0, self.element, lanes)]
                    with b.loop(0, self.length, carry=total) as step:
                        place = (self.length - 1 - step if self.reverse else step) * self.inner + i
                        before = total[0]
                        total[0] = before + b.vload(source, place, count, lanes=lanes)
                        b.vstore(before if self.exclusive else total[0], target, place, count)

            sweep(b, self.inner, 1 if self.inner == 1 else b.isa.lanes, 1, visit)


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, CumsumOp)


def takes_panels(op: Operation) -> bool:
    """Running sums along pixels would cross panels."""
    return False


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.cumsum`."""
    assert isinstance(op, CumsumOp)
    type_, axis = type_of(op.input), op.axis.value.data
    shape = type_.shape
    sizes = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    kernel = Cumsum(element(type_.element), *sizes, bool(op.exclusive), bool(op.reverse))
    return [Call(kernel, (op.input, op.result), (1,))]
