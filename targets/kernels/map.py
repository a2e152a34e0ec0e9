"""`sp.map`: a region on one element of each operand, in vectors, over row-major tensors or panels.

Operands of fewer elements are broadcast by strides of 0; loops that are contiguous for all operands are one loop. The
result may take the place of an operand of its own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation

from sparsec.ir import MapOp, TensorType, type_of
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.region import Body, element
from sparsec.targets.kernels.space import (
    Blocks,
    Space,
    TokenSpace,
    dot,
    guess,
    nest,
    physical_strides,
    space_of,
    split,
    sweep,
)
from sparsec.weights import WeightStore

CHUNK = 8192  # elements of a chunk, about
WIDEST = 16  # lanes of the widest vectors: all ISAs share the chunks
UNROLL = 4


@dataclass(frozen=True)
class Map(Kernel):
    """The last of the space's operands is the result; `elements` are theirs, in the same order."""

    space: Space
    elements: tuple[str, ...]
    body: Body

    @property
    def name(self) -> str:
        return f"map{len(self.elements) - 1}_{self.elements[-1]}"

    @property
    def chunks(self) -> Dim:
        return self._blocks.chunks

    def splits_by(self, images: int) -> bool:
        return self._blocks.splits_by(images)

    def work(self, isa: Isa) -> dict[str, float]:
        vectors, long = prod(map(guess, self.space.sizes)) / isa.lanes, self.body.long_ops
        return {"elementary function": vectors * long, "map op": vectors * (self.body.ops - long)}

    @property
    def _blocks(self) -> Blocks:
        return split(self.space.sizes, CHUNK, WIDEST * UNROLL)

    def emit(self, b: Builder) -> None:
        sizes = self.space.sizes
        with (
            b.function(self.symbol, self.elements, in_place=True) as (refs, _, begin, end),
            b.loop(begin, end) as chunk,
            self._blocks.chunk(b, chunk) as (indices, start, stop),
        ):
            if len(indices) + 1 >= len(sizes):
                self._row(b, self._moved(refs, indices), (start, stop))
                return
            with b.loop(start, stop) as i, nest(b, sizes[len(indices) + 1 : -1]) as rest:
                place = [*indices, i, *rest]
                size = self.space.strips(b, place[0]) if isinstance(self.space, TokenSpace) else None
                self._row(b, self._moved(refs, place), None, size)

    def _moved(self, refs: list[Ref], indices: list[Index]) -> list[Ref]:
        """The references at the start of a row."""
        places = (dot(indices, strides[: len(indices)]) for strides in self.space.strides)
        return [ref + place for ref, place in zip(refs, places, strict=True)]

    def _row(
        self, b: Builder, refs: list[Ref], within: tuple[Index, Index] | None, strips: Index | None = None
    ) -> None:
        """The elements of the innermost loop `within` a range, or those in `strips`."""
        size = strips if strips is not None else self.space.sizes[-1] if self.space.sizes else 1
        *inputs, result = refs
        steps = [strides[-1] if strides else 1 for strides in self.space.strides]
        fixed = [None if step else b.load(ref) for ref, step in zip(inputs, steps[:-1], strict=True)]

        def visit(at: list[Index], count: int | None) -> None:
            loaded = [
                [b.vload(ref, i, count) if value is None else value for ref, value in zip(inputs, fixed, strict=True)]
                for i in at
            ]
            for i, arguments in zip(at, loaded, strict=True):
                b.vstore(self._result(b, arguments), result, i, count)

        sweep(b, size, b.isa.lanes, self._unroll, visit, within=within, exact=strips is not None)

    def _result(self, b: Builder, arguments: list[Value]) -> Value:
        (value,) = self.body.emit(b, arguments)
        return value if value.lanes is not None else b.broadcast(value)

    @property
    def _unroll(self) -> int:
        """Long regions hide their latency across iterations by themselves."""
        ops = sum(1 for _ in self.body.region.block.ops)
        costly = any(op.name.startswith("math.") for op in self.body.region.block.ops)
        return 1 if costly and ops > 2 else 2 if costly or ops > 8 else UNROLL


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`."""
    return isinstance(op, MapOp)


def takes_panels(op: Operation) -> bool:
    """All operands must be whole images of the result's size, or have one element a channel or fewer; all in f32."""
    assert isinstance(op, MapOp)
    result = type_of(op.result)
    return all(_fits_panels(type_of(value), result) for value in op.inputs) and element(result.element) == "f32"


def _fits_panels(operand: TensorType, result: TensorType) -> bool:
    spatial = (1, 1, *operand.shape)[-2:]
    if spatial == (1, 1):
        return True
    return operand.rank == 4 and spatial == result.shape[-2:] and element(operand.element) == "f32"


def takes_parts(op: Operation) -> bool:
    """Values that lie inside others are read and written where they are."""
    return True


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.map`."""
    assert isinstance(op, MapOp)
    result = type_of(op.result)
    types = [type_of(value) for value in op.inputs] + [result]
    strides = tuple(physical_strides(type_, result) for type_ in types)
    space = space_of(result, strides)
    kernel = Map(space, tuple(element(type_.element) for type_ in types), Body.of(op.body))
    return [Call(kernel, (*op.inputs, op.result), (len(op.inputs),))]
