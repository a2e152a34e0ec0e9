"""What constant masks say of attention scores at compile time: which are −inf, and what is added to the others.

    (s, m) {s * 0.125 + m},  m = [[0, −inf], [0, 0]]     ⇒     kept = [[1, 0], [1, 1]],   (s) {s * 0.125}

A region of scores is evaluated on stripes of queries with the products unknown. A score counts as −inf where it is, and
where a constant of −1e9 or less was added to something that is not known: its exponential is 0 in f32 whatever the
other scores are, as long as those stay above −5e8. A mask of −10000 may be weighed up by scores and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Block, Operation, Region, SSAValue

from sparsec.errors import SparsecError
from sparsec.interpreter import evaluate_region
from sparsec.ir import YieldOp
from sparsec.ir.types import dtype_of
from sparsec.passes.regions import is_scalar_type, scalar

LOW = -1e9


@dataclass(frozen=True)
class Known:
    """A scalar of a region for a stripe [heads, queries, keys] of pairs: what it is, where that is `sure`."""

    value: np.ndarray
    sure: np.ndarray

    @staticmethod
    def of(array: np.ndarray) -> Known:
        """A constant."""
        return Known(array, np.ones((1,) * array.ndim, np.bool_))

    @property
    def low(self) -> np.ndarray:
        """Where the value is −inf or as good as that."""
        return self.sure & (self.value <= LOW)


def unknown(value: SSAValue) -> Known:
    """A scalar that depends on the products, or on what is known at run time alone."""
    dtype = np.int64 if isinstance(value.type, IndexType) else dtype_of(value.type)
    return Known(np.zeros((1, 1, 1), dtype), np.zeros((1, 1, 1), np.bool_))


@dataclass
class Uniform:
    """Scalars of a region that are the same number at all pairs that are kept; stripes are added one by one."""

    numbers: dict[SSAValue, np.ndarray | None]

    def add(self, values: Mapping[SSAValue, Known], kept: np.ndarray) -> None:
        """What a stripe says: values that differ, or that are not sure, are None from then on."""
        if not kept.any():
            return
        for value, known in values.items():
            if value not in self.numbers or self.numbers[value] is not None:
                number = _only(known, kept)
                before = self.numbers.setdefault(value, number)
                if number is None or before is None or before != number:
                    self.numbers[value] = None


def _only(known: Known, kept: np.ndarray) -> np.ndarray | None:
    """The one number that a scalar is wherever pairs are kept, if it is one and sure."""
    if known.value.size == 1:
        return known.value.reshape(()) if known.sure.all() else None
    if not (known.sure | ~kept).all():
        return None
    numbers = np.broadcast_to(known.value, kept.shape)[kept] if known.value.size > 1 else known.value
    return numbers.flat[0] if (numbers == numbers.flat[0]).all() else None


def evaluate(region: Region, arguments: Sequence[Known]) -> dict[SSAValue, Known]:
    """All scalars of a region, what it yields under its YieldOp's operand."""
    values: dict[SSAValue, Known] = dict(zip(region.block.args, arguments, strict=True))
    with np.errstate(all="ignore"):
        for op in region.block.ops:
            if not isinstance(op, YieldOp):
                values.update(zip(op.results, _evaluate(op, [values[x] for x in op.operands]), strict=True))
    return values


def _evaluate(op: Operation, operands: list[Known]) -> list[Known]:
    special = _SPECIAL.get(type(op))
    if special is not None:
        return [special(*operands)]
    sure = np.ones((), np.bool_)
    for operand in operands:
        sure = sure & operand.sure
    if not sure.any() or not all(is_scalar_type(x.type) for x in (*op.operands, *op.results)):
        return [unknown(result) for result in op.results]
    try:
        found = evaluate_region(_alone(op), [operand.value for operand in operands])
    except SparsecError:
        return [unknown(result) for result in op.results]
    return [Known(array, sure) for array in found]


