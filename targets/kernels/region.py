"""Regions of scalar `arith` and `math` ops, written on the builder's scalars or vectors: maps and epilogues.

    ^bb0(%acc: f32, %bias: f32):                     body.emit(b, [acc, bias])      acc: 16 x f32, bias: f32
      %0 = arith.addf %acc, %bias : f32         ⇒      %0 = arith.addf %acc, broadcast(%bias) : vector<16xf32>
      sp.yield %0 : f32

f16 and f64 take part as follows: f16 is computed in f32 and rounded after every op that can be inexact, which is IEEE's
f16 arithmetic; elementary functions of f64 have the accuracy of f32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Attribute, Operation, Region, SSAValue

from sparsec.targets.builder import Builder, Value
from sparsec.targets.kernels import scalars

# Results that are floats of the operands' type whatever the operands are: nothing to round.
_EXACT = {"negf", "absf", "maximumf", "minimumf", "maxnumf", "minnumf", "select", "floor", "ceil", "trunc", "round"}
_EXACT |= {"roundeven", "copysign", "extf"}

# Operations of `math` that are an instruction or a few.
_SHORT = {"absf", "absi", "ceil", "floor", "trunc", "round", "roundeven", "copysign", "fma", "sqrt", "isnan", "isinf"}


@dataclass(frozen=True)
class Body:
    """A region as part of a kernel's specification: equal where the ops are equal, whatever their names in the text."""

    text: str
    region: Region = field(compare=False, repr=False)

    @staticmethod
    def of(region: Region) -> Body:
        """A copy of a region of one block that ends in `sp.yield`."""
        return Body(_canonical(region), region.clone())

    @property
    def is_identity(self) -> bool:
        """Whether the region yields its first argument and nothing else."""
        block = self.region.block
        last = block.last_op
        return last is not None and block.first_op is last and list(last.operands) == [block.args[0]]

    def adds(self, index: int) -> bool:
        """Whether argument `index` is added to the first argument, and if others are added before it, only such.

        So a sum that becomes the first argument can just as well begin with it.
        """
        block = self.region.block
        total, wanted = block.args[0], block.args[index]
        for op in block.ops:
            others = [x for x in op.operands if x is not total]
            if op.name != "arith.addf" or len(others) != 1 or total.get_user_of_unique_use() is not op:
                return False
            if others[0] is wanted:
                return wanted.get_user_of_unique_use() is op
            if others[0] not in block.args:
                return False
            total = op.results[0]
        return False

    @property
    def is_long(self) -> bool:
        """Whether the region holds elementary functions, of 20 to 60 instructions each."""
        return self.long_ops > 0

    @property
    def long_ops(self) -> int:
        """How many elementary functions the region holds."""
        names = [op.name for op in self.region.block.ops]
        return sum(name.startswith("math.") and name[len("math.") :] not in _SHORT for name in names)

    @property
    def ops(self) -> int:
        """How many ops the region holds."""
        return sum(1 for _ in self.region.block.ops) - 1

    def emit(self, b: Builder, arguments: Sequence[Value]) -> list[Value]:
        """What the region yields, an element type as it says. Arguments are scalars and vectors of one width, mixed.

        Arguments have the elements of the block's arguments; i8 is taken for i1 as well, and means not zero.
        The results are vectors if an argument is one.
        """
        return emit_region(b, self.region, arguments)


def emit_region(b: Builder, region: Region, arguments: Sequence[Value]) -> list[Value]:
    """See `Body.emit`."""
    lanes = next((x.lanes for x in arguments if x.lanes is not None), None)
    block = region.block
    values: dict[SSAValue, scalars.Scalar] = {
        formal: b.convert(actual, computed(formal.type)) for formal, actual in zip(block.args, arguments, strict=True)
    }
    for op in block.ops:
        if op.name == "sp.yield":
            return [_stored(b, values[x], x.type, lanes) for x in op.operands]
        values[op.results[0]] = _emit(b, op, [values[x] for x in op.operands])
    raise ValueError("the region does not end in sp.yield")


def element(type_: Attribute) -> str:
    """The builder's name of an xDSL scalar type: `f32`, `i64`, `u8`, `i1`, `index`."""
    text = str(type_)
    if text.startswith("si"):
        return text[1:]
    return f"u{text[2:]}" if text.startswith("ui") else text


def computed(type_: Attribute) -> str:
    """The element that values of this type are computed in; an index, which wasm has with 32 bits, as i64."""
    name = element(type_)
    return {"f16": "f32", "bf16": "f32", "index": "i64"}.get(name, name)


def _emit(b: Builder, op: Operation, operands: list[scalars.Scalar]) -> scalars.Scalar:
    result = op.results[0].type
    if op.name == "arith.constant":
        attribute = op.properties["value"]
        assert isinstance(attribute, FloatAttr | IntegerAttr), attribute
        return attribute.value.data
    rule = scalars.RULES.get(op.name)
    if rule is None:
        raise NotImplementedError(f"{op.name} has no code inside a region")
    known = _materialised(b, op, operands)
    value = rule(b, scalars.Context(op, computed(result)), *known)
    if value.element != computed(result):
        value = b.convert(value, computed(result))
    if element(result) in ("f16", "bf16") and op.name.partition(".")[2] not in _EXACT:
        value = b.convert(b.convert(value, element(result)), "f32")
    return value


def _materialised(b: Builder, op: Operation, operands: list[scalars.Scalar]) -> list[scalars.Scalar]:
    """The operands; numbers stay such only beside a value in an op of two operands, where they make better code."""
    if len(operands) == 2 and sum(isinstance(x, Value) for x in operands) == 1:
        return operands
    pairs = zip(operands, op.operands, strict=True)
    return [x if isinstance(x, Value) else b.constant(x, computed(formal.type)) for x, formal in pairs]


def _stored(b: Builder, x: scalars.Scalar, type_: Attribute, lanes: int | None) -> Value:
    value = x if isinstance(x, Value) else b.constant(x, computed(type_))
    value = b.convert(value, element(type_))
    return b.broadcast(value, lanes) if lanes is not None and value.lanes is None else value


def _canonical(region: Region) -> str:
    """The region's meaning as text: values numbered in order, no names, no locations."""
    block = region.block
    numbers: dict[SSAValue, int] = {argument: index for index, argument in enumerate(block.args)}
    lines = [", ".join(str(argument.type) for argument in block.args)]
    for op in block.ops:
        operands = " ".join(f"%{numbers[x]}" for x in op.operands)
        properties = ", ".join(f"{name} = {value}" for name, value in sorted(op.properties.items()))
        lines.append(f"{op.name} {operands} {{{properties}}} : {', '.join(str(r.type) for r in op.results)}")
        for result in op.results:
            numbers[result] = len(numbers)
    return "; ".join(lines)
