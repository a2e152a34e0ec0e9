"""`sp.lrn`: local response normalisation over neighbouring channels, vectorised over pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import LrnOp, type_of
from sparsec.ir.dims import fixed
from sparsec.targets import vector_math
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.space import sweep
from sparsec.weights import WeightStore

VECTORS = 2  # of pixels at once


@dataclass(frozen=True)
class Lrn(Kernel):
    """x / (bias + scale · Σ x²)^beta, the sum over `size` channels around each, in [outer, channels, inner]."""

    outer: int
    channels: int
    inner: int
    size: int
    scale: float
    beta: float
    bias: float

    @property
    def name(self) -> str:
        return "lrn_f32"

    @property
    def chunks(self) -> int:
        return self.outer * self.channels

    def splits_by(self, images: int) -> bool:
        """A chunk is a channel, which reads others of its image."""
        return self.outer % images == 0

    def emit(self, b: Builder) -> None:
        low = (self.size - 1) // 2
        high = self.size - 1 - low
        with b.function(self.symbol, ["f32", "f32"]) as ((x, y), _, begin, end), b.loop(begin, end) as chunk:
            channel = chunk % self.channels
            row, target = x + chunk * self.inner, y + chunk * self.inner
            inside = (channel >= low) & (channel < self.channels - high)
            with b.if_(inside) as branch:
                self._row(b, row, target, -low, high)
            with branch.else_():
                first = b.min(channel, b.constant(low))
                last = b.min(b.constant(self.channels - 1) - channel, b.constant(high))
                self._edge_row(b, x + (chunk - first) * self.inner, target, first, last)

    def _row(self, b: Builder, x: Ref, y: Ref, low: int, high: int) -> None:
        """A channel all of whose neighbours exist."""

        def visit(at: list[Index], count: int | None) -> None:
            for i in at:
                neighbours = [b.vload(x + tap * self.inner, i, count) for tap in range(low, high + 1)]
                total = neighbours[0] * neighbours[0]
                for value in neighbours[1:]:
                    total = b.fma(value, value, total)
                b.vstore(self._result(b, neighbours[-low], total), y, i, count)

        sweep(b, self.inner, b.isa.lanes, VECTORS, visit)

    def _edge_row(self, b: Builder, x: Ref, y: Ref, first: Value, last: Value) -> None:
        """A channel with `first` neighbours before it, where `x` begins, and `last` after it."""

        def visit(at: list[Index], count: int | None) -> None:
            for i in at:
                total = [b.constant(0.0, "f32", b.isa.lanes)]
                with b.loop(0, first + last + 1, carry=total) as tap:
                    value = b.vload(x + tap * self.inner, i, count)
                    total[0] = b.fma(value, value, total[0])
                own = b.vload(x + first * self.inner, i, count)
                b.vstore(self._result(b, own, total[0]), y, i, count)

        sweep(b, self.inner, b.isa.lanes, 1, visit)

    def _result(self, b: Builder, x: Value, squares: Value) -> Value:
        base = squares * self.scale + self.bias
        if self.beta == 0.75:  # AlexNet's: base^0.75 = sqrt(base) · sqrt(sqrt(base))
            root = b.sqrt(base)
            return x / (root * b.sqrt(root))
        if self.beta == 0.5:
            return x / b.sqrt(base)
        return x / vector_math.pow(b, *b.match(base, self.beta))


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, LrnOp) and element(type_of(op.input).element) == "f32"


def takes_panels(op: Operation) -> bool:
    """The pixels of a channel are contiguous in panels too, and padding is as good as a pixel."""
    return True


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.lrn`."""
    assert isinstance(op, LrnOp)
    type_, size = type_of(op.input), op.size.value.data
    shape = [fixed(dim) for dim in type_.physical_shape]
    axis = 1 if type_.panel is None else 2
    scale = op.alpha.value.data / size
    kernel = Lrn(
        prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), size, scale, op.beta.value.data, op.bias.value.data
    )
    return [Call(kernel, (op.input, op.result), (1,))]
