"""Channels that are constant, or that nobody reads, are removed from producers and readers alike.

    %y = sp.conv(%x, @w : [64, 3, 3, 3])        ⇒   %y = sp.conv(%x, @w.kept : [60, 3, 3, 3])
    %z = sp.conv(%y, @v : [32, 64, 1, 1])           %z = sp.conv(%y, @v.kept : [32, 60, 1, 1])
    where 4 rows of @w, or 4 columns of @v, are 0

An output whose weights are all zero is the constant that the epilogue makes of 0. What such a constant adds to a reader
goes into the reader's bias, unless the reader pads (its zeros would differ from the constant). The channels of a whole
group of values go together: see sparsec/passes/channels.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import Contraction, ConvOp, MapOp, WeightOp, type_of
from sparsec.ir.ops import integer, values
from sparsec.model import Model
from sparsec.passes.base import Pass, name_of
from sparsec.passes.channels import Constants, Group, channel_axis, find_groups, is_depthwise, mixes_channels
from sparsec.passes.contractions import add_first, bias_operand, grouped, ungrouped, weight_of
from sparsec.target import Target

_KEPT = 0.06  # dead channels that may be kept for each other one, to make their number a multiple


@dataclass(frozen=True)
class EliminateDeadChannels(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        while _eliminate(model, target.channels if target else 1):
            pass


def _eliminate(model: Model, multiple: int) -> bool:
    """One round over all groups; the next may find more, as removed rows leave columns that nobody reads."""
    groups = find_groups(model)
    constants = Constants(model, groups)
    removable = [
        (group, _in_multiples(_removable(group, constants, model), multiple))
        for group in groups
        if not group.pinned and group.readers
    ]
    for group, dead in removable:
        if dead.any():
            _remove(group, dead, constants, model)
    return any(dead.any() for _, dead in removable)


def _removable(group: Group, constants: Constants, model: Model) -> np.ndarray:
    """Which channels all readers can do without; one channel always stays."""
    dead = np.ones(group.size, bool)
    for op in group.readers:
        known, numbers = constants.of(op.lhs, channel_axis(op))
        exact = not isinstance(op, ConvOp) or not any(values(op.pads))
        view = _view(op, model)
        unread = ~view.any(axis=(0, 1, *range(3, view.ndim)))
        dead &= unread | (known & (exact | (numbers == 0)))
    if dead.all():
        dead[0] = False
    return dead


def _in_multiples(dead: np.ndarray, multiple: int) -> np.ndarray:
    """Those of `dead` channels without which a multiple is left; of less, down to 2, where that would keep many."""
    places = np.flatnonzero(dead)
    alive = len(dead) - len(places)
    while -alive % multiple > alive * _KEPT and multiple > 2:
        multiple //= 2
    spared = min(-alive % multiple, len(places))
    dead[places[len(places) - spared :]] = False
    return dead


def _view(op: Contraction, model: Model) -> np.ndarray:
    return grouped(op, weight_of(op, model.weights))


def _remove(group: Group, dead: np.ndarray, constants: Constants, model: Model) -> None:
    """Take the channels `dead` from every member of `group` and from the weights on both sides."""
    keep = np.flatnonzero(~dead)
    for op in group.readers:
        _remove_inputs(op, dead, constants.of(op.lhs, channel_axis(op))[1], model)
    for value, axis in group.axes.items():
        op = value.owner
        assert isinstance(op, Operation), "inputs of the function are pinned"
        _remove_outputs(op, keep, axis, len(dead), model)
        shape = list(type_of(value).shape)
        shape[axis] = len(keep)
        Rewriter.replace_value_with_new_type(value, type_of(value).with_shape(shape))


def _remove_inputs(op: Contraction, dead: np.ndarray, numbers: np.ndarray, model: Model) -> None:
    """Narrow the weight of a reader, and add what the constants contributed to its bias."""
    view = _view(op, model)
    sums = view[:, :, dead].reshape(*view.shape[:2], int(dead.sum()), -1).sum(-1, dtype=np.float64)
    contribution = (sums @ np.where(sums.any(axis=(0, 1)), numbers[dead], 0)).reshape(-1)
    if contribution.any():
        bias = bias_operand(op, contribution, model.weights)
        Rewriter.insert_op(bias, InsertPoint.before(op))
        extras, epilogue = add_first(op, bias.result)
        op.operands = [op.lhs, op.rhs, *extras]
        op.detach_region(op.epilogue)
        op.add_region(epilogue)
    _set_weight(op, 1, ungrouped(op, view[:, :, ~dead]), model)


def _remove_outputs(op: Operation, keep: np.ndarray, axis: int, size: int, model: Model) -> None:
    """Narrow the weights from which `op` makes its channels."""
    small: Iterable[tuple[int, SSAValue]] = []
    if isinstance(op, Contraction):
        view = _view(op, model)
        _set_weight(op, 1, ungrouped(op, view[:, keep] if mixes_channels(op) else view[keep]), model)
        if is_depthwise(op):
            assert isinstance(op, ConvOp), "see is_depthwise"
            op.groups = integer(len(keep))
        small = list(enumerate(op.extras, 2))
    elif isinstance(op, MapOp):
        small = list(enumerate(op.inputs))
    for index, value in small:
        shape = type_of(value).shape
        if isinstance(value.owner, WeightOp) and len(shape) >= -axis and shape[axis] == size:
            _set_weight(op, index, np.take(model.weights.of(value.owner), keep, axis=axis), model)


def _set_weight(op: Operation, index: int, array: np.ndarray, model: Model) -> None:
    new = model.weights.add(f"{name_of(op, index)}.kept", np.ascontiguousarray(array))
    Rewriter.insert_op(new, InsertPoint.before(op))
    op.operands[index] = new.result
