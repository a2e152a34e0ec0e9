"""The operations of the `sp` dialect: tensor programs with one clear meaning each (see sparsec/interpreter).

Sizes that ONNX leaves implicit are explicit here: axes are non-negative, pads are numbers, every result has its type.
`node` is an optional attribute on each op: the ONNX node it comes from. `kernel` is set once a kernel is chosen.
Contractions (`conv`, `conv_transpose`, `matmul`) carry an epilogue: a region of scalar arith/math ops that is given the
accumulated element and one element of each extra operand (broadcast to the result), and yields the stored element.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import (
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
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from sparsec.ir.dims import Dim
from sparsec.ir.types import TensorType

NODE, KERNEL, CHAIN, WINDOW, LOOP, IMAGES = "node", "kernel", "chain", "window", "loop", "images"
INSIDE = "inside"


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


class UnaryOp(SpOp):
    """An op whose result has the type of its input."""

    input = operand_def(TensorType)
    result = result_def(TensorType)

    def infer(self) -> list[TensorType]:
        return [TensorType(type_of(self.input).shape, type_of(self.input).element)]


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
        return [plain(self.input)]


def identity_region(elements: Sequence[Attribute]) -> Region:
    """A region that yields its first argument."""
    block = Block(arg_types=list(elements))
    block.add_op(YieldOp(block.args[0]))
    return Region(block)


def check_region(region: Region, elements: Sequence[Attribute]) -> list[Attribute]:
    """The types that a region of scalars yields, once its arguments are known to be `elements`."""
    block = region.block
    if list(block.arg_types) != list(elements):
        raise ValueError(
            f"the region takes {list(map(str, block.arg_types))}, its operands are {list(map(str, elements))}"
        )
    if not isinstance(block.last_op, YieldOp):
        raise ValueError("the region does not end in sp.yield")
    return [value.type for value in block.last_op.inputs]


def check_choice(what: str, name: StringAttr, choices: Sequence[str]) -> None:
    if name.data not in choices:
        raise ValueError(f"no {what} called {name.data!r}; there are {', '.join(choices)}")


def plain(value: SSAValue) -> TensorType:
    return TensorType(type_of(value).shape, type_of(value).element)
