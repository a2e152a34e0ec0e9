"""Which values share their channels, and which of those are constant: the analysis behind eliminate_dead_channels.

Values are in one group where channel c of one is computed from channel c of the others alone: the two sides of a map, a
pool, a depthwise convolution. A group is pinned where its channels cannot be renumbered: an input or output of the
function, or an op that mixes them in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from xdsl.ir import Operation, SSAValue

from sparsec.interpreter import evaluate_region
from sparsec.ir import Contraction, ConvOp, MapOp, MatmulOp, PoolOp, ReduceOp, ReshapeOp, WeightOp, type_of
from sparsec.ir.dims import fixed
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.base import channel_vector, constant
from sparsec.passes.contractions import grouped, has_weight, weight_of
from sparsec.weights import WeightStore


@dataclass
class Group:
    """`axes` has the channel axis of each member, counted from the last (-3 of [N, C, H, W])."""

    axes: dict[SSAValue, int] = field(default_factory=dict)
    readers: list[Contraction] = field(default_factory=list)
    pinned: bool = False

    @property
    def size(self) -> int:
        """How many channels the members have."""
        value, axis = next(iter(self.axes.items()))
        return fixed(type_of(value).shape[axis])


def is_depthwise(op: Operation) -> bool:
    """Whether each channel of a convolution's result comes from the same channel of its input."""
    if not isinstance(op, ConvOp) or not has_weight(op):
        return False
    groups = op.groups.value.data
    return groups > 1 and type_of(op.lhs).shape[1] == groups == type_of(op.result).shape[1]


def mixes_channels(op: Operation) -> bool:
    """Whether `op` contracts all channels with a weight, whose inputs and outputs can then be renumbered."""
    if isinstance(op, ConvOp):
        return has_weight(op) and op.groups.value.data == 1
    return isinstance(op, MatmulOp) and has_weight(op) and not op.transpose_a


def channel_axis(op: Contraction) -> int:
    """The channel axis of the operand and the result of a contraction, counted from the last."""
    return -1 if isinstance(op, MatmulOp) else 1 - type_of(op.result).rank


def find_groups(model: Model) -> list[Group]:
    """All groups of `model`."""
    finder = _Finder()
    finder.pin(*model.main.body.block.args)
    for op in model.main.body.block.ops:
        if not isinstance(op, WeightOp):
            finder.visit(op)
    return list({id(group): group for group in finder.groups.values()}.values())


class _Finder:
    def __init__(self) -> None:
        self.groups: dict[SSAValue, Group] = {}

    def visit(self, op: Operation) -> None:
        if isinstance(op, Contraction) and (mixes_channels(op) or is_depthwise(op)):
            axis = channel_axis(op)
            if mixes_channels(op):
                self._put(op.lhs, axis).readers.append(op)
                self._tie({op.result: axis}, op.extras)
            else:
                self._tie({op.result: axis, op.lhs: axis}, op.extras)
        elif isinstance(op, MapOp):
            axes = {self.groups[value].axes[value] for value in op.inputs if value in self.groups} - {0}
            if len(axes) == 1:
                self._tie({op.result: axes.pop()}, op.inputs)
            else:
                self.pin(*op.inputs, op.result)
        elif _keeps_channels(op):
            self._tie({value: 1 - type_of(value).rank for value in (op.operands[0], op.results[0])}, [])
        else:
            self.pin(*op.operands, *op.results)

    def pin(self, *pinned: SSAValue) -> None:
        for value in pinned:
            if not isinstance(value.owner, WeightOp):
                self.groups.setdefault(value, Group({value: -type_of(value).rank})).pinned = True

    def _put(self, value: SSAValue, axis: int) -> Group:
        """The group of `value`; pinned where its members disagree about the axis."""
        group = self.groups.setdefault(value, Group({value: axis}))
        group.pinned |= group.axes[value] != axis
        return group

    def _tie(self, axes: dict[SSAValue, int], others: Sequence[SSAValue]) -> None:
        """Put values into one group, and those of `others` too that have as many channels along the same axis."""
        result, axis = next(iter(axes.items()))
        size = type_of(result).shape[axis]
        whole = self._put(result, axis)
        for value in others:
            has_axis = type_of(value).rank >= -axis
            if has_axis and type_of(value).shape[axis] == size and not isinstance(value.owner, WeightOp):
                axes = {**axes, value: axis}
            elif has_axis and type_of(value).shape[axis] not in (1, size):
                whole.pinned = True  # the result is this value's broadcast
        for value, value_axis in axes.items():
            self._merge(whole, self._put(value, value_axis))

    def _merge(self, whole: Group, part: Group) -> None:
        if part is whole:
            return
        whole.axes |= part.axes
        whole.readers += part.readers
        whole.pinned |= part.pinned
        for value in part.axes:
            self.groups[value] = whole