def _alone(op: Operation) -> Region:
    """A region of one op, whose operands are arguments."""
    block = Block(arg_types=[operand.type for operand in op.operands])
    copy = op.clone(dict(zip(op.operands, block.args, strict=True)))
    block.add_ops([copy, YieldOp(*copy.results)])
    return Region(block)


def _add(a: Known, b: Known) -> Known:
    low = a.low | b.low
    return Known(np.where(low, np.minimum(a.value, b.value), a.value + b.value), (a.sure & b.sure) | low)


def _subtract(a: Known, b: Known) -> Known:
    return _add(a, Known(-b.value, b.sure))


def _select(condition: Known, a: Known, b: Known) -> Known:
    chosen = np.where(condition.value, a.value, b.value)
    sure = np.where(condition.value, a.sure, b.sure) & condition.sure
    return Known(chosen, sure | (a.sure & b.sure & (a.value == b.value)))


def _and(a: Known, b: Known) -> Known:
    if a.value.dtype != np.bool_:
        return Known(a.value & b.value, a.sure & b.sure)
    false = (a.sure & ~a.value) | (b.sure & ~b.value)
    return Known(a.value & b.value & ~false, (a.sure & b.sure) | false)


def _or(a: Known, b: Known) -> Known:
    if a.value.dtype != np.bool_:
        return Known(a.value | b.value, a.sure & b.sure)
    true = (a.sure & a.value) | (b.sure & b.value)
    return Known(a.value | b.value | true, (a.sure & b.sure) | true)


_SPECIAL: dict[type[Operation], Callable[..., Known]] = {
    arith.AddfOp: _add,
    arith.SubfOp: _subtract,
    arith.SelectOp: _select,
    arith.AndIOp: _and,
    arith.OrIOp: _or,
}


def simplified(region: Region, numbers: Mapping[SSAValue, np.ndarray | None]) -> Region:
    """A copy of `region` in which the scalars in `numbers` are constants, and what then has no effect is left out."""
    block = Block(arg_types=list(region.block.arg_types))
    values: dict[SSAValue, SSAValue] = dict(zip(region.block.args, block.args, strict=True))

    def constant(value: SSAValue) -> SSAValue | None:
        number = numbers.get(value)
        if number is None or not is_scalar_type(value.type):
            return None
        op = scalar(number, value.type)
        block.add_op(op)
        return op.result

    for argument in region.block.args:
        values[argument] = constant(argument) or values[argument]
    for op in region.block.ops:
        if isinstance(op, YieldOp):
            block.add_op(YieldOp(values[op.inputs[0]]))
        elif len(op.results) == 1 and (number := constant(op.results[0])) is not None:
            values[op.results[0]] = number
        elif (same := _same(op, numbers)) is not None:
            values[op.results[0]] = values[same]
        else:
            copy = op.clone(values)
            block.add_op(copy)
            values.update(zip(op.results, copy.results, strict=True))
    result = Region(block)
    _drop_unused(result)
    return result


def _same(op: Operation, numbers: Mapping[SSAValue, np.ndarray | None]) -> SSAValue | None:
    """The operand that `op` yields, once some scalars are known."""
    known = [numbers.get(operand) for operand in op.operands]
    match op, known:
        case arith.SelectOp(), [condition, _, _] if condition is not None:
            return op.operands[1 if condition else 2]
        case arith.AddfOp() | arith.SubfOp(), [_, zero] if zero is not None and zero == 0:
            return op.operands[0]
        case arith.AddfOp(), [zero, _] if zero is not None and zero == 0:
            return op.operands[1]
        case arith.AndIOp() | arith.OrIOp(), _ if str(op.operands[0].type) == "i1":
            neutral = isinstance(op, arith.AndIOp)
            return next((op.operands[1 - i] for i, x in enumerate(known) if x is not None and bool(x) is neutral), None)
    return None


def _drop_unused(region: Region) -> None:
    for op in reversed(list(region.block.ops)):
        if not isinstance(op, YieldOp) and not any(result.first_use for result in op.results):
            op.detach()
            op.erase()
