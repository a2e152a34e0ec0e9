"""Pointwise ops: one op for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Region, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.ops.base import (
    SpOp,
    check_region,
    type_of,
)
from sparsec.ir.types import TensorType


@irdl_op_definition
class MapOp(SpOp):
    """n-ary pointwise op: the region computes one element of the result from one of each (broadcast) input."""

    name = "sp.map"
    inputs = var_operand_def(TensorType)
    body = region_def("single_block")
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, inputs: Sequence[SSAValue], body: Region):
        shape = shapes.broadcast(*(type_of(value).shape for value in inputs))
        element = check_region(body, [type_of(value).element for value in inputs])[0]
        super().__init__(operands=[list(inputs)], regions=[body], result_types=[TensorType(shape, element)])

    def infer(self) -> list[TensorType]:
        element = check_region(self.body, [type_of(value).element for value in self.inputs])[0]
        return [TensorType(shapes.broadcast(*self._shapes()), element)]
