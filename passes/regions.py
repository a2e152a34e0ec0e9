"""Regions of scalar ops: putting one into another, constants in place of arguments, and affine functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IntegerAttr, IntegerType, Signedness
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from sparsec.ir import YieldOp
from sparsec.ir.types import is_float

Number: TypeAlias = "np.ndarray | float"

# Scalar ops that one region may grow to by fusion. Each fusion copies both regions, and register allocation of one long
# loop body is superlinear too: without a limit, a chain of 500 maps compiles in 9 s; with it, one of 1000 in 5 s. Past
# 64 ops, what one more load and store add is small beside the arithmetic.
LONGEST = 64


def inline(source: Block, arguments: Sequence[SSAValue], into: Block) -> SSAValue:
    """Append copies of the ops of `source` to `into`, `arguments` in place of its own; returns what it yields."""
    values: dict[SSAValue, SSAValue] = dict(zip(source.args, arguments, strict=True))
    for op in source.ops:
        if isinstance(op, YieldOp):
            return values.get(op.inputs[0], op.inputs[0])
        into.add_op(op.clone(values))
    raise ValueError("the region does not end in sp.yield")


def too_long(outer: Region, inner: Region) -> bool:
    """Whether the two, composed, have more than `LONGEST` ops beside constants and yields."""
    return length(outer) + length(inner) > LONGEST


def length(region: Region) -> int:
    """How many ops `region` has beside constants and its yield."""
    return sum(not isinstance(op, arith.ConstantOp | YieldOp) for op in region.block.ops)


def compose(
    outer: Region, outer_inputs: Sequence[SSAValue], inner: Region, inner_inputs: Sequence[SSAValue], link: SSAValue
) -> tuple[list[SSAValue], Region]:
    """`outer` with `inner` computed in place of its input `link`: the inputs (those of `inner` first), and the region.

    Equal inputs become one. The accumulator of a contraction may be named by the contraction's result.
    """
    inputs: dict[SSAValue, Attribute] = dict(zip(inner_inputs, inner.block.arg_types, strict=True))
    for value, type_ in zip(outer_inputs, outer.block.arg_types, strict=True):
        if value is not link:
            inputs.setdefault(value, type_)
    block = Block(arg_types=list(inputs.values()))
    arguments = dict(zip(inputs, block.args, strict=True))
    linked = inline(inner.block, [arguments[value] for value in inner_inputs], block)
    outer_arguments = [linked if value is link else arguments[value] for value in outer_inputs]
    block.add_op(YieldOp(inline(outer.block, outer_arguments, block)))
    return list(inputs), Region(block)


def drop_arguments(region: Region, constants: dict[int, np.ndarray]) -> Region:
    """A copy of `region` where the arguments in `constants` are scalar constants instead."""
    source = region.block
    block = Block(arg_types=[arg.type for arg in source.args if arg.index not in constants])
    rest = iter(block.args)
    arguments: list[SSAValue] = []
    for arg in source.args:
        if arg.index in constants:
            number = scalar(constants[arg.index], arg.type)
            block.add_op(number)
            arguments.append(number.result)
        else:
            arguments.append(next(rest))
    block.add_op(YieldOp(inline(source, arguments, block)))
    return Region(block)


def is_scalar_type(element: Attribute) -> bool:
    """Whether `arith.constant` makes scalars of this type."""
    return is_float(element) or (isinstance(element, IntegerType) and element.signedness.data is Signedness.SIGNLESS)


def scalar(number: np.ndarray, element: Attribute) -> arith.ConstantOp:
    """An `arith.constant` of one number."""
    if isinstance(element, IntegerType):
        attribute: Attribute = IntegerAttr(int(number.item()), element)
    else:
        assert isinstance(element, AnyFloat), "see is_scalar_type"
        attribute = FloatAttr(float(number.item()), element)
    return arith.ConstantOp(attribute)


@dataclass(frozen=True)
class Affine:
    """scale · x + shift, with scale and shift broadcast against x."""

    scale: Number
    shift: Number

    @property
    def is_constant(self) -> bool:
        return np.ndim(self.scale) == 0 and not self.scale


def affine(region: Region, argument: int, constants: dict[int, np.ndarray]) -> Affine | None:
    """What `region` computes as an affine function of one argument, the others being constants; None if it is not."""
    values: dict[SSAValue, Affine] = {}
    for arg in region.block.args:
        if arg.index == argument:
            values[arg] = Affine(1.0, 0.0)
        elif arg.index in constants:
            values[arg] = Affine(0.0, constants[arg.index].astype(np.float64))
    for op in region.block.ops:
        if any(operand not in values for operand in op.operands):
            return None
        operands = [values[operand] for operand in op.operands]
        if isinstance(op, YieldOp):
            return None if operands[0].is_constant else operands[0]
        found = _affine_op(op, operands)
        if found is None:
            return None
        values[op.results[0]] = found
    return None


def _affine_op(op: Operation, operands: list[Affine]) -> Affine | None:
    match op, operands:
        case arith.ConstantOp(value=FloatAttr() as number), _:
            return Affine(0.0, number.value.data)
        case arith.AddfOp(), [a, b]:
            return Affine(a.scale + b.scale, a.shift + b.shift)
        case arith.SubfOp(), [a, b]:
            return Affine(a.scale - b.scale, a.shift - b.shift)
        case arith.NegfOp(), [a]:
            return Affine(-a.scale, -a.shift)
        case arith.MulfOp(), [a, b] if a.is_constant or b.is_constant:
            a, b = (b, a) if a.is_constant else (a, b)
            return Affine(a.scale * b.shift if not a.is_constant else 0.0, a.shift * b.shift)
        case arith.DivfOp(), [a, b] if b.is_constant and np.all(b.shift):
            return Affine(a.scale / b.shift if not a.is_constant else 0.0, a.shift / b.shift)
    return None


def merge_arguments(region: Region, inputs: Sequence[SSAValue]) -> tuple[list[SSAValue], Region]:
    """`inputs` without repetitions, and a copy of `region` that takes those."""
    types = dict(zip(inputs, region.block.arg_types, strict=True))
    block = Block(arg_types=list(types.values()))
    arguments = dict(zip(types, block.args, strict=True))
    block.add_op(YieldOp(inline(region.block, [arguments[value] for value in inputs], block)))
    return list(types), Region(block)


def drop_unused_arguments(region: Region, inputs: Sequence[SSAValue], keep: int) -> tuple[list[SSAValue], Region]:
    """`inputs` that the region uses, and a copy of it that takes those; its first `keep` arguments, which are not among
    `inputs`, stay.
    """
    source = region.block
    used = [argument for argument in source.args if argument.index < keep or argument.first_use is not None]
    block = Block(arg_types=[argument.type for argument in used])
    arguments: dict[SSAValue, SSAValue] = dict(zip(used, block.args, strict=True))
    # What is not used is not looked at: any value stands for it.
    block.add_op(YieldOp(inline(source, [arguments.get(argument, block.args[0]) for argument in source.args], block)))
    return [inputs[argument.index - keep] for argument in used if argument.index >= keep], Region(block)
