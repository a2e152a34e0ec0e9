"""Copies of boxes: the one kernel behind relayout, transpose, slice, concat, pad and expand.

What the innermost loops look like decides how elements move (`_pattern`): rows of contiguous elements, one value
repeated, rows backwards, short repeats (upsampling), tiles transposed in registers, or anything by single elements.
Tails are vectors that overlap their neighbour, so that no element outside the box is touched and no mask is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.movement.boxes import Box, Cuts
from sparsec.targets.kernels.movement.movers import PATTERNS, REPEATS, UNROLL, Mover
from sparsec.targets.kernels.space import guess

CHUNK = 1 << 16  # bytes that a chunk writes, about: 2 µs at L2's speed
TILE = 64  # least rows and columns of a block that is transposed: whole cache lines on both sides


@dataclass(frozen=True)
class Copy(Kernel):
    """Copies boxes from `sources` arguments into the last one, elements of `size` bytes; `title` names the op."""

    title: str
    size: int
    sources: int
    boxes: tuple[Box, ...]

    @property
    def name(self) -> str:
        patterns = sorted({_pattern(box, self.size) for box in self.boxes})
        return f"{self.title}_b{8 * self.size}_{'_'.join(patterns)}"

    @property
    def chunks(self) -> Dim:
        return sum(self._cuts(box).chunks for box in self.boxes)

    def emit(self, b: Builder) -> None:
        element = f"i{8 * self.size}"
        with b.function(self.symbol, [element] * (self.sources + 1)) as ((*sources, target), _, begin, end):
            first: Dim = 0
            for box in self.boxes:
                cuts = self._cuts(box)
                start, stop = b.max(begin, b.as_index(first)), b.min(end, b.as_index(first + cuts.chunks))
                source = None if box.argument is None else sources[box.argument] + box.source_start
                with b.loop(start, stop) as chunk:
                    ranges = cuts.ranges(b, chunk - first)
                    PATTERNS[_pattern(box, self.size)](Mover(b, box, source, target + box.target_start), ranges)
                first += cuts.chunks

    def _cuts(self, box: Box) -> Cuts:
        lanes = 64 // self.size
        pattern = _pattern(box, self.size)
        blocks = {"rows": [UNROLL * lanes], "fill": [UNROLL * lanes], "back": [lanes], "steps": [lanes]}
        blocks |= {"repeats": [lanes, REPEATS], "tiles": [TILE, TILE]}
        return Cuts.of([axis.size for axis in box.axes], CHUNK // self.size, blocks.get(pattern, []))


def _pattern(box: Box, size: int) -> str:
    """How the elements of a box move; see the functions of these names."""
    if not box.axes or box.axes[-1].target != 1:
        return "single"
    inner, group = box.axes[-1], 16 // size
    if inner.source in (-1, 0, 1):
        around = box.axes[-2] if len(box.axes) > 1 else None
        short = isinstance(inner.size, int) and inner.size <= REPEATS
        if inner.source == 0 and around and around.source == 1 and around.target == inner.size and short:
            return "repeats"
        return {-1: "back", 0: "fill", 1: "rows"}[inner.source]  # pyright: ignore[reportArgumentType]
    if (
        len(box.axes) > 1
        and box.axes[-2].source in (1, 2)
        and min(map(guess, (inner.size, box.axes[-2].size))) >= group > 1
    ):
        return "tiles"
    return "steps"
