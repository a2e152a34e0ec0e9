"""How much useful arithmetic an op is: what the floor of its time, and any share of a peak, is counted from."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.ir import Operation

from sparsec.ir import AttentionOp, ConvOp, MatmulOp, WeightOp, type_of
from sparsec.ir.dims import fixed
from sparsec.weights import WeightStore


def useful_flops(op: Operation, weights: WeightStore) -> int:
    """Multiplications and additions by weights that are not zero, computed directly; 0 for other ops.

    A dense layer by Winograd's method thus counts for more than it executes. Epilogues are not counted. Of attentions
    the tiles count that hold a kept pair.
    """
    if isinstance(op, ConvOp):
        result = type_of(op.result).static_shape
        return 2 * _stored(op, weights) * result[0] * prod(result[2:])
    if isinstance(op, MatmulOp):
        left, right = type_of(op.lhs).static_shape, type_of(op.rhs).static_shape
        if prod(right) == prod(right[-2:]):
            return 2 * _stored(op, weights) * (prod(left) // left[-2 if op.transpose_a else -1])
        depth = left[-2 if op.transpose_a else -1]
        return 2 * prod(type_of(op.result).static_shape) * depth
    if isinstance(op, AttentionOp):
        shape = op.shape
        mask = weights.mask_of(op.mask.owner).density if op.mask and isinstance(op.mask.owner, WeightOp) else 1.0
        kept = type_of(op.selection).static_shape[3] * op.block.value.data if op.selection and op.block else shape.keys
        share = min(mask, fixed(kept) / max(1, fixed(shape.keys)))
        return round(2 * share * prod(map(fixed, shape.scores)) * (shape.depth + shape.value_depth))
    return 0


def _stored(op: ConvOp | MatmulOp, weights: WeightStore) -> int:
    """Elements of the right side that can be other than zero."""
    if isinstance(owner := op.rhs.owner, WeightOp):
        return int(np.count_nonzero(weights.of(owner)))
    return prod(type_of(op.rhs).static_shape)


__all__ = ["useful_flops"]
