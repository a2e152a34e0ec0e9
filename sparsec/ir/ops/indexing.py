"""Reads and writes at computed places."""

from __future__ import annotations

from xdsl.dialects.builtin import (
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
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.dims import Dim
from sparsec.ir.ops.base import (
    SpOp,
    check_choice,
    integer,
    plain,
    type_of,
)
from sparsec.ir.types import TensorType


@irdl_op_definition
class GatherOp(SpOp):
    """Indexed reads (negative indices count from the end).

    kind take: numpy.take along `axis`; elements: numpy.take_along_axis; nd: ONNX GatherND with `batch_dims`.
    """

    name = "sp.gather"
    input = operand_def(TensorType)
    indices = operand_def(TensorType)
    kind = prop_def(StringAttr)
    axis = prop_def(IntegerAttr)
    batch_dims = prop_def(IntegerAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, indices: SSAValue, kind: str = "take", axis: int = 0, batch_dims: int = 0):
        properties = {"kind": StringAttr(kind), "axis": integer(axis), "batch_dims": integer(batch_dims)}
        shape = _gather_shape(type_of(input).shape, type_of(indices).shape, kind, axis, batch_dims)
        super().__init__(
            operands=[input, indices], properties=properties, result_types=[TensorType(shape, type_of(input).element)]
        )

    def infer(self) -> list[TensorType]:
        x, indices = self._shapes()
        shape = _gather_shape(x, indices, self.kind.data, self.axis.value.data, self.batch_dims.value.data)
        return [TensorType(shape, type_of(self.input).element)]


@irdl_op_definition
class ScatterOp(SpOp):
    """The input with `updates` written at `indices`.

    kind elements (along `axis`) or nd, as ONNX ScatterElements and ScatterND; reduction: none, add, mul, max, min.
    """

    name = "sp.scatter"
    input = operand_def(TensorType)
    indices = operand_def(TensorType)
    updates = operand_def(TensorType)
    kind = prop_def(StringAttr)
    axis = prop_def(IntegerAttr)
    reduction = prop_def(StringAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        input: SSAValue,
        indices: SSAValue,
        updates: SSAValue,
        kind: str,
        axis: int = 0,
        reduction: str = "none",
    ):
        properties = {"kind": StringAttr(kind), "axis": integer(axis), "reduction": StringAttr(reduction)}
        super().__init__(operands=[input, indices, updates], properties=properties, result_types=[plain(input)])

    def infer(self) -> list[TensorType]:
        check_choice("scatter", self.kind, ("elements", "nd"))
        check_choice("reduction", self.reduction, ("none", "add", "mul", "max", "min"))
        x, indices, updates = self._shapes()
        shapes.scatter(x, indices, updates, self.kind.data, self.axis.value.data)
        if type_of(self.updates).element != type_of(self.input).element:
            raise ValueError(f"updates are {type_of(self.updates)}, the input is {type_of(self.input)}")
        return [plain(self.input)]


def _gather_shape(
    x: tuple[Dim, ...], indices: tuple[Dim, ...], kind: str, axis: int, batch_dims: int
) -> tuple[Dim, ...]:
    match kind:
        case "take":
            shapes.check_axes(x, [axis])
            return *x[:axis], *indices, *x[axis + 1 :]
        case "elements":
            shapes.check_axes(x, [axis])
            if len(indices) != len(x):
                raise ValueError(f"indices {shapes.format_shape(indices)} and {shapes.format_shape(x)} differ in rank")
            return indices
        case "nd":
            depth = indices[-1] if indices else None
            if not isinstance(depth, int) or batch_dims + depth > len(x):
                raise ValueError(f"indices {shapes.format_shape(indices)} reach beyond {shapes.format_shape(x)}")
            return *indices[:-1], *x[batch_dims + depth :]
    raise ValueError(f"no gather called {kind!r}")
