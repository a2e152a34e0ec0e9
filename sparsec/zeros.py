"""Which activations are often exactly zero, by the ops that make them: ReLU and its kin, thresholds, products of these.

A linear layer that reads such values need not read the weights that meet zeros ("The Lazy Neuron Phenomenon", Li et
al. 2023: 90 % and more after a ReLU in trained transformers; ProSparse, Song et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from sparsec.ir import Contraction, GatherOp, MapOp, RelayoutOp, ReshapeOp, SliceOp, TransposeOp, YieldOp

NONZEROS = "nonzeros"
"""Attribute of a contraction: the share of elements of its first operand that are expected not to be zero."""

THRESHOLDS = "thresholds"
"""Attribute of a contraction: the least and the greatest threshold of its first operand (see `sparsec.thresholds`)."""

DEEPEST = 100  # steps that are followed from a layer back to a ReLU: far more than there are, and no stack overflows

AFTER_RELU = 0.5
"""What is expected where nothing is known: a ReLU of a symmetric input. Trained networks have fewer."""

_MOVEMENTS = (ReshapeOp, RelayoutOp, TransposeOp, SliceOp, GatherOp)


def nonzeros(op: Contraction) -> float | None:
    """The share of elements of `op`'s first operand that are expected not to be zero; None where zeros are chance."""
    if not often_zero(op.lhs):
        return None
    known = op.attributes.get(NONZEROS)
    return known.value.data if isinstance(known, FloatAttr) else AFTER_RELU


def vanishing_factor(op: Contraction) -> Region | None:
    """A region of the epilogue's arguments that is often zero, without the sum, and where it is the result is zero too.

    So the up-projection of a gated feed-forward need not be computed where the gate's ReLU is zero, as Deja Vu (Liu et
    al. 2023) and ProSparse (Song et al. 2024) do it.
    """
    path = factor_path(op.epilogue, [None, *op.extras], 0)
    if path is None:
        return None
    region = op.epilogue.clone()
    last = region.block.last_op
    assert last is not None, "an epilogue ends in sp.yield"
    value = _follow(last.operands[0], path)
    last.detach()
    region.block.add_op(YieldOp(value))
    return region


def factor_path(region: Region, inputs: Sequence[SSAValue | None], sums: int) -> tuple[int, ...] | None:
    """The operands to follow from what `region` yields to a factor as in `vanishing_factor`; None without one.

    `inputs` are the values of the region's arguments; that of index `sums` is what the factor must not depend on.
    """
    last = region.block.last_op
    assert isinstance(last, YieldOp), "regions end in sp.yield"
    return _factor(last.inputs[0], list(inputs), region.block.args[sums], _Search())


def _factor(value: SSAValue, inputs: list[SSAValue | None], sums: SSAValue, search: _Search) -> tuple[int, ...] | None:
    """The path from a scalar that is zero where its factor is."""
    match value.owner:
        case arith.MulfOp() as op:
            found = (
                index
                for index, factor in enumerate(op.operands)
                if search.scalar(factor, inputs, DEEPEST) and not _depends(factor, sums)
            )
            return next(((index,) for index in found), None)
        case arith.SelectOp() as op if 0.0 in (_number(op.lhs), _number(op.rhs)):
            kept = 2 if _number(op.lhs) == 0 else 1
            inner = _factor(op.operands[kept], inputs, sums, search)
            return None if inner is None else (kept, *inner)
    return None


def _follow(value: SSAValue, path: Sequence[int]) -> SSAValue:
    for index in path:
        assert isinstance(value.owner, Operation), "paths lead through ops"
        value = value.owner.operands[index]
    return value


def _depends(value: SSAValue, on: SSAValue) -> bool:
    """Whether a scalar of a region is computed from another one."""
    waiting, seen = [value], set()
    while waiting:
        found = waiting.pop()
        if found is on:
            return True
        if found not in seen and isinstance(found.owner, Operation):
            waiting.extend(found.owner.operands)
        seen.add(found)
    return False


def often_zero(value: SSAValue) -> bool:
    """Whether `value` comes from a ReLU, a clip from 0, a threshold, or a product with such a factor."""
    return _Search().tensor(value, DEEPEST)


@dataclass
class _Search:
    """What is known of values so far: squares of squares would else be visited again and again."""

    known: dict[SSAValue, bool] = field(default_factory=dict)

    def tensor(self, value: SSAValue, depth: int) -> bool:
        owner = value.owner
        while isinstance(owner, _MOVEMENTS):
            owner = owner.operands[0].owner
        match owner:
            case MapOp():
                return self._yielded(owner.body.block, list(owner.inputs), depth)
            case Contraction():
                return self._yielded(owner.epilogue.block, [None, *owner.extras], depth)
        return False

    def _yielded(self, block: Block, inputs: list[SSAValue | None], depth: int) -> bool:
        """Of what a region yields, given its inputs; None is the sum of a contraction, which is none."""
        last = block.last_op
        return isinstance(last, YieldOp) and self.scalar(last.inputs[0], inputs, depth)

    def scalar(self, value: SSAValue, inputs: list[SSAValue | None], depth: int) -> bool:
        """Of a scalar inside a region."""
        if value not in self.known:
            self.known[value] = depth > 0 and self._find(value, inputs, depth - 1)
        return self.known[value]

    def _find(self, value: SSAValue, inputs: list[SSAValue | None], depth: int) -> bool:
        if isinstance(value, BlockArgument):
            source = inputs[value.index]
            return source is not None and self.tensor(source, depth)
        match value.owner:
            case arith.MaximumfOp() as op:
                return _is_relu(op)
            case arith.SelectOp() as op:
                return any(_number(x) == 0 or self.scalar(x, inputs, depth) for x in (op.lhs, op.rhs))
            case arith.MulfOp() | arith.MinimumfOp() as op:
                return any(self.scalar(operand, inputs, depth) for operand in op.operands)
            case arith.DivfOp() | arith.NegfOp() | math.AbsFOp() | math.SqrtOp() | math.PowFOp() as op:
                return self.scalar(op.operands[0], inputs, depth)
        return False


def _is_relu(op: arith.MaximumfOp) -> bool:
    """Whether this is max(x, 0). A constant above 0 added before, as in a hard sigmoid, leaves few zeros."""
    operands = list(op.operands)
    if 0.0 not in map(_number, operands):
        return False
    other = next((operand for operand in operands if _number(operand) != 0.0), operands[0])
    terms = other.owner.operands if isinstance(other.owner, arith.AddfOp) else ()
    return not any((_number(term) or 0.0) > 0 for term in terms)


def _number(value: SSAValue) -> float | None:
    """The constant that `value` is."""
    if isinstance(value.owner, arith.ConstantOp) and isinstance(value.owner.value, FloatAttr):
        return value.owner.value.value.data
    return None
