"""Ops that move elements without looking at them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.dims import Dim, product
from sparsec.ir.ops.base import (
    INSIDE,
    SpOp,
    check_choice,
    integer,
    ints,
    real,
    type_of,
    values,
)
from sparsec.ir.types import TensorType


@irdl_op_definition
class ReshapeOp(SpOp):
    """The same elements in row-major order under another shape."""

    name = "sp.reshape"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, shape: Sequence[Dim]):
        super().__init__(operands=[input], result_types=[TensorType(shape, type_of(input).element)])

    def infer(self) -> list[TensorType]:
        x, y = type_of(self.input), type_of(self.result)
        if product(x.shape) != product(y.shape):
            raise ValueError(f"{shapes.format_shape(x.shape)} and {shapes.format_shape(y.shape)} differ in elements")
        return [TensorType(y.shape, x.element)]


@irdl_op_definition
class TransposeOp(SpOp):
    """Axis i of the result is axis perm[i] of the input."""

    name = "sp.transpose"
    input = operand_def(TensorType)
    perm = prop_def(DenseArrayBase)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, perm: Sequence[int]):
        x = type_of(input)
        type_ = TensorType([x.shape[axis] for axis in perm], x.element)
        super().__init__(operands=[input], properties={"perm": ints(perm)}, result_types=[type_])

    def infer(self) -> list[TensorType]:
        x, perm = type_of(self.input), values(self.perm)
        if sorted(perm) != list(range(x.rank)):
            raise ValueError(f"{list(perm)} is no permutation of {x.rank} axes")
        return [TensorType([x.shape[axis] for axis in perm], x.element)]


@irdl_op_definition
class SliceOp(SpOp):
    """result[i] = input[starts + i·steps]; a step may be negative; the sizes are the result type's."""

    name = "sp.slice"
    input = operand_def(TensorType)
    starts = prop_def(DenseArrayBase)
    steps = prop_def(DenseArrayBase)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, starts: Sequence[int], steps: Sequence[int], sizes: Sequence[Dim]):
        super().__init__(
            operands=[input],
            properties={"starts": ints(starts), "steps": ints(steps)},
            result_types=[TensorType(sizes, type_of(input).element)],
        )

    def infer(self) -> list[TensorType]:
        x, y = type_of(self.input), type_of(self.result)
        starts, steps = values(self.starts), values(self.steps)
        if not len(starts) == len(steps) == x.rank == y.rank:
            raise ValueError(f"a slice of {shapes.format_shape(x.shape)} needs {x.rank} starts, steps and sizes")
        for dim, start, step, size in zip(x.shape, starts, steps, y.shape, strict=True):
            if isinstance(dim, int) and isinstance(size, int) and size:
                last = start + (size - 1) * step
                if not (0 <= start < dim and 0 <= last < dim):
                    raise ValueError(f"elements {start} to {last} are outside an axis of {dim}")
        return [TensorType(y.shape, x.element)]


@irdl_op_definition
class ConcatOp(SpOp):
    """The inputs one after another along `axis`."""

    name = "sp.concat"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, inputs: Sequence[SSAValue], axis: int):
        shape = shapes.concat([type_of(value).shape for value in inputs], axis)
        super().__init__(
            operands=[list(inputs)],
            properties={"axis": integer(axis)},
            result_types=[TensorType(shape, type_of(inputs[0]).element)],
        )

    def infer(self) -> list[TensorType]:
        elements = {type_of(value).element for value in self.inputs}
        if len(elements) != 1:
            raise ValueError(f"inputs have elements of {len(elements)} types, not of one")
        return [TensorType(shapes.concat(self._shapes(), self.axis.value.data), elements.pop())]


def inputs_inside(op: ConcatOp) -> tuple[int, ...]:
    """The inputs that lie inside the result, so that nothing has to be moved: see passes/place_parts.py."""
    return values(op.attributes[INSIDE]) if INSIDE in op.attributes else ()  # type: ignore[arg-type]


@irdl_op_definition
class InterleaveOp(SpOp):
    """Pixels of `images` images that follow one another lie side by side; of these every `step`-th row and column.

    Element (n, c, h, w · images + i) of the result [N / images, C, H, W · images] is (n · images + i, c, h · step,
    w · step) of the input.
    """

    name = "sp.interleave"
    input = operand_def(TensorType)
    images = prop_def(IntegerAttr)
    step = prop_def(IntegerAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, images: int, step: int = 1):
        properties = {"images": integer(images), "step": integer(step)}
        x = type_of(input)
        result = TensorType(shapes.interleave(x.shape, images, step), x.element)
        super().__init__(operands=[input], properties=properties, result_types=[result])

    def infer(self) -> list[TensorType]:
        x = type_of(self.input)
        return [TensorType(shapes.interleave(x.shape, self.images.value.data, self.step.value.data), x.element)]


@irdl_op_definition
class DeinterleaveOp(SpOp):
    """The inverse of an interleave of all rows and columns."""

    name = "sp.deinterleave"
    input = operand_def(TensorType)
    images = prop_def(IntegerAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, images: int):
        x = type_of(input)
        result = TensorType(shapes.deinterleave(x.shape, images), x.element)
        super().__init__(operands=[input], properties={"images": integer(images)}, result_types=[result])

    def infer(self) -> list[TensorType]:
        x = type_of(self.input)
        return [TensorType(shapes.deinterleave(x.shape, self.images.value.data), x.element)]


@irdl_op_definition
class PadOp(SpOp):
    """`low` and `high` more elements per axis. mode: constant (`value`), edge, reflect, wrap. Negative sizes crop."""

    name = "sp.pad"
    input = operand_def(TensorType)
    low = prop_def(DenseArrayBase)
    high = prop_def(DenseArrayBase)
    mode = prop_def(StringAttr)
    value = prop_def(FloatAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self, input: SSAValue, low: Sequence[int], high: Sequence[int], mode: str = "constant", value: float = 0.0
    ):
        properties = {"low": ints(low), "high": ints(high), "mode": StringAttr(mode), "value": real(value)}
        x = type_of(input)
        shape = [low_ + dim + high_ for low_, dim, high_ in zip(low, x.shape, high, strict=True)]
        super().__init__(operands=[input], properties=properties, result_types=[TensorType(shape, x.element)])

    def infer(self) -> list[TensorType]:
        check_choice("padding", self.mode, ("constant", "edge", "reflect", "wrap"))
        x = type_of(self.input)
        triples = zip(values(self.low), x.shape, values(self.high), strict=True)
        return [TensorType([low + dim + high for low, dim, high in triples], x.element)]


@irdl_op_definition
class ExpandOp(SpOp):
    """The input broadcast to the result's shape."""

    name = "sp.expand"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, shape: Sequence[Dim]):
        super().__init__(operands=[input], result_types=[TensorType(shape, type_of(input).element)])

    def infer(self) -> list[TensorType]:
        x, y = type_of(self.input), type_of(self.result)
        if shapes.broadcast(x.shape, y.shape) != y.shape:
            raise ValueError(f"{shapes.format_shape(x.shape)} does not broadcast to {shapes.format_shape(y.shape)}")
        return [TensorType(y.shape, x.element)]
