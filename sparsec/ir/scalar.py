"""Regions of scalar arithmetic, written as Python expressions: `region([f32], lambda x: x * 2.0 + 1.0)`.

8-bit unsigned elements are widened to i32 by whoever computes with them: arith has signless integers only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, IntegerType, Signedness, i1
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from sparsec.ir.ops import YieldOp
from sparsec.ir.types import is_float

_UNARY: dict[str, type[Operation]] = {
    "acos": math.AcosOp,
    "acosh": math.AcoshOp,
    "asin": math.AsinOp,
    "asinh": math.AsinhOp,
    "atan": math.AtanOp,
    "atanh": math.AtanhOp,
    "ceil": math.CeilOp,
    "cos": math.CosOp,
    "cosh": math.CoshOp,
    "erf": math.ErfOp,
    "exp": math.ExpOp,
    "expm1": math.ExpM1Op,
    "floor": math.FloorOp,
    "log": math.LogOp,
    "log1p": math.Log1pOp,
    "roundeven": math.RoundEvenOp,
    "sin": math.SinOp,
    "sinh": math.SinhOp,
    "sqrt": math.SqrtOp,
    "tan": math.TanOp,
    "tanh": math.TanhOp,
    "trunc": math.TruncOp,
}
Number = int | float


class Scalar:
    """One element inside a region. Operators append arith or math ops to the region's block."""

    def __init__(self, value: SSAValue, block: Block):
        self.value = value
        self.block = block

    @property
    def element(self) -> Attribute:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return is_float(self.element)

    def constant(self, number: Number) -> Scalar:
        """`number` with the element type of self."""
        if isinstance(self.element, IntegerType):
            return self.emit(arith.ConstantOp(IntegerAttr(int(number), self.element)))
        return self.emit(arith.ConstantOp(FloatAttr(float(number), self.element)))  # pyright: ignore

    def emit(self, op: Operation) -> Scalar:
        """Append `op` and wrap its result."""
        self.block.add_op(op)
        return Scalar(op.results[0], self.block)

    def call(self, name: str) -> Scalar:
        """A function of one real: exp, log, tanh, erf, sqrt, floor, roundeven and so on."""
        return self.emit(_UNARY[name](self.value))  # pyright: ignore[reportCallIssue]

    def operand(self, other: Scalar | Number) -> Scalar:
        """`other` as a scalar of the same type. Raises ValueError where it is one of another type."""
        if not isinstance(other, Scalar):
            return self.constant(other)
        if other.element != self.element:
            raise ValueError(f"computes with elements of type {self.element} and {other.element} together")
        return other

    def binary(self, other: Scalar | Number, real: type[Operation], whole: type[Operation]) -> Scalar:
        """`real` of floats, `whole` of integers."""
        right = self.operand(other)
        return self.emit((real if self.is_float else whole)(self.value, right.value))  # pyright: ignore[reportCallIssue]

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self.binary(other, arith.AddfOp, arith.AddiOp)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self.binary(other, arith.SubfOp, arith.SubiOp)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self.binary(other, arith.MulfOp, arith.MuliOp)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        """The quotient; of integers, truncated."""
        return self.binary(other, arith.DivfOp, arith.DivSIOp)

    def __radd__(self, other: Number) -> Scalar:
        return self + other

    def __rmul__(self, other: Number) -> Scalar:
        return self * other

    def __rsub__(self, other: Number) -> Scalar:
        return self.constant(other) - self

    def __rtruediv__(self, other: Number) -> Scalar:
        return self.constant(other) / self

    def __neg__(self) -> Scalar:
        return self.emit(arith.NegfOp(self.value)) if self.is_float else self.constant(0) - self

    def __and__(self, other: Scalar) -> Scalar:
        return self.emit(arith.AndIOp(self.value, other.value))

    def __or__(self, other: Scalar) -> Scalar:
        return self.emit(arith.OrIOp(self.value, other.value))

    def __xor__(self, other: Scalar) -> Scalar:
        return self.emit(arith.XOrIOp(self.value, other.value))

    def __invert__(self) -> Scalar:
        return self ^ self.constant(1 if self.element == i1 else -1)

    def remainder(self, other: Scalar | Number) -> Scalar:
        """The remainder of truncated division of integers: its sign is the dividend's."""
        return self.binary(other, arith.RemSIOp, arith.RemSIOp)

    def abs(self) -> Scalar:
        return self.emit((math.AbsFOp if self.is_float else math.AbsIOp)(self.value))

    def max(self, other: Scalar | Number) -> Scalar:
        """The larger one; NaN where either is NaN."""
        return self.binary(other, arith.MaximumfOp, arith.MaxSIOp)

    def min(self, other: Scalar | Number) -> Scalar:
        """The smaller one; NaN where either is NaN."""
        return self.binary(other, arith.MinimumfOp, arith.MinSIOp)

    def pow(self, other: Scalar | Number) -> Scalar:
        return self.binary(other, math.PowFOp, math.IPowIOp)

    def compare(self, predicate: str, other: Scalar | Number) -> Scalar:
        """An i1. predicate: eq, ne, lt, le, gt, ge; comparisons with NaN are false but for ne."""
        right = self.operand(other)
        if self.is_float:
            prefix = "u" if predicate == "ne" else "o"
            return self.emit(arith.CmpfOp(self.value, right.value, prefix + predicate))
        prefix = "" if predicate in ("eq", "ne") else ("u" if self.element == i1 else "s")
        return self.emit(arith.CmpiOp(self.value, right.value, prefix + predicate))

    def select(self, then: Scalar, otherwise: Scalar | Number) -> Scalar:
        """`then` where self (an i1) is true."""
        right = otherwise if isinstance(otherwise, Scalar) else then.constant(otherwise)
        return self.emit(arith.SelectOp(self.value, then.value, right.value))

    def to(self, element: Attribute) -> Scalar:
        """The value converted: floats to integers truncate, anything to i1 is `!= 0`."""
        if self.element == element:
            return self
        if element == i1:
            wide = self.to(_I32) if _is_unsigned(self.element) else self
            return wide.compare("ne", 0)
        if self.is_float:
            return self._float_to(element)
        return self._integer_to(element)

    def _float_to(self, element: Attribute) -> Scalar:
        if is_float(element):
            wider = element.bitwidth > self.element.bitwidth  # pyright: ignore[reportAttributeAccessIssue]
            return self.emit((arith.ExtFOp if wider else arith.TruncFOp)(self.value, element))
        if isinstance(element, IntegerType) and element.width.data < 32:
            return self._float_to(_I32).to(element)
        return self.emit(arith.FPToSIOp(self.value, element))  # pyright: ignore[reportArgumentType]

    def _integer_to(self, element: Attribute) -> Scalar:
        source = self.element
        assert isinstance(source, IntegerType)
        unsigned = source == i1 or _is_unsigned(source)
        if is_float(element):
            return self.emit((arith.UIToFPOp if unsigned else arith.SIToFPOp)(self.value, element))  # pyright: ignore
        assert isinstance(element, IntegerType)
        if element.width.data == source.width.data:
            return self.to(_I32).to(element)
        if element.width.data < source.width.data:
            return self.emit(arith.TruncIOp(self.value, element))
        return self.emit((arith.ExtUIOp if unsigned else arith.ExtSIOp)(self.value, element))


_I32 = IntegerType(32)


def _is_unsigned(element: Attribute) -> bool:
    return isinstance(element, IntegerType) and element.signedness.data == Signedness.UNSIGNED


def region(elements: Sequence[Attribute], function: Callable[..., Scalar]) -> Region:
    """A region that is given scalars of these types and yields what `function` of them returns."""
    block = Block(arg_types=list(elements))
    result = function(*(Scalar(argument, block) for argument in block.args))
    block.add_op(YieldOp(result.value))
    return Region(block)
