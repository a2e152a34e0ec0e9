"""The operations of the `sp` dialect: tensor programs with one clear meaning each (see sparsec/interpreter).

Sizes that ONNX leaves implicit are explicit here: axes are non-negative, pads are numbers, every result has its type.
`node` is an optional attribute on each op: the ONNX node it comes from. `kernel` is set once a kernel is chosen.
Contractions (`conv`, `conv_transpose`, `matmul`) carry an epilogue: a region of scalar arith/math ops that is given the
accumulated element and one element of each extra operand (broadcast to the result), and yields the stored element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    f64,
    i1,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from sparsec.ir import shapes
from sparsec.ir.dims import Dim, product
from sparsec.ir.types import TensorType

NODE, KERNEL = "node", "kernel"


def ints(values: Sequence[int]) -> DenseArrayBase:
    """An `array<i64: ...>` attribute."""
    return DenseArrayBase.from_list(i64, list(values))


def values(attribute: DenseArrayBase) -> tuple[int, ...]:
    """The ints of an `array<i64: ...>` attribute."""
    return tuple(cast("DenseArrayBase[IntegerType]", attribute).get_values())


def integer(value: int) -> IntegerAttr:
    return IntegerAttr(value, i64)


def real(value: float) -> FloatAttr:
    return FloatAttr(value, f64)


def boolean(value: bool) -> BoolAttr:
    return IntegerAttr(int(value), i1)


def type_of(value: SSAValue) -> TensorType:
    """The type of a tensor value. Raises TypeError for anything else."""
    if not isinstance(value.type, TensorType):
        raise TypeError(f"not a tensor: {value.type}")
    return value.type


def node_name(op: Operation) -> str:
    """The ONNX node that `op` comes from, or the op's own name."""
    name = op.attributes.get(NODE)
    return name.data if isinstance(name, StringAttr) else op.name


