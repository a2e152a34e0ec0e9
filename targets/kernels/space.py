"""Iteration spaces of pointwise and reducing kernels: nested loops with one stride per operand, split in chunks.

Sizes and strides that only the run knows are `Sym`s; what is decided here is decided without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from sparsec.ir import TensorType
from sparsec.ir.dims import Dim, NotFixed, Sym, ceildiv
from sparsec.targets.builder import Builder, Index, Value

GUESS = 64  # elements that a symbolic size counts for where chunks are made
STRIP = 16  # tokens that are computed together: a vector of AVX-512

Strides = tuple[Dim, ...]


@dataclass(frozen=True)
class Space:
    """Loops of `sizes`, outermost first; `strides[k]` are operand k's, in elements, 0 where it is broadcast."""

    sizes: tuple[Dim, ...]
    strides: tuple[Strides, ...]

    def merged(self) -> Space:
        """The same walk in fewer loops: sizes of 1 are dropped, loops that continue one another become one."""
        kept = [axis for axis, size in enumerate(self.sizes) if size != 1]
        sizes: list[Dim] = []
        strides: list[list[Dim]] = [[] for _ in self.strides]
        for axis in kept:
            size, steps = self.sizes[axis], [s[axis] for s in self.strides]
            if sizes and all(own[-1] == step * size for own, step in zip(strides, steps, strict=True)):
                sizes[-1] *= size
                for own, step in zip(strides, steps, strict=True):
                    own[-1] = step
                continue
            sizes.append(size)
            for own, step in zip(strides, steps, strict=True):
                own.append(step)
        return Space(tuple(sizes), tuple(map(tuple, strides)))


@dataclass(frozen=True)
class TokenSpace(Space):
    """Loops over panels of a number of `tokens` that only the run knows: [panels, ..., stride of a panel].

    A panel holds `rows` tokens; of the last one, only the strips that hold tokens are visited.
    """

    tokens: Dim
    rows: int

    def merged(self) -> TokenSpace:
        """Panels and their tokens stay loops of their own."""
        inner = Space(self.sizes[1:-1], tuple(strides[1:-1] for strides in self.strides)).merged()
        outside = ((strides[:1], strides[-1:]) for strides in self.strides)
        joined = tuple(first + middle + last for middle, (first, last) in zip(inner.strides, outside, strict=True))
        return TokenSpace((self.sizes[0], *inner.sizes, self.sizes[-1]), joined, self.tokens, self.rows)

    def strips(self, b: Builder, panel: Index) -> Index:
        """How many elements of a row of this panel are in strips that hold tokens."""
        left = b.as_index(ceildiv(self.tokens, STRIP) * STRIP) - panel * self.rows
        return b.min(left, b.as_index(self.rows))


