"""Resize of any axes: a result is a sum over all combinations of its axes' taps; the axes behind the last are runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value, elements
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.movement.boxes import Cuts, walk
from sparsec.targets.kernels.movement.movers import cover
from sparsec.targets.kernels.resize.sampling import Sampling
from sparsec.targets.kernels.space import dot, row_major

CHUNK = 4096  # results of a chunk, about


@dataclass(frozen=True)
class ResizeAny(Kernel):
    """`axes` are the axes that change and their numbers of taps."""

    sampling: Sampling
    source: tuple[int, ...]
    target: tuple[int, ...]
    axes: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        axes = "".join(f"_a{axis}t{taps}" for axis, taps in self.axes)
        return f"resize_{self.sampling.mode}_{self.sampling.element}{axes}"

    @property
    def chunks(self) -> Dim:
        return self._cuts.chunks

    @property
    def _depth(self) -> int:
        """Axes up to the last one that changes."""
        return max((axis for axis, _ in self.axes), default=-1) + 1

    @property
    def _run(self) -> int:
        return prod(self.target[self._depth :])

    @property
    def _cuts(self) -> Cuts:
        return Cuts.of(self.target[: self._depth], max(1, CHUNK // self._run))

    def emit(self, b: Builder) -> None:
        item, weight = self.sampling.element, self.sampling.computed
        operands = [item, *["i32", weight] * len(self.axes), item]
        with (
            b.function(self.symbol, operands) as ((x, *tables, y), _, begin, end),
            b.loop(begin, end) as chunk,
            walk(b, self._cuts.ranges(b, chunk)) as at,
        ):
            self._emit_run(b, x, list(zip(tables[::2], tables[1::2], strict=True)), y, at)

    def _emit_run(self, b: Builder, x: Ref, tables: Sequence[tuple[Ref, Ref]], y: Ref, at: list[Index]) -> None:
        strides, target = row_major(self.source), y + dot(at, row_major(self.target)[: self._depth])
        kept = [index for axis, index in enumerate(at) if axis not in dict(self.axes)]
        start = dot(kept, [stride for axis, stride in enumerate(strides[: self._depth]) if axis not in dict(self.axes)])
        sources = [(x + start, b.constant(1, self.sampling.computed))]
        inside: Value | None = None
        for (axis, taps), (indices, weights) in zip(self.axes, tables, strict=True):
            spots = [tap * self.target[axis] + at[axis] for tap in range(taps)]
            moves = [b.convert(b.load(indices, spot), "index") * strides[axis] for spot in spots]
            factors = [b.load(weights, spot) for spot in spots]
            pairs = list(zip(moves, factors, strict=True))
            sources = [(ref + move, old * factor) for ref, old in sources for move, factor in pairs]
            if self.sampling.extrapolation is not None:
                flag = b.load(weights, taps * self.target[axis] + at[axis])
                inside = flag if inside is None else inside * flag
        self._emit_sum(b, sources, inside, target)

    def _emit_sum(self, b: Builder, sources: list[tuple[Ref, Value]], inside: Value | None, target: Ref) -> None:
        sampling = self.sampling

        def move(places: Sequence[Index], lanes: int) -> None:
            for at in places:
                total = None
                for ref, weight in sources:
                    x = sampling.load(b, b.vload(ref, at, lanes=lanes))
                    if not sampling.nearest:
                        factor = b.broadcast(weight, lanes)
                        x = x * factor if total is None else b.fma(x, factor, total)
                    total = x
                assert total is not None
                if inside is not None:
                    total = sampling.outside(b, total, b.broadcast(inside, lanes))
                b.vstore(sampling.store(b, total), target, at)

        lanes = b.isa.lanes * 4 // elements.size(sampling.element if sampling.nearest else sampling.computed)
        cover(b, self._run, (0, self._run), lanes, move)