class SpOp(IRDLOperation, ABC):
    """Base of all ops but `yield`: checks the results' shapes and element types against `infer`."""

    def infer(self) -> list[TensorType]:
        """Result types (without encodings) that follow from the operands. Raises ValueError with the reason."""
        return []

    def verify_(self) -> None:
        try:
            expected = self.infer()
        except ValueError as error:
            raise VerifyException(f"{self.name} ({node_name(self)}): {error}") from error
        for result, type_ in zip(self.results, expected, strict=False):
            actual = type_of(result)
            if (actual.shape, actual.element) != (type_.shape, type_.element):
                raise VerifyException(f"{self.name} ({node_name(self)}): result is {actual}, should be {type_}")

    def _shapes(self) -> list[tuple[Dim, ...]]:
        return [type_of(operand).shape for operand in self.operands]


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends a region and gives its results."""

    name = "sp.yield"
    inputs = var_operand_def()
    traits = traits_def(IsTerminator())

    def __init__(self, *results: SSAValue):
        super().__init__(operands=[results])


@irdl_op_definition
class WeightOp(SpOp):
    """A constant array of the weight store, by name; small constants are weights too."""

    name = "sp.weight"
    ref = prop_def(SymbolRefAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, ref: str, type_: TensorType):
        super().__init__(properties={"ref": SymbolRefAttr(ref)}, result_types=[type_])

    @property
    def key(self) -> str:
        return self.ref.root_reference.data


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
        return [TensorType(shape, _check_region(self.epilogue, elements)[0])]


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
        element = _check_region(body, [type_of(value).element for value in inputs])[0]
        super().__init__(operands=[list(inputs)], regions=[body], result_types=[TensorType(shape, element)])

    def infer(self) -> list[TensorType]:
        element = _check_region(self.body, [type_of(value).element for value in self.inputs])[0]
        return [TensorType(shapes.broadcast(*self._shapes()), element)]


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
        _check_choice("reduction", self.kind, self.KINDS)
        if kind.startswith("arg") and len(values(self.axes)) != 1:
            raise ValueError(f"{kind} takes one axis, not {list(values(self.axes))}")
        shape = shapes.reduce(x.shape, values(self.axes), bool(self.keepdims))
        return [TensorType(shape, i64 if kind.startswith("arg") else x.element)]


class UnaryOp(SpOp):
    """An op whose result has the type of its input."""

    input = operand_def(TensorType)
    result = result_def(TensorType)

    def infer(self) -> list[TensorType]:
        return [TensorType(type_of(self.input).shape, type_of(self.input).element)]


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """Softmax along `axes` (together), or its logarithm."""

    name = "sp.softmax"
    axes = prop_def(DenseArrayBase)
    log = prop_def(BoolAttr)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, axes: Sequence[int], log: bool = False):
        properties = {"axes": ints(axes), "log": boolean(log)}
        super().__init__(operands=[input], properties=properties, result_types=[_plain(input)])

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
        super().__init__(operands=[input], properties=properties, result_types=[_plain(input)])

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
        super().__init__(operands=[input], properties=properties, result_types=[_plain(input)])


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
        super().__init__(operands=[input], properties=properties, result_types=[_plain(input)])

    def infer(self) -> list[TensorType]:
        shapes.check_axes(type_of(self.input).shape, [self.axis.value.data])
        return super().infer()


@irdl_op_definition
class RelayoutOp(SpOp):
    """The same tensor in another layout: the encoding of the result type says which."""

    name = "sp.relayout"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, input: SSAValue, encoding: Attribute | None):
        super().__init__(operands=[input], result_types=[type_of(input).with_encoding(encoding)])

    def infer(self) -> list[TensorType]:
        return [_plain(self.input)]


@irdl_op_definition
class PoolOp(SpOp):
    """Pooling over windows of [N, C, *spatial]. kind: max, average (`count_pads` decides the divisor at the borders).

    Windows may reach `overhang` elements per axis beyond the high pads (ONNX's ceil_mode); those never count.
    """

    name = "sp.pool"
    input = operand_def(TensorType)
    kind = prop_def(StringAttr)
    kernel_shape = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    overhang = prop_def(DenseArrayBase)
    count_pads = prop_def(BoolAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        input: SSAValue,
        kind: str,
        kernel_shape: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[int],
        overhang: Sequence[int] | None = None,
        count_pads: bool = False,
    ):
        x = type_of(input)
        overhang = [0] * len(kernel_shape) if overhang is None else overhang
        properties = {
            "kind": StringAttr(kind),
            "kernel_shape": ints(kernel_shape),
            "strides": ints(strides),
            "dilations": ints(dilations),
            "pads": ints(pads),
            "overhang": ints(overhang),
            "count_pads": boolean(count_pads),
        }
        spatial = shapes.pool(x.shape[2:], kernel_shape, strides, dilations, _reach(pads, overhang))
        super().__init__(
            operands=[input], properties=properties, result_types=[TensorType((*x.shape[:2], *spatial), x.element)]
        )

    def infer(self) -> list[TensorType]:
        _check_choice("pooling", self.kind, ("max", "average"))
        x = type_of(self.input)
        pads = _reach(values(self.pads), values(self.overhang))
        geometry = (values(self.kernel_shape), values(self.strides), values(self.dilations))
        return [TensorType((*x.shape[:2], *shapes.pool(x.shape[2:], *geometry, pads)), x.element)]


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
        _check_choice("padding", self.mode, ("constant", "edge", "reflect", "wrap"))
        x = type_of(self.input)
        triples = zip(values(self.low), x.shape, values(self.high), strict=True)
        return [TensorType([low + dim + high for low, dim, high in triples], x.element)]


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
        super().__init__(operands=[input, indices, updates], properties=properties, result_types=[_plain(input)])

    def infer(self) -> list[TensorType]:
        _check_choice("scatter", self.kind, ("elements", "nd"))
        _check_choice("reduction", self.reduction, ("none", "add", "mul", "max", "min"))
        x, indices, updates = self._shapes()
        shapes.scatter(x, indices, updates, self.kind.data, self.axis.value.data)
        if type_of(self.updates).element != type_of(self.input).element:
            raise ValueError(f"updates are {type_of(self.updates)}, the input is {type_of(self.input)}")
        return [_plain(self.input)]


@irdl_op_definition
class ResizeOp(SpOp):
    """Interpolation, all ranks, one scale per axis (1 keeps the axis), as ONNX's Resize.

    mode: nearest, linear, cubic. coordinates: half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners,
    asymmetric, tf_crop_and_resize (with `roi`, 2·rank reals). nearest_mode: round_prefer_floor, round_prefer_ceil,
    floor, ceil.
    """

    name = "sp.resize"
    input = operand_def(TensorType)
    scales = prop_def(ArrayAttr[FloatAttr])
    mode = prop_def(StringAttr)
    coordinates = prop_def(StringAttr)
    nearest_mode = prop_def(StringAttr)
    cubic_coeff = prop_def(FloatAttr)
    exclude_outside = prop_def(BoolAttr)
    extrapolation = prop_def(FloatAttr)
    antialias = prop_def(BoolAttr)
    roi = opt_prop_def(ArrayAttr[FloatAttr])
    result = result_def(TensorType)
    traits = traits_def(Pure())

    COORDINATES: ClassVar[tuple[str, ...]] = (
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    )

    def __init__(
        self,
        input: SSAValue,
        shape: Sequence[Dim],
        scales: Sequence[float],
        mode: str = "nearest",
        coordinates: str = "half_pixel",
        nearest_mode: str = "round_prefer_floor",
        cubic_coeff: float = -0.75,
        exclude_outside: bool = False,
        extrapolation: float = 0.0,
        antialias: bool = False,
        roi: Sequence[float] | None = None,
    ):
        properties: dict[str, Attribute] = {
            "scales": ArrayAttr([real(scale) for scale in scales]),
            "mode": StringAttr(mode),
            "coordinates": StringAttr(coordinates),
            "nearest_mode": StringAttr(nearest_mode),
            "cubic_coeff": real(cubic_coeff),
            "exclude_outside": boolean(exclude_outside),
            "extrapolation": real(extrapolation),
            "antialias": boolean(antialias),
        }
        if roi is not None:
            properties["roi"] = ArrayAttr([real(value) for value in roi])
        super().__init__(
            operands=[input], properties=properties, result_types=[TensorType(shape, type_of(input).element)]
        )

    def infer(self) -> list[TensorType]:
        _check_choice("interpolation", self.mode, ("nearest", "linear", "cubic"))
        _check_choice("coordinate transformation", self.coordinates, self.COORDINATES)
        _check_choice("rounding", self.nearest_mode, ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
        rank = type_of(self.input).rank
        if (len(self.scales), type_of(self.result).rank) != (rank, rank) or any(s.value.data <= 0 for s in self.scales):
            raise ValueError(f"an input of {rank} axes needs as many positive scales and sizes")
        return [TensorType(type_of(self.result).shape, type_of(self.input).element)]


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


def identity_region(elements: Sequence[Attribute]) -> Region:
    """A region that yields its first argument."""
    block = Block(arg_types=list(elements))
    block.add_op(YieldOp(block.args[0]))
    return Region(block)


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
        "result_types": [TensorType(shape, _check_region(epilogue, elements)[0])],
    }


def _check_region(region: Region, elements: Sequence[Attribute]) -> list[Attribute]:
    """The types that a region of scalars yields, once its arguments are known to be `elements`."""
    block = region.block
    if list(block.arg_types) != list(elements):
        raise ValueError(
            f"the region takes {list(map(str, block.arg_types))}, its operands are {list(map(str, elements))}"
        )
    if not isinstance(block.last_op, YieldOp):
        raise ValueError("the region does not end in sp.yield")
    return [value.type for value in block.last_op.inputs]


def _check_choice(what: str, name: StringAttr, choices: Sequence[str]) -> None:
    if name.data not in choices:
        raise ValueError(f"no {what} called {name.data!r}; there are {', '.join(choices)}")


def _plain(value: SSAValue) -> TensorType:
    return TensorType(type_of(value).shape, type_of(value).element)


def _reach(pads: Sequence[int], overhang: Sequence[int]) -> tuple[int, ...]:
    rank = len(overhang)
    return *pads[:rank], *(high + extra for high, extra in zip(pads[rank:], overhang, strict=True))


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
