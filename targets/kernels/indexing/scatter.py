"""Scatter: a copy of a tensor in which rows of elements, or single ones, are replaced or combined with updates.

Updates come in the order of the indices: of several to one place, the last one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import ScatterOp, type_of
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.indexing.indexed import Places, run_name
from sparsec.targets.kernels.movement.boxes import Cut, Range, walk
from sparsec.targets.kernels.movement.copy import CHUNK
from sparsec.targets.kernels.movement.movers import cover
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.space import guess
from sparsec.weights import WeightStore

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def accepts(op: Operation) -> bool:
    """Whether this is a scatter by i32 or i64 indices with a reduction that exists."""
    if not isinstance(op, ScatterOp) or str(type_of(op.indices).element) not in ("i32", "i64"):
        return False
    return op.reduction.data in _REDUCTIONS


def takes_panels(op: Operation) -> bool:
    """Only row-major tensors."""
    return False


def lower(op: ScatterOp, weights: WeightStore) -> list[Call]:
    """One call: tensor, indices, updates, result. None for a tensor without elements."""
    x = type_of(op.input)
    size = prod(x.shape)
    if size == 0:
        return []
    slices = x.shape[0] if op.kind.data == "elements" and op.axis.value.data > 0 else 1
    kernel = Scatter(op.kind.data, element(x.element), op.reduction.data, size, slices, Places.of(op))
    return [Call(kernel, (op.input, op.indices, op.updates, op.result), (3,))]


@dataclass(frozen=True)
class Scatter(Kernel):
    """Updates `places` of a tensor of `count` elements in `slices` along the first axis that no update leaves."""

    kind: str
    element: str
    reduction: str
    count: Dim
    slices: Dim
    places: Places

    @property
    def name(self) -> str:
        return f"scatter_{self.kind}_{self.reduction}_{self.element}_{self.places.index}_r{run_name(self.places)}"

    @property
    def chunks(self) -> Dim:
        return self._cut.pieces

    @property
    def _cut(self) -> Cut:
        """How the slices are dealt out."""
        slice_bytes = guess(self.count // self.slices) * elements.size(self.element)
        return Cut(self.slices, max(1, CHUNK // slice_bytes))

    def emit(self, b: Builder) -> None:
        operands = [self.element, self.places.index, self.element, self.element]
        with (
            b.function(self.symbol, operands) as ((x, indices, updates, y), _, begin, end),
            b.loop(begin, end) as chunk,
        ):
            slices = self._cut.range(b, chunk)
            self._emit_copy(b, x, y, slices)
            if self.places.count != 0:
                self._emit_updates(b, indices, updates, y, slices)

    def _emit_copy(self, b: Builder, x: Ref, y: Ref, slices: Range) -> None:
        size = self.count // self.slices
        start, stop = slices
        b.memcpy(y + start * size, x + start * size, (stop - start) * size * elements.size(self.element))

    def _emit_updates(self, b: Builder, indices: Ref, updates: Ref, y: Ref, slices: Range) -> None:
        ranges: list[Range] = [(0, size) for size in self.places.loops]
        if self.slices != 1:  # updates may reach fewer slices than there are
            limit = self.places.loops[0]
            ranges[0] = _at_most(b, slices[0], limit), _at_most(b, slices[1], limit)
        with walk(b, ranges) as at:
            source, target = updates + self.places.dense(at), y + self.places.tensor(b, indices, at)
            self._emit_row(b, source, target)

    def _emit_row(self, b: Builder, source: Ref, target: Ref) -> None:
        run, combine = self.places.run, _combine(b, self.reduction)
        lanes = b.isa.lanes * 4 // elements.size(self.element)
        whole = run // lanes * lanes if isinstance(run, int) else 0

        def move(places: Sequence[Index], lanes: int) -> None:
            for place in places:
                old, new = b.vload(target, place, lanes=lanes), b.vload(source, place, lanes=lanes)
                b.vstore(combine(old, new), target, place)

        if whole:
            cover(b, whole, (0, whole), lanes, move)
        if whole != run:  # element by element: a row that overlapped its neighbour would add to it twice
            with b.loop(whole, run) as at:
                b.store(combine(b.load(target, at), b.load(source, at)), target, at)


def _at_most(b: Builder, place: Index, limit: Dim) -> Index:
    if isinstance(place, int) and isinstance(limit, int):
        return min(place, limit)
    return b.min(b.as_index(place), b.as_index(limit))


def _combine(b: Builder, reduction: str) -> Callable[[Value, Value], Value]:
    """What becomes of an old element and an update. f16 is computed in f32."""
    apply = {"none": lambda old, new: new, "add": b.add, "mul": b.mul, "max": b.max, "min": b.min}[reduction]

    def combine(old: Value, new: Value) -> Value:
        if reduction == "none" or old.element != "f16":
            return apply(old, new)
        return b.convert(apply(b.convert(old, "f32"), b.convert(new, "f32")), "f16")

    return combine
