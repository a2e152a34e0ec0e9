"""Weights of contractions seen alike: as [groups, outputs, inputs, *kernel], whatever their order in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import Block, Region, SSAValue

from sparsec.ir import Contraction, ConvOp, ConvTransposeOp, MatmulOp, WeightOp, YieldOp, type_of
from sparsec.ir.dims import fixed
from sparsec.passes.base import channel_vector, constants, name_of
from sparsec.passes.regions import Affine, Number, affine, compose
from sparsec.weights import WeightStore


def has_weight(op: Contraction) -> bool:
    """Whether the right operand is a weight that `grouped` understands."""
    rank_fits = not isinstance(op, MatmulOp) or type_of(op.rhs).rank == 2
    return isinstance(op.rhs.owner, WeightOp) and rank_fits


def weight_of(op: Contraction, weights: WeightStore) -> np.ndarray:
    """The weight of a contraction that has one."""
    assert isinstance(op.rhs.owner, WeightOp), "see has_weight"
    return weights.of(op.rhs.owner)


def grouped(op: Contraction, weight: np.ndarray) -> np.ndarray:
    """A view of the weight of `op` as [groups, outputs of a group, inputs of a group, *kernel]."""
    if isinstance(op, ConvOp):
        groups = op.groups.value.data
        return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    if isinstance(op, ConvTransposeOp):
        groups = op.groups.value.data
        return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).swapaxes(1, 2)
    assert isinstance(op, MatmulOp), "there are three contractions"
    return (weight if op.transpose_b else weight.T)[None]


def ungrouped(op: Contraction, view: np.ndarray) -> np.ndarray:
    """The inverse of `grouped`."""
    if isinstance(op, MatmulOp):
        return np.ascontiguousarray(view[0] if op.transpose_b else view[0].T)
    if isinstance(op, ConvTransposeOp):
        view = view.swapaxes(1, 2)
    return np.ascontiguousarray(view).reshape(-1, *view.shape[2:])


def outputs_axis(op: Contraction) -> int:
    """The axis of the result along which the weight's outputs lie."""
    return type_of(op.result).rank - 1 if isinstance(op, MatmulOp) else 1


def outputs(op: Contraction) -> int:
    """How many outputs (channels, features) the contraction has."""
    return fixed(type_of(op.result).shape[outputs_axis(op)])


def per_output(op: Contraction, number: Number) -> np.ndarray | None:
    """`number`, broadcast to the result, as one number an output; None where it varies along other axes."""
    return channel_vector(np.asarray(number), type_of(op.result).rank, outputs_axis(op), outputs(op))


def bias_shape(op: Contraction, size: int) -> tuple[int, ...]:
    """The shape of an operand of the epilogue with one number an output: [M, 1, 1], or [M] for matmul."""
    return size, *(1,) * (type_of(op.result).rank - 1 - outputs_axis(op))


def affine_epilogue(op: Contraction, weights: WeightStore) -> Affine | None:
    """The epilogue as a function of the accumulator, where it is affine with constant operands."""
    return affine(op.epilogue, 0, constants([op.result, *op.extras], weights))


def bias_operand(op: Contraction, shift: np.ndarray, weights: WeightStore) -> WeightOp:
    """A new weight with one number an output, in the element type of the result."""
    array = shift.astype(type_of(op.result).dtype).reshape(bias_shape(op, len(shift)))
    return weights.add(f"{name_of(op, 1)}.bias", array)


def add_first(op: Contraction, bias: SSAValue) -> tuple[list[SSAValue], Region]:
    """The extras and the epilogue of `op` once `bias` is added to the accumulator before all else."""
    element = type_of(bias).element
    block = Block(arg_types=[element, element])
    total = arith.AddfOp(block.args[0], block.args[1])
    block.add_ops([total, YieldOp(total.result)])
    names: Sequence[SSAValue] = [op.result, *op.extras]
    inputs, region = compose(op.epilogue, names, Region(block), [op.result, bias], link=op.result)
    return inputs[1:], region
