"""Top-k along an axis: a heap of the best k, fed with the axis from its start, then emptied from its worst element on.

An element is compared by a signed integer of its order, and equal ones by their index. For elements of up to 32 bits
both fit in one 64-bit key.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import TopkOp, type_of
from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.indexing.heap import Heap, Item
from sparsec.targets.kernels.region import element
from sparsec.weights import WeightStore

CHUNK = 16384  # elements read by a chunk, about
RARE = 64  # elements for each of the k from which on most vectors hold none of them and are worth to be skipped


def accepts(op: Operation) -> bool:
    """Whether this is a top-k."""
    return isinstance(op, TopkOp)


def takes_panels(op: Operation) -> bool:
    """Only row-major tensors."""
    return False


def lower(op: TopkOp, weights: WeightStore) -> list[Call]:
    """One call: tensor, values, indices. None for a result without elements."""
    x, k, axis = type_of(op.input), op.k.value.data, op.axis.value.data
    shape = x.static_shape
    if not k or not prod(shape):
        return []
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    kernel = Topk(element(x.element), (outer, shape[axis], inner), k, bool(op.largest))
    return [Call(kernel, (op.input, op.values_, op.indices), (1, 2))]


@dataclass(frozen=True)
class Topk(Kernel):
    """The best `k` along the middle axis of `shape`, best first, and their i64 indices."""

    element: str
    shape: tuple[int, int, int]
    k: int
    largest: bool

    @property
    def name(self) -> str:
        return f"topk_{self.element}_{'largest' if self.largest else 'smallest'}_{self.k}of{self.shape[1]}"

    @property
    def lines(self) -> int:
        """Lines of a chunk; a line is one walk along the axis."""
        return max(1, min(self.shape[0] * self.shape[2], CHUNK // self.shape[1]))

    @property
    def chunks(self) -> int:
        return -(-self.shape[0] * self.shape[2] // self.lines)

    @property
    def scratch(self) -> int:
        return self.k * (8 if self._packed else 16)

    @property
    def _packed(self) -> bool:
        return elements.bits(self.element) <= 32

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, [self.element, self.element, "i64"]) as ((x, y, at), scratch, begin, end):
            keys = scratch.view("i64")
            heap = Heap(b, [keys] if self._packed else [keys, keys + self.k], self._worse)
            total = self.shape[0] * self.shape[2]
            with b.loop(begin * self.lines, b.min(end * self.lines, b.constant(total))) as line:
                outer, inner = line // self.shape[2], line % self.shape[2]
                step = self.shape[2]
                self._select(b, heap, x + (outer * (self.shape[1] * step) + inner))
                result = outer * (self.k * step) + inner
                source = x + (outer * (self.shape[1] * step) + inner)
                self._empty(b, heap, source, y + result, at + result)

    def _select(self, b: Builder, heap: Heap, source: Ref) -> None:
        """Leaves the best k of a line in the heap."""
        step = self.shape[2]
        with b.loop(0, self.k) as i:
            heap.store(self._item(b, b.load(source, i * step), i), i)
        heap.build(self.k)
        start, lanes = self.k, b.isa.lanes
        if step == 1 and self._packed and self.shape[1] >= RARE * self.k:
            start += (self.shape[1] - self.k) // lanes * lanes
            with b.loop(self.k, start, lanes) as at:
                least = b.broadcast(b.convert(heap.load(0)[0] >> 32, "i32"), lanes)
                better = self._key(b, b.vload(source, at, lanes=lanes)) > least
                with b.if_(b.reduce("or", better)):
                    self._feed(b, heap, source, at, at + lanes)
        self._feed(b, heap, source, start, self.shape[1])

    def _feed(self, b: Builder, heap: Heap, source: Ref, start: Index, stop: Index) -> None:
        """Puts the elements that are better than the heap's worst into it."""
        with b.loop(start, stop) as i:
            item = self._item(b, b.load(source, i * self.shape[2]), i)
            with b.if_(self._worse(heap.load(0), item)):
                heap.sift(item, 0, self.k)

    def _empty(self, b: Builder, heap: Heap, source: Ref, values: Ref, indices: Ref) -> None:
        """Writes the heap's elements from the worst to the best, last place first."""
        step = self.shape[2]
        with b.loop(0, self.k) as i:
            last = b.constant(self.k - 1) - i if isinstance(i, Value) else self.k - 1 - i
            index = self._index(heap.load(0))
            place = last * step
            b.store(index, indices, place)
            b.store(b.load(source, b.convert(index, "index") * step), values, place)
            with b.if_(b.as_index(last) > 0):
                heap.sift(heap.load(last), 0, last)

    def _item(self, b: Builder, x: Value, index: Index) -> Item:
        key = self._key(b, x)
        index = b.convert(b.as_index(index), "i64")
        if self._packed:
            return [(b.convert(key, "i64") << 32) | (0xFFFFFFFF - index)]
        return [key, index]

    def _key(self, b: Builder, x: Value) -> Value:
        """An integer that is larger for better elements."""
        key = order(b, x)
        return key if self.largest else ~key

    def _index(self, item: Item) -> Value:
        return 0xFFFFFFFF - (item[0] & 0xFFFFFFFF) if self._packed else item[1]

    def _worse(self, x: Item, y: Item) -> Value:
        if self._packed:
            return x[0] < y[0]
        return (x[0] < y[0]) | ((x[0] == y[0]) & (x[1] > y[1]))


def order(b: Builder, x: Value) -> Value:
    """An i32 or i64 that compares as `x` does: -0 equals 0, and NaN comes behind infinity, as NumPy sorts it."""
    if not elements.is_float(x.element):
        return b.convert(x, "i64" if elements.bits(x.element) > 32 else "i32")
    x = b.convert(x, "f32") if elements.bits(x.element) < 32 else x
    integer = "i64" if x.element == "f64" else "i32"
    width = elements.bits(integer)
    bits = b.bitcast(x + 0.0, integer)
    ordered = bits ^ ((bits >> (width - 1)) & ((1 << (width - 1)) - 1))
    return b.select(x != x, (1 << (width - 1)) - 1, ordered)
