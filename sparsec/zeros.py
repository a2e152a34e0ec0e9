"""Which activations are often exactly zero, by the ops that make them: ReLU and its kin, thresholds, products of these.

A linear layer that reads such values need not read the weights that meet zeros ("The Lazy Neuron Phenomenon", Li et
al. 2023: 90 % and more after a ReLU in trained transformers; ProSparse, Song et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Block, BlockArgument, SSAValue

from sparsec.ir import Contraction, GatherOp, MapOp, RelayoutOp, ReshapeOp, SliceOp, TransposeOp, YieldOp

NONZEROS = "nonzeros"
"""Attribute of a contraction: the share of elements of its first operand that are expected not to be zero."""

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
        return isinstance(last, YieldOp) and self._scalar(last.inputs[0], inputs, depth)

    def _scalar(self, value: SSAValue, inputs: list[SSAValue | None], depth: int) -> bool:
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
                return any(_number(x) == 0 or self._scalar(x, inputs, depth) for x in (op.lhs, op.rhs))
            case arith.MulfOp() | arith.MinimumfOp() as op:
                return any(self._scalar(operand, inputs, depth) for operand in op.operands)
            case arith.DivfOp() | arith.NegfOp() | math.AbsFOp() | math.SqrtOp() | math.PowFOp() as op:
                return self._scalar(op.operands[0], inputs, depth)
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
