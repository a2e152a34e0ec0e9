"""Which elements a reduction folds together, and which results they give, for row-major tensors and panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sparsec.ir import Panel, TensorType
from sparsec.ir.dims import Dim, NotFixed, ceildiv
from sparsec.targets.builder import Builder, Index
from sparsec.targets.kernels.reductions.fold import Segment
from sparsec.targets.kernels.space import (
    Blocks,
    Space,
    Strides,
    TokenSpace,
    dot,
    nest,
    row_major,
    split,
    sweep,
)

CHUNK = 16384  # elements read by a chunk, about: a few microseconds
SLOTS = 4  # vectors of results that are folded at once across the reduced dimensions
Visit = Callable[[list[Index], list[Index], "Index | None"], None]


@dataclass(frozen=True)
class Domain:
    """Loops over the results, with the strides of the input and of the result, and what each result folds.

    `along`: the innermost dimension in memory is folded; else it is kept.
    """

    kept: Space
    segments: tuple[Segment, ...]
    along: bool
    stride: Dim = 1

    @property
    def count(self) -> Dim:
        """Elements folded for one result."""
        return sum(segment.count for segment in self.segments)

    @property
    def blocks(self) -> Blocks:
        """The results, dealt out as chunks; single results in equal ones where these are no less than half as large."""
        multiple = 1 if self.along else 16 * SLOTS
        folded = sum(segment.guess for segment in self.segments)
        blocks = split(self.kept.sizes, max(multiple, CHUNK // max(folded, 1)), multiple)
        if not self.along or not blocks.sizes:
            return blocks
        size, most = blocks.sizes[blocks.axis], blocks.block
        if not isinstance(size, int):
            return blocks
        equal = next((block for block in range(most, most // 2, -1) if size % block == 0), most)
        return replace(blocks, block=equal)

    def visit(self, b: Builder, chunk: Index, visit: Visit) -> None:
        """Calls `visit(offsets, at, count)` for the results of a chunk: the operands' offsets of one result (`along`),
        or of a row, of which the vectors that start at `at` are wanted, `count` elements of each (None: all lanes).
        """
        sizes = self.kept.sizes
        with self.blocks.chunk(b, chunk) as (indices, start, stop):
            inner = sizes[len(indices) + 1 :]
            if self.along:
                with b.loop(start, stop) as i, nest(b, inner) as rest:
                    visit(self._offsets([*indices, i, *rest]), [0], None)
            elif inner:
                with b.loop(start, stop) as i, nest(b, inner[:-1]) as rest:
                    self._row(b, [*indices, i, *rest], None, visit)
            else:
                self._row(b, indices, (start, stop), visit)

    def _offsets(self, indices: Sequence[Index]) -> list[Index]:
        """Where each operand stands; dimensions without an index count as at their start."""
        return [dot(indices[: len(strides)], strides[: len(indices)]) for strides in self.kept.strides]

    def _row(self, b: Builder, indices: list[Index], within: tuple[Index, Index] | None, visit: Visit) -> None:
        offsets, lanes, size = self._offsets(indices), b.isa.lanes, self.kept.sizes[-1]
        of_tokens = isinstance(self.kept, TokenSpace)
        if isinstance(self.kept, TokenSpace):
            start, stop = within or (0, size)
            size = b.max(b.min(self.kept.strips(b, indices[0]), stop), start)
            within = start, size
        sweep(b, size, lanes, SLOTS, lambda at, count: visit(offsets, at, count), within=within, exact=of_tokens)


def domain(
    x: TensorType, y: TensorType | None, axes: Sequence[int], keepdims: bool = True, places: bool = False
) -> Domain:
    """The domain of a reduction of `x` over `axes`; `y` is the type of the result (None: as large as the input).

    With `places` the one reduced loop counts elements, and `stride` is apart.
    """
    sizes, strides, folded = _physical(x, axes)
    kept = [axis for axis in range(len(sizes)) if axis not in folded]
    target = strides if y is None else _result_strides(x, y, axes, len(sizes))
    space = _kept(x, [sizes[axis] for axis in kept], [tuple(own[axis] for axis in kept) for own in (strides, target)])
    segments = _segments(x, sizes, strides, folded)
    along = _innermost(sizes) in folded or not space.sizes
    stride = 1
    if places:
        ((size, stride),) = segments[0].loops or ((1, 1),)
        segments = (Segment(0, ((size, 1),)),)
        along = stride == 1
    return Domain(space, segments, along, stride)


def _kept(x: TensorType, sizes: Sequence[Dim], strides: Sequence[Strides]) -> Space:
    """The loops over the results. Where only the run knows the tokens in panels, both loops over these come first."""
    space = Space(tuple(sizes), tuple(strides))
    if x.panel is None or isinstance(x.shape[2], int) or len(sizes) < 3 or sizes[-1] != x.panel.stride:
        return space.merged()
    if x.shape[0] != 1 or x.shape[3] != 1:
        raise NotFixed(f"only the run knows how many panels {x} has, but it holds no tokens")
    return TokenSpace(space.sizes[1:], tuple(own[1:] for own in strides), x.shape[2], x.panel.rows).merged()


def _physical(x: TensorType, axes: Sequence[int]) -> tuple[tuple[Dim, ...], Strides, set[int]]:
    """Sizes and strides in memory and the reduced dimensions, with [N, T, C, P] for panels."""
    if x.panel is None:
        return x.shape, row_major(x.shape), set(axes)
    n, c, h, _ = x.shape
    shape = (n, ceildiv(h, x.panel.rows), c, x.panel.stride)
    places = {0: {0}, 1: {2}, 2: {1, 3}, 3: {1, 3}}
    return shape, row_major(shape), set().union(*(places[axis] for axis in axes))


def _result_strides(x: TensorType, y: TensorType, axes: Sequence[int], rank: int) -> Strides:
    """Strides of the result in the input's physical dimensions, 0 in the reduced ones."""
    shape = [1 if axis in axes else dim for axis, dim in enumerate(x.shape)]
    if x.panel is None:
        return row_major(shape)
    if y.panel is not None:
        return row_major(y.physical_shape)
    if not set(axes) & {2, 3} and tuple(shape[2:]) != (1, 1):
        raise ValueError(f"a reduction of {x} over axes {list(axes)} should give panels, not {y}")
    return (shape[1], 0, 1, 0)