def row_major(shape: Sequence[Dim]) -> Strides:
    """Strides of a dense array, in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_strides(shape: Sequence[Dim], result: Sequence[Dim]) -> Strides:
    """Strides of a dense array of `shape` in loops over `result`, to which it is broadcast."""
    own = [0 if size == 1 else step for size, step in zip(shape, row_major(shape), strict=True)]
    return (*[0] * (len(result) - len(shape)), *own)


def physical_shape(type_: TensorType, result: TensorType) -> tuple[Dim, ...]:
    """The shape in memory of an operand of a result that may be in panels ([N, T, C, P], see `Panel`).

    Raises ValueError for an operand that no walk over panels can reach: one with some spatial sizes, but not in panels.
    """
    shape = type_.shape
    if result.panel is None:
        return shape
    if type_.panel is not None:
        return type_.physical_shape
    n, c, h, w = (1,) * (4 - len(shape)) + shape
    if (h, w) != (1, 1):
        raise ValueError(f"operand {type_} of {result} should be in panels")
    return n, 1, c, 1


def physical_strides(type_: TensorType, result: TensorType) -> Strides:
    """Strides of a value in loops over the physical shape of `result`, to which it is broadcast."""
    strides = broadcast_strides(physical_shape(type_, result), physical_shape(result, result))
    if type_.panel is None or not type_.panel.pitch:
        return strides
    images, panels, *_ = physical_shape(type_, result)
    pitch = type_.panel.pitch
    return (pitch * panels if images != 1 else 0, pitch if panels != 1 else 0, *strides[2:])


def space_of(result: TensorType, strides: Sequence[Strides]) -> Space:
    """The loops over a value in memory, where operands have these strides."""
    sizes = physical_shape(result, result)
    if result.panel is None or isinstance(result.shape[2], int):
        return Space(sizes, tuple(strides)).merged()
    if result.shape[0] != 1 or result.shape[3] != 1:
        raise NotFixed(f"only the run knows how many panels {result} has, but it holds no tokens")
    return TokenSpace(sizes[1:], tuple(own[1:] for own in strides), result.shape[2], result.panel.rows).merged()


@dataclass(frozen=True)
class Blocks:
    """How loops are dealt out as chunks: the loops before `axis` one by one, loop `axis` in pieces of `block`."""

    sizes: tuple[Dim, ...]
    axis: int
    block: int

    @property
    def pieces(self) -> Dim:
        """Pieces of the split loop."""
        return ceildiv(self.sizes[self.axis], self.block) if self.sizes else 1

    @property
    def chunks(self) -> Dim:
        """Chunks in all."""
        return prod(self.sizes[: self.axis]) * self.pieces

    def splits_by(self, parts: int) -> bool:
        """Whether the chunks are `parts` equal runs, each over one of `parts` equal pieces of the outermost loop."""
        if not self.sizes or self.sizes[0] % parts:
            return False
        return self.axis > 0 or self.sizes[0] // parts % self.block == 0

    @contextmanager
    def chunk(self, b: Builder, chunk: Index) -> Iterator[tuple[list[Index], Index, Index]]:
        """The indices of the loops before `axis`, and the range of loop `axis` that `chunk` covers."""
        if not self.sizes:
            yield [], 0, 1
            return
        size = self.sizes[self.axis]
        indices = unravel(b, chunk if self.pieces == 1 else chunk // self.pieces, self.sizes[: self.axis])
        if self.pieces == 1:
            yield indices, 0, size
            return
        start = chunk % self.pieces * self.block
        stop = start + self.block
        yield indices, start, stop if size % self.block == 0 else b.min(stop, b.as_index(size))


def split(sizes: Sequence[Dim], elements: int, multiple: int = 1) -> Blocks:
    """Chunks of about `elements` elements; the innermost loop is only split in multiples of `multiple`."""
    inner = 1
    for axis in reversed(range(len(sizes))):
        size = guess(sizes[axis])
        if inner * size >= elements or axis == 0:
            block = -(-elements // max(inner, 1))
            if axis == len(sizes) - 1:
                block = -(-block // multiple) * multiple
            return Blocks(tuple(sizes), axis, max(1, block if isinstance(sizes[axis], Sym) else min(block, size)))
        inner *= size
    return Blocks((), 0, 1)


def guess(size: Dim) -> int:
    """A size; some number where only the run knows it."""
    return size if isinstance(size, int) else GUESS


def unravel(b: Builder, flat: Index, sizes: Sequence[Dim]) -> list[Index]:
    """The indices in loops of `sizes` that a row-major position stands for."""
    indices: list[Index] = []
    for axis, size in reversed(list(enumerate(sizes))):
        if axis == 0:
            indices.append(flat)
        else:
            indices.append(0 if size == 1 else flat % size)
            flat = flat if size == 1 else flat // size
    return indices[::-1]


@contextmanager
def nest(b: Builder, sizes: Sequence[Index]) -> Iterator[list[Index]]:
    """Nested loops; gives their indices."""
    with ExitStack() as stack:
        yield [stack.enter_context(b.loop(0, size)) for size in sizes]


def dot(indices: Sequence[Index], strides: Sequence[Dim]) -> Index:
    """The offset of a place: the sum of the indices times their strides."""
    total: Index = 0
    for index, stride in zip(indices, strides, strict=True):
        total = index * stride + total
    return total


Body = Callable[[list[Index], Any], None]
"""`count` is an int or None unless the size is symbolic, an index then."""


def sweep(
    b: Builder,
    size: Index,
    step: int,
    unroll: int,
    body: Body,
    carry: list[Value] | None = None,
    within: tuple[Index, Index] | None = None,
    exact: bool = False,
) -> None:
    """Walks [0, size) in steps of `step`, `unroll` steps at a time: `body(places, count)`, count None for whole steps.

    `within` restricts the walk to one block, whose start is a multiple of step · unroll. `carry` as in `Builder.loop`.
    A size that the run knows is `exact` where it is a multiple of `step`.
    """
    if not isinstance(size, int):
        _sweep_sized(b, within or (0, size), step, unroll, body, carry, exact)
        return
    start, stop = within or (0, size)
    stride = step * unroll
    bulk, whole = size // stride * stride, size // step * step
    last = stop if isinstance(stop, int) or bulk == size else b.min(stop, b.as_index(bulk))
    last = min(last, bulk) if isinstance(last, int) else last
    if bulk:
        with b.loop(start, last, stride, carry=carry) as i:
            body([i + lane * step for lane in range(unroll)], None)

    def rest() -> None:
        if bulk < whole:
            body(list(range(bulk, whole, step)), None)
        if whole < size:
            body([whole], size - whole)

    if bulk == size:
        return
    if isinstance(stop, int):
        if stop == size:
            rest()
        return
    with b.if_(stop == size, carry=carry):
        rest()


def _sweep_sized(
    b: Builder, within: tuple[Index, Index], step: int, unroll: int, body: Body, carry: list[Value] | None, exact: bool
) -> None:
    """Walks a range of which only the run knows the end."""
    (start, stop), stride = within, step * unroll
    count = b.as_index(stop) - start
    bulk, whole = (count // each * each + start for each in (stride, step))
    with b.loop(start, bulk, stride, carry=carry) as i:
        body([i + lane * step for lane in range(unroll)], None)
    while unroll > 1:
        unroll //= 2
        stride, left = step * unroll, whole - bulk
        with b.if_((left & stride) != 0, carry=carry):
            first = left // (2 * stride) * (2 * stride) + bulk
            body([first + lane * step for lane in range(unroll)], None)
    if step > 1 and not exact:
        with b.if_(whole < stop, carry=carry):
            body([whole], b.as_index(stop) - whole)