def _keeps_channels(op: Operation) -> bool:
    match op:
        case PoolOp():
            return True
        case ReduceOp():
            kept = op.kind.data in ("mean", "max", "min", "sum") and not {0, 1} & set(values(op.axes))
            return kept and type_of(op.input).rank > 2
        case ReshapeOp():  # [N, C, 1, 1] ⇒ [N, C]
            x, y = type_of(op.input).shape, type_of(op.result).shape
            return len(y) >= 2 and len(x) >= 2 and x[:2] == y[:2] and all(dim == 1 for dim in (*x[2:], *y[2:]))
    return False


Known: TypeAlias = "tuple[np.ndarray, np.ndarray]"
"""Which channels are constant, and their values there."""


class Constants:
    """The channels of all grouped values that do not depend on the function's inputs."""

    def __init__(self, model: Model, groups: Sequence[Group]):
        self._weights: WeightStore = model.weights
        self._axes = {value: axis for group in groups for value, axis in group.axes.items()}
        self._known: dict[SSAValue, Known] = {}
        for op in model.main.body.block.ops:
            found = self._visit(op)
            if found is not None and np.isfinite(found[1][found[0]]).all():
                self._known[op.results[0]] = found

    def of(self, value: SSAValue, axis: int) -> Known:
        """Which channels of `value` along `axis` are constant, and the values there."""
        if value in self._known and self._axes[value] == axis:
            return self._known[value]
        size = fixed(type_of(value).shape[axis])
        return np.zeros(size, bool), np.zeros(size, type_of(value).dtype)

    def _visit(self, op: Operation) -> Known | None:
        if not op.results or op.results[0] not in self._axes or type_of(op.results[0]).rank == 0:
            return None
        axis, result = self._axes[op.results[0]], type_of(op.results[0])
        size = result.shape[axis]
        if not isinstance(size, int):
            return None  # pinned, for channels are counted before the run
        if isinstance(op, Contraction) and (mixes_channels(op) or is_depthwise(op)):
            accumulated = (self._zero_outputs(op, size), np.zeros(size, result.dtype))
            operands = [accumulated, *(self._operand(extra, axis, size, result.rank) for extra in op.extras)]
        elif isinstance(op, MapOp):
            operands = [self._operand(value, axis, size, result.rank) for value in op.inputs]
        elif _keeps_channels(op):
            return self._passed_on(op)
        else:
            return None
        mask = np.logical_and.reduce([known for known, _ in operands])
        yielded = evaluate_region(op.regions[0], [np.broadcast_to(numbers, size) for _, numbers in operands])[0]
        return mask, np.broadcast_to(yielded, size)

    def _operand(self, value: SSAValue, axis: int, size: int, rank: int) -> Known:
        array = constant(value, self._weights)
        if array is None:
            same = type_of(value).rank >= -axis and type_of(value).shape[axis] == size
            return self.of(value, axis) if same else (np.zeros(size, bool), np.zeros(size, type_of(value).dtype))
        vector = channel_vector(array, rank, rank + axis, size)
        return (np.zeros(size, bool), np.zeros(size, array.dtype)) if vector is None else (np.ones(size, bool), vector)

    def _zero_outputs(self, op: Contraction, size: int) -> np.ndarray:
        """Which outputs are 0 before the epilogue: all their weights, or what these are multiplied with, are 0."""
        view = grouped(op, weight_of(op, self._weights))
        used = (view != 0).any(axis=tuple(range(3, view.ndim)))  # [groups, outputs, inputs]
        known, numbers = self.of(op.lhs, channel_axis(op))
        zero = (known & (numbers == 0)).reshape(used.shape[0], 1, used.shape[2])
        return ~(used & ~zero).any(axis=2).reshape(size)

    def _passed_on(self, op: Operation) -> Known:
        """A pool, a reduction or a reshape of a constant image; only 0 survives sums and averages over padding."""
        known, numbers = self.of(op.operands[0], 1 - type_of(op.operands[0]).rank)
        pads = isinstance(op, PoolOp) and op.kind.data == "average" and any(values(op.pads))
        if pads or (isinstance(op, ReduceOp) and op.kind.data == "sum"):
            known = known & (numbers == 0)
        return known, numbers
