"""Max and average pooling, in panels or row-major: the columns of a window are combined once a source row, then rows.

So a window of k × k costs 2 (k - 1) operations a result. Elements beyond the borders count as the lowest value or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce

from xdsl.ir import Operation, SSAValue

from sparsec.ir import PoolOp, type_of
from sparsec.ir.ops import values
from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.strips import Tap
from sparsec.targets.kernels.windows.blocks import Channel, Place, Sums
from sparsec.targets.kernels.windows.windows import Window, WindowKernel
from sparsec.weights import WeightStore

_ELEMENTS = {"max": ("f32", "f64", "i8", "u8"), "average": ("f32", "f64")}


def accepts(op: Operation) -> bool:
    """Whether this is a 2-D pooling over elements that these kernels know."""
    if not isinstance(op, PoolOp) or type_of(op.input).rank != 4:
        return False
    return element(type_of(op.input).element) in _ELEMENTS[op.kind.data]


def takes_panels(op: Operation) -> bool:
    """Pooling reads and writes panels wherever it runs at all."""
    return accepts(op)


def takes_pairs(op: Operation, values: Collection[SSAValue]) -> bool:
    """Source and result together."""
    assert isinstance(op, PoolOp)
    return set(values) == {op.input, op.result} and not _kernel(op).large


def takes_parts(op: Operation) -> bool:
    """Values that lie inside others are read and written where they are."""
    return True


def lower(op: PoolOp, weights: WeightStore) -> list[Call]:
    """One call: source, result."""
    return [Call(_kernel(op), (op.input, op.result), (1,))]


def _kernel(op: PoolOp) -> Pool:
    x, y = type_of(op.input), type_of(op.result)
    pads = values(op.pads)
    counted = (pads[2], pads[3]) if op.count_pads else None
    return Pool(Planes.of(x), Planes.of(y), Window.of(op), element(x.element), op.kind.data, counted)


@dataclass(frozen=True)
class Pool(WindowKernel):
    """`kind` max or average. `counted` are the pads behind the last row and column where all pads count as elements."""

    kind: str
    counted: tuple[int, int] | None

    @property
    def name(self) -> str:
        shape = f"{self.target.height}x{self.target.width}x{self.target.channels}"
        return f"{self.kind}pool_{'bf16' if self.source.pairs else self.element}_{self.window}_{shape}"

    @property
    def operands(self) -> list[str]:
        return [self.stored, self.stored]

    @property
    def fill(self) -> float:  # type: ignore[override]
        if self.kind == "average":
            return 0.0
        if elements.is_float(self.element):
            return -float("inf")
        return 0 if elements.is_unsigned(self.element) else -(1 << (elements.bits(self.element) - 1))

    def extra_signature(self, block: int) -> tuple[int, ...]:
        """How many rows the windows of a block's output rows hold."""
        return tuple(self.count(0, block * self.block + row) for row in range(self.block))

    def count(self, axis: int, output: int) -> int:
        """How many elements along an axis divide an average."""
        low, size = self.window.pads[axis], (self.source.height, self.source.width)[axis]
        first, stop = (-low, size + self.counted[axis]) if self.counted else (0, size)
        start = output * self.window.strides[axis] - low
        dilation = self.window.dilations[axis]
        return sum(first <= start + tap * dilation < stop for tap in range(self.window.kernel[axis]))

    @property
    def counted_rows(self) -> tuple[int, int]:
        """The rows that count, from the first padding row on: first and behind the last."""
        pad, size = self.window.pads[0], self.source.height
        return (0, pad + size + self.counted[0]) if self.counted else (pad, pad + size)

    def channel(self, b: Builder, arguments: Sequence[Ref], image: Index, channel: Index) -> Channel:
        return Maximum(b, self) if self.kind == "max" else Average(b, self)


class Maximum(Channel):
    """The largest element of a window; NaN where it holds one."""

    def __init__(self, b: Builder, kernel: Pool) -> None:
        self._b, self._kernel = b, kernel

    def combine(self, x: Value, y: Value) -> Value:
        """Two elements into one."""
        return self._b.max(x, y)

    def add(self, sums: Sums, taps: Callable[[int], Tap], users: Sequence[tuple[int, int]]) -> None:
        b, kernel = self._b, self._kernel
        columns = reduce(self.combine, [taps(x).filled(b, kernel.fill) for x in range(kernel.window.kernel[1])])
        for row, _ in users:
            sums[row] = self.combine(sums[row], columns) if row in sums else columns

    def start(self, lanes: int) -> list[Value]:
        return [self.nothing(lanes)]

    def take(self, state: list[Value], tap: Tap, line: Index, column: Index) -> None:
        state[0] = self.combine(state[0], tap.filled(self._b, self._kernel.fill))

    def nothing(self, lanes: int) -> Value:
        return self._b.constant(self._kernel.fill, self._kernel.element, lanes)

    def finish(self, value: Value, place: Place) -> Value:
        return value


class Average(Maximum):
    """The mean of the elements of a window that exist, or that exist or are pads."""

    def combine(self, x: Value, y: Value) -> Value:
        return x + y

    def start(self, lanes: int) -> list[Value]:
        return [self.nothing(lanes), self._b.constant(0.0, self._kernel.element)]

    def count(self, state: list[Value], row: Index) -> None:
        first, stop = self._kernel.counted_rows
        counts = (row >= first) & (row < stop)
        one = self._b.constant(1.0, self._kernel.element)
        state[1] = self._b.select(counts, state[1] + one, state[1])

    def total(self, state: list[Value], place: Place) -> Value:
        start, lanes = place.span.start, state[0].lanes
        assert isinstance(start, int)
        assert lanes is not None
        columns = [self._kernel.count(1, start + lane) for lane in range(lanes)]
        return state[0] / (self._b.constants([float(count) for count in columns], self._kernel.element) * state[1])

    def finish(self, value: Value, place: Place) -> Value:
        if self._kernel.large:
            return value
        return value * self._b.constants(self._factors(place), self._kernel.element)

    def _factors(self, place: Place) -> list[float]:
        """One over the number of elements, lane by lane. Windows without any give NaN, as 0 / 0."""
        kernel, size = self._kernel, place.block.slots.size
        first = place.block.run.start * kernel.block
        rows = [kernel.count(0, first + row) for row in place.rows]
        start = place.span.start
        if isinstance(start, int):
            columns = [kernel.count(1, start + lane) for lane in range(size)]
        else:  # strips in a loop are those that no border touches
            columns = [kernel.window.kernel[1]] * size
        return [1 / (row * column) if row * column else float("nan") for row in rows for column in columns]
