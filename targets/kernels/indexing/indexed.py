"""Places that index arrays name: what gathers read and scatters write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from sparsec.ir import GatherOp, ScatterOp, TensorType, type_of
from sparsec.ir.dims import Dim, fixed
from sparsec.targets.builder import Builder, Index, Operand, Ref, Value
from sparsec.targets.kernels.space import Strides, dot, row_major


@dataclass(frozen=True)
class Lookup:
    """An index into an axis of `extent` elements, `stride` apart."""

    extent: Dim
    stride: Dim

    def offset(self, b: Builder, index: Value) -> Value:
        """Where an index (scalar or vector, i32 or i64) points; negative ones count from the end.

        Indices outside the axis are wrong in ONNX; here they mean its first or last element, so that no memory
        outside the tensor is touched.
        """
        extent, size = self.extent, self.extent * self.stride
        index = b.select(index < 0, index + like(b, extent, index.element), index)
        inside = b.min(b.max(index, 0), like(b, extent - 1, index.element))
        wide = "i32" if isinstance(size, int) and size < 1 << 31 else "i64"
        return b.mul(b.convert(inside, wide), like(b, self.stride, wide))


def like(b: Builder, size: Dim, element: str) -> Operand:
    """A size as an operand of values of type `element`."""
    return size if isinstance(size, int) else b.convert(size, element)


@dataclass(frozen=True)
class Places:
    """Loops over the rows that are moved: `run` contiguous elements each, at a place of a tensor that indices name.

    `loops` are their sizes; `strides` say how each moves in the tensor, `steps` in the array of indices, whose element
    type is `index`. The other side of the move is dense, in the order of the loops.
    """

    loops: tuple[Dim, ...]
    strides: Strides
    steps: Strides
    lookups: tuple[Lookup, ...]
    run: Dim
    index: str

    @classmethod
    def of(cls, op: GatherOp | ScatterOp) -> Places:
        """The places of an op, in its first operand."""
        x, indices = type_of(op.input), type_of(op.indices)
        match op.kind.data:
            case "take":
                return _take(x, indices, op.axis.value.data)
            case "elements":
                return _elements(x, indices, op.axis.value.data)
            case "nd":
                return _nd(x, indices, op.batch_dims.value.data if isinstance(op, GatherOp) else 0)
        raise ValueError(f"no kind of indices called {op.kind.data!r}")

    @property
    def count(self) -> Dim:
        """Elements that are moved."""
        return prod(self.loops) * self.run

    def tensor(self, b: Builder, indices: Ref, at: Sequence[Index]) -> Index:
        """Where the row at the loops' indices lies in the tensor."""
        place = dot(at, self.strides)
        for number, lookup in enumerate(self.lookups):
            index = b.load(indices, dot(at, self.steps) + number)
            place = b.convert(lookup.offset(b, index), "index") + place
        return place

    def dense(self, at: Sequence[Index]) -> Index:
        """Where that row lies on the other side."""
        return dot(at, row_major((*self.loops, self.run))[:-1])


def run_name(places: Places) -> str:
    """How long runs are, in names of kernels."""
    return str(places.run) if isinstance(places.run, int) else "s"


def _take(x: TensorType, indices: TensorType, axis: int) -> Places:
    shape = x.physical_shape
    axis += x.panel is not None  # channels come after the panels of an image
    run, extent = prod(shape[axis + 1 :]), shape[axis]
    loops = prod(shape[:axis]), prod(indices.shape)
    return Places(loops, (extent * run, 0), (0, 1), (Lookup(extent, run),), run, str(indices.element))


def _elements(x: TensorType, indices: TensorType, axis: int) -> Places:
    strides, shape = row_major(x.shape), indices.shape
    kept = tuple(0 if i == axis else stride for i, stride in enumerate(strides))
    lookup = Lookup(x.shape[axis], strides[axis])
    return Places(shape, kept, row_major(shape), (lookup,), 1, str(indices.element))


def _nd(x: TensorType, indices: TensorType, batch: int) -> Places:
    shape, strides = x.shape, row_major(x.shape)
    *loops, last = indices.shape
    depth = fixed(last)
    kept = tuple(stride if i < batch else 0 for i, stride in enumerate(strides[: len(loops)]))
    kept += (0,) * (len(loops) - len(kept))
    lookups = tuple(Lookup(*pair) for pair in zip(shape[batch : batch + depth], strides[batch:], strict=False))
    steps = row_major((*loops, depth))[:-1]
    return Places(tuple(loops), kept, steps, lookups, prod(shape[batch + depth :]), str(indices.element))
