"""Contractions: convolution, transposed convolution, matrix product."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from xdsl.dialects.builtin import (
    BoolAttr,
    DenseArrayBase,
    IntegerAttr,
)
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.dims import Dim
from sparsec.ir.ops.base import (
    SpOp,
    boolean,
    check_region,
    identity_region,
    integer,
    ints,
    type_of,
    values,
)
from sparsec.ir.types import TensorType


class Contraction(SpOp):
    """An op with an accumulator and an epilogue. `lhs` and `rhs` are contracted; `extras` feed the epilogue."""

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    extras = var_operand_def(TensorType)
    epilogue = region_def("single_block")
    result = result_def(TensorType)

    @abstractmethod
    def accumulated_shape(self) -> tuple[Dim, ...]:
        """The shape of the contraction's result."""

    def infer(self) -> list[TensorType]:
        shape = self.accumulated_shape()
        if shapes.broadcast(shape, *(type_of(extra).shape for extra in self.extras)) != shape:
            raise ValueError(f"an operand of the epilogue is larger than the result {shapes.format_shape(shape)}")
        left, right = type_of(self.lhs).element, type_of(self.rhs).element
        if left != right:
            raise ValueError(f"contracts elements of type {left} and {right}")
        elements = [left, *(type_of(extra).element for extra in self.extras)]
        return [TensorType(shape, check_region(self.epilogue, elements)[0])]


@irdl_op_definition
class ConvOp(Contraction):
    """Cross-correlation: lhs [N, C, *spatial], rhs [M, C / groups, *kernel]; pads are all lows, then all highs."""

    name = "sp.conv"
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    groups = prop_def(IntegerAttr)
    traits = traits_def(Pure())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[int],
        groups: int = 1,
        extras: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ):
        x = type_of(lhs)
        properties = {
            "strides": ints(strides),
            "dilations": ints(dilations),
            "pads": ints(pads),
            "groups": integer(groups),
        }
        shape = shapes.conv(x.shape, type_of(rhs).shape, strides, dilations, pads, groups)
        super().__init__(**_contraction(lhs, rhs, extras, epilogue, shape, properties))

    def accumulated_shape(self) -> tuple[Dim, ...]:
        x, w = self._shapes()[:2]
        return shapes.conv(
            x, w, values(self.strides), values(self.dilations), values(self.pads), self.groups.value.data
        )


@irdl_op_definition
class ConvTransposeOp(Contraction):
    """Transposed convolution: lhs [N, C, *spatial], rhs [C, M / groups, *kernel]; pads crop the full result."""

    name = "sp.conv_transpose"
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output_padding = prop_def(DenseArrayBase)
    groups = prop_def(IntegerAttr)
    traits = traits_def(Pure())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[int],
        output_padding: Sequence[int],
        groups: int = 1,
        extras: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ):
        x, w = type_of(lhs).shape, type_of(rhs).shape
        properties = {
            "strides": ints(strides),
            "dilations": ints(dilations),
            "pads": ints(pads),
            "output_padding": ints(output_padding),
            "groups": integer(groups),
        }
        shape = shapes.conv_transpose(x, w, strides, dilations, pads, output_padding, groups)
        super().__init__(**_contraction(lhs, rhs, extras, epilogue, shape, properties))

    def accumulated_shape(self) -> tuple[Dim, ...]:
        x, w = self._shapes()[:2]
        strides, dilations, pads = (values(attribute) for attribute in (self.strides, self.dilations, self.pads))
        return shapes.conv_transpose(
            x, w, strides, dilations, pads, values(self.output_padding), self.groups.value.data
        )


@irdl_op_definition
class MatmulOp(Contraction):
    """numpy.matmul (rank ≥ 2, batches broadcast) with the last two axes of an operand swapped where asked.

    A linear layer is lhs [..., K] × rhs weight [M, K] with transpose_b.
    """

    name = "sp.matmul"
    transpose_a = prop_def(BoolAttr)
    transpose_b = prop_def(BoolAttr)
    traits = traits_def(Pure())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        transpose_a: bool = False,
        transpose_b: bool = False,
        extras: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ):
        shape = shapes.matmul(type_of(lhs).shape, type_of(rhs).shape, transpose_a, transpose_b)
        properties = {"transpose_a": boolean(transpose_a), "transpose_b": boolean(transpose_b)}
        super().__init__(**_contraction(lhs, rhs, extras, epilogue, shape, properties))

    def accumulated_shape(self) -> tuple[Dim, ...]:
        a, b = self._shapes()[:2]
        return shapes.matmul(a, b, bool(self.transpose_a), bool(self.transpose_b))


def _contraction(
    lhs: SSAValue,
    rhs: SSAValue,
    extras: Sequence[SSAValue],
    epilogue: Region | None,
    shape: tuple[Dim, ...],
    properties: Mapping[str, Attribute],
) -> dict:
    elements = [type_of(lhs).element, *(type_of(extra).element for extra in extras)]
    epilogue = epilogue or identity_region(elements)
    return {
        "operands": [lhs, rhs, list(extras)],
        "properties": properties,
        "regions": [epilogue],
        "result_types": [TensorType(shape, check_region(epilogue, elements)[0])],
    }
