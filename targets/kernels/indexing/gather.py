"""Gather: rows of elements, or single ones, from places that indices name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import GatherOp, type_of
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.indexing.indexed import Places, like, run_name
from sparsec.targets.kernels.movement.boxes import Cuts, Range, walk
from sparsec.targets.kernels.movement.copy import CHUNK
from sparsec.targets.kernels.movement.movers import cover
from sparsec.targets.kernels.space import dot, guess
from sparsec.weights import WeightStore

LANES = 16  # of the widest vector of indices


def accepts(op: Operation) -> bool:
    """Whether this is a gather by i32 or i64 indices."""
    return isinstance(op, GatherOp) and str(type_of(op.indices).element) in ("i32", "i64")


def takes_panels(op: Operation) -> bool:
    """Whole channels are rows in panels too."""
    assert isinstance(op, GatherOp)
    channels = op.kind.data == "take" and op.axis.value.data == 1
    return channels and type_of(op.input).rank == 4 and type_of(op.indices).rank == 1


def lower(op: GatherOp, weights: WeightStore) -> list[Call]:
    """One call: tensor, indices, result. None for a result without elements."""
    places = Places.of(op)
    if not places.count:
        return []
    kernel = Gather(op.kind.data, type_of(op.input).dtype.itemsize, places)
    return [Call(kernel, (op.input, op.indices, op.result), (2,))]


@dataclass(frozen=True)
class Gather(Kernel):
    """Reads `places` of a tensor with elements of `size` bytes into a dense result."""

    kind: str
    size: int
    places: Places

    @property
    def name(self) -> str:
        return f"gather_{self.kind}_b{8 * self.size}_{self.places.index}_r{run_name(self.places)}"

    @property
    def chunks(self) -> Dim:
        return self._cuts.chunks

    @property
    def _cuts(self) -> Cuts:
        places = self.places
        least = (LANES,) if places.run == 1 and places.loops else ()
        return Cuts.of(places.loops, max(1, CHUNK // (self.size * guess(places.run))), least)

    def emit(self, b: Builder) -> None:
        element = f"i{8 * self.size}"
        single = self.places.run == 1 and self.places.loops and len(self.places.lookups) == 1
        write = self._emit_single if single else self._emit_rows
        operands = [element, self.places.index, element]
        with b.function(self.symbol, operands) as ((x, indices, y), _, begin, end), b.loop(begin, end) as chunk:
            write(b, x, indices, y, self._cuts.ranges(b, chunk))

    def _emit_rows(self, b: Builder, x: Ref, indices: Ref, y: Ref, ranges: list[Range]) -> None:
        with walk(b, ranges) as at:
            source, target = x + self.places.tensor(b, indices, at), y + self.places.dense(at)

            def move(spots: Sequence[Index], lanes: int) -> None:
                vectors = [b.vload(source, place, lanes=lanes) for place in spots]
                for place, vector in zip(spots, vectors, strict=True):
                    b.vstore(vector, target, place)

            run = self.places.run
            cover(b, run, (0, run), b.isa.lanes * 4 // self.size, move)

    def _emit_single(self, b: Builder, x: Ref, indices: Ref, y: Ref, ranges: list[Range]) -> None:
        """Single elements, a vector of them at once along the innermost loop."""
        places = self.places
        with walk(b, ranges[:-1]) as at:
            place = dot(at, places.strides[:-1])
            start = dot(at, places.steps[:-1])
            target = places.dense([*at, 0])

            def move(spots: Sequence[Index], lanes: int) -> None:
                for spot in spots:
                    index = b.vload(indices, start + spot * places.steps[-1], lanes=lanes)
                    offsets = places.lookups[0].offset(b, index)
                    if (step := places.strides[-1]) != 0:
                        offsets = offsets + b.iota(offsets.element, lanes) * like(b, step, offsets.element)
                    b.vstore(b.gather(x + (spot * places.strides[-1] + place), offsets), y, target + spot)

            cover(b, places.loops[-1], ranges[-1], b.isa.lanes, move)