def _segments(x: TensorType, sizes: Sequence[Dim], strides: Strides, folded: set[int]) -> tuple[Segment, ...]:
    if x.panel is None or 3 not in folded:
        return (Segment(0, _loops(sizes, strides, folded)),)
    return _panel_segments(x.shape, x.panel, sizes, strides, folded)


def _panel_segments(
    shape: Sequence[Dim], panel: Panel, sizes: Sequence[Dim], strides: Strides, folded: set[int]
) -> tuple[Segment, ...]:
    """The panels with all their rows, then the last one of each image where it has fewer; never the padding."""
    height, width = shape[2:]
    whole, rest = height // panel.rows, height % panel.rows
    parts = ((whole, panel.rows * width, 0), (0 if rest == 0 else 1, rest * width, whole * strides[1]))
    return tuple(
        Segment(offset, _loops((sizes[0], count, sizes[2], pixels), strides, folded))
        for count, pixels, offset in parts
        if count != 0
    )


def _loops(sizes: Sequence[Dim], strides: Strides, folded: set[int]) -> tuple[tuple[Dim, Dim], ...]:
    axes = sorted(folded)
    merged = Space(tuple(sizes[axis] for axis in axes), (tuple(strides[axis] for axis in axes),)).merged()
    return tuple(zip(merged.sizes, merged.strides[0], strict=True))


def _innermost(sizes: Sequence[Dim]) -> int:
    """The last dimension of more than one element; -1 where there is none."""
    return max((axis for axis, size in enumerate(sizes) if size != 1), default=-1)
