"""Iteration spaces of pointwise and reducing kernels: nested loops with one stride per operand, split in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from sparsec.ir import TensorType
from sparsec.targets.builder import Builder, Index, Value

Strides = tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """Loops of `sizes`, outermost first; `strides[k]` are operand k's, in elements, 0 where it is broadcast."""

    sizes: tuple[int, ...]
    strides: tuple[Strides, ...]

    def merged(self) -> Space:
        """The same walk in fewer loops: sizes of 1 are dropped, loops that continue one another become one."""
        kept = [axis for axis, size in enumerate(self.sizes) if size != 1]
        sizes: list[int] = []
        strides: list[list[int]] = [[] for _ in self.strides]
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


def row_major(shape: Sequence[int]) -> Strides:
    """Strides of a dense array, in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_strides(shape: Sequence[int], result: Sequence[int]) -> Strides:
    """Strides of a dense array of `shape` in loops over `result`, to which it is broadcast."""
    own = [0 if size == 1 else step for size, step in zip(shape, row_major(shape), strict=True)]
    return (*[0] * (len(result) - len(shape)), *own)


def physical_shape(type_: TensorType, result: TensorType) -> tuple[int, ...]:
    """The shape in memory of an operand of a result that may be in panels ([N, T, C, P], see `Panel`).

    Raises ValueError for an operand that no walk over panels can reach: one with some spatial sizes, but not in panels.
    """
    shape = type_.static_shape
    if result.panel is None:
        return shape
    if type_.panel is not None:
        return tuple(int(dim) for dim in type_.physical_shape)  # pyright: ignore[reportArgumentType]
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
    return (pitch * panels if images > 1 else 0, pitch if panels > 1 else 0, *strides[2:])


@dataclass(frozen=True)
class Blocks:
    """How loops are dealt out as chunks: the loops before `axis` one by one, loop `axis` in pieces of `block`."""

    sizes: tuple[int, ...]
    axis: int
    block: int

    @property
    def pieces(self) -> int:
        """Pieces of the split loop."""
        return -(-self.sizes[self.axis] // self.block) if self.sizes else 1

    @property
    def chunks(self) -> int:
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
        indices = unravel(b, chunk // self.pieces if self.pieces > 1 else chunk, self.sizes[: self.axis])
        if self.pieces == 1:
            yield indices, 0, size
            return
        start = chunk % self.pieces * self.block
        stop = start + self.block
        yield indices, start, stop if size % self.block == 0 else b.min(stop, b.as_index(size))


def split(sizes: Sequence[int], elements: int, multiple: int = 1) -> Blocks:
    """Chunks of about `elements` elements; the innermost loop is only split in multiples of `multiple`."""
    inner = 1
    for axis in reversed(range(len(sizes))):
        if inner * sizes[axis] >= elements or axis == 0:
            block = -(-elements // max(inner, 1))
            if axis == len(sizes) - 1:
                block = -(-block // multiple) * multiple
            return Blocks(tuple(sizes), axis, max(1, min(block, sizes[axis])))
        inner *= sizes[axis]
    return Blocks((), 0, 1)


def unravel(b: Builder, flat: Index, sizes: Sequence[int]) -> list[Index]:
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
def nest(b: Builder, sizes: Sequence[int]) -> Iterator[list[Index]]:
    """Nested loops; gives their indices."""
    with ExitStack() as stack:
        yield [stack.enter_context(b.loop(0, size)) for size in sizes]


def dot(indices: Sequence[Index], strides: Sequence[int]) -> Index:
    """The offset of a place: the sum of the indices times their strides."""
    total: Index = 0
    for index, stride in zip(indices, strides, strict=True):
        total = index * stride + total
    return total


Body = Callable[[list[Index], int | None], None]


def sweep(
    b: Builder,
    size: int,
    step: int,
    unroll: int,
    body: Body,
    carry: list[Value] | None = None,
    within: tuple[Index, Index] | None = None,
) -> None:
    """Walks [0, size) in steps of `step`, `unroll` steps at a time: `body(places, count)`, count None for whole steps.

    `within` restricts the walk to one block, whose start is a multiple of step · unroll. `carry` as in `Builder.loop`.
    """
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
