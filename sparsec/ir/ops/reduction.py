"""Ops that combine elements along axes: reductions, softmax, norms, running sums, top-k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    i64,
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
from sparsec.ir.ops.base import (
    SpOp,
    UnaryOp,
    boolean,
    check_choice,
    integer,
    ints,
    plain,
    real,
    type_of,
    values,
)
from sparsec.ir.types import TensorType


@irdl_op_definition
class ReduceOp(SpOp):
    """Reduction over `axes`. kind: sum, prod, max, min, mean, sum_square, or argmax, argmin (one axis, i64 result).

    `select_last` (argmax, argmin): the last of equal elements wins instead of the first.
    """

    name = "sp.reduce"
    input = operand_def(TensorType)
    kind = prop_def(StringAttr)
    axes = prop_def(DenseArrayBase)
    keepdims = prop_def(BoolAttr)
    select_last = prop_def(BoolAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    KINDS: ClassVar[tuple[str, ...]] = ("sum", "prod", "max", "min", "mean", "sum_square", "argmax", "argmin")

    def __init__(self, input: SSAValue, kind: str, axes: Sequence[int], keepdims: bool, select_last: bool = False):
        properties = {
            "kind": StringAttr(kind),
            "axes": ints(axes),
            "keepdims": boolean(keepdims),
            "select_last": boolean(select_last),
        }
        x = type_of(input)
        type_ = TensorType(shapes.reduce(x.shape, axes, keepdims), i64 if kind.startswith("arg") else x.element)
        super().__init__(operands=[input], properties=properties, result_types=[type_])

    def infer(self) -> list[TensorType]:
        x, kind = type_of(self.input), self.kind.data
        check_choice("reduction", self.kind, self.KINDS)
        if kind.startswith("arg") and len(values(self.axes)) != 1:
            raise ValueError(f"{kind} takes one axis, not {list(values(self.axes))}")
        shape = shapes.reduce(x.shape, values(self.axes), bool(self.keepdims))
        return [TensorType(shape, i64 if kind.startswith("arg") else x.element)]


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """Softmax along `axes` (together), or its logarithm."""

    name = "sp.softmax"
    axes = prop_def(DenseArrayBase)
    log = prop_def(BoolAttr)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, axes: Sequence[int], log: bool = False):
        properties = {"axes": ints(axes), "log": boolean(log)}
        super().__init__(operands=[input], properties=properties, result_types=[plain(input)])

    def infer(self) -> list[TensorType]:
        shapes.check_axes(type_of(self.input).shape, values(self.axes))
        return super().infer()


@irdl_op_definition
class NormOp(UnaryOp):
    """(x − mean) / sqrt(variance + epsilon) over `axes`; without `center`, x / sqrt(mean(x²) + epsilon) (RMS)."""

    name = "sp.norm"
    axes = prop_def(DenseArrayBase)
    epsilon = prop_def(FloatAttr)
    center = prop_def(BoolAttr)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, axes: Sequence[int], epsilon: float, center: bool = True):
        properties = {"axes": ints(axes), "epsilon": real(epsilon), "center": boolean(center)}
        super().__init__(operands=[input], properties=properties, result_types=[plain(input)])

    def infer(self) -> list[TensorType]:
        shapes.check_axes(type_of(self.input).shape, values(self.axes))
        return super().infer()


@irdl_op_definition
class LrnOp(UnaryOp):
    """x / (bias + alpha / size · Σ x²)^beta, the sum over `size` neighbouring channels (axis 1), as ONNX's LRN."""

    name = "sp.lrn"
    size = prop_def(IntegerAttr)
    alpha = prop_def(FloatAttr)
    beta = prop_def(FloatAttr)
    bias = prop_def(FloatAttr)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, size: int, alpha: float, beta: float, bias: float):
        properties = {"size": integer(size), "alpha": real(alpha), "beta": real(beta), "bias": real(bias)}
        super().__init__(operands=[input], properties=properties, result_types=[plain(input)])


@irdl_op_definition
class CumsumOp(UnaryOp):
    """Running sum along `axis`, from the end with `reverse`, without the element itself with `exclusive`."""

    name = "sp.cumsum"
    axis = prop_def(IntegerAttr)
    exclusive = prop_def(BoolAttr)
    reverse = prop_def(BoolAttr)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, axis: int, exclusive: bool = False, reverse: bool = False):
        properties = {"axis": integer(axis), "exclusive": boolean(exclusive), "reverse": boolean(reverse)}
        super().__init__(operands=[input], properties=properties, result_types=[plain(input)])

    def infer(self) -> list[TensorType]:
        shapes.check_axes(type_of(self.input).shape, [self.axis.value.data])
        return super().infer()


@irdl_op_definition
class TopkOp(SpOp):
    """The `k` largest (or smallest) elements along `axis`, sorted, and their i64 indices; the lower index wins ties."""

    name = "sp.topk"
    input = operand_def(TensorType)
    k = prop_def(IntegerAttr)
    axis = prop_def(IntegerAttr)
    largest = prop_def(BoolAttr)
    values_ = result_def(TensorType)
    indices = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, k: int, axis: int, largest: bool = True):
        x = type_of(input)
        shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
        super().__init__(
            operands=[input],
            properties={"k": integer(k), "axis": integer(axis), "largest": boolean(largest)},
            result_types=[TensorType(shape, x.element), TensorType(shape, i64)],
        )

    def infer(self) -> list[TensorType]:
        x, axis, k = type_of(self.input), self.axis.value.data, self.k.value.data
        shapes.check_axes(x.shape, [axis])
        if isinstance(x.shape[axis], int) and not 0 <= k <= int(x.shape[axis]):  # pyright: ignore[reportArgumentType]
            raise ValueError(f"k = {k} is outside axis {axis} of {shapes.format_shape(x.shape)}")
        shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
        return [TensorType(shape, x.element), TensorType(shape, i64)]
