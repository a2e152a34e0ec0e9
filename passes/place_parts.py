"""Concatenations of channels without copies: who makes an input writes it where it lies in the result.

    %a = sp.conv(%x, @w)          ⇒   %a = sp.conv(%x, @w) : !sp.tensor<[…], f32, #sp.panel<…, pitch = 12288>>
    %b = sp.conv(%a, @v)              %b = sp.conv(%a, @v) : !sp.tensor<[…], f32, #sp.panel<…, pitch = 12288>>
    %c = sp.concat(%a, %b)            %c = sp.concat(%a, %b) {inside = array<i64: 0, 1>}

A slice of channels likewise lies inside its input (`sp.slice {inside}`). Panels hold all channels of some rows, so the
panels of a part are as far apart as those of the whole, which its type says, and which the kernels of its maker and of
all its readers must take: those of f32 artifacts. Parts of images of one panel lie as they would anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import UnitAttr, f32
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, OpResult, SSAValue

from sparsec.ir import ConcatOp, PanelAttr, ReshapeOp, SliceOp, WeightOp, type_of
from sparsec.ir.dims import ceildiv, fixed
from sparsec.ir.ops import INSIDE, inputs_inside, ints, values
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.target import Target

Homes = dict[SSAValue, tuple[SSAValue, int]]
"""For each part the value that it lies in, and the first of its channels there."""


@dataclass(frozen=True)
class PlaceParts(Pass):
    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "which kernels take parts is the target's"
        ops = [op for op in model.main.body.block.ops if not isinstance(op, WeightOp)]
        homes = _wanted(ops)
        if homes:
            wanted = list(homes)
            _set_types(wanted, homes)
            while refused := next(_refused(ops, homes, target), None):
                for value in refused:
                    del homes[value]
                _set_types(wanted, homes)
            _mark(ops, homes)


def home(value: SSAValue) -> tuple[SSAValue, int] | None:
    """The value that `value` lies in, and how many bytes behind its beginning; None for one with memory of its own."""
    panel = type_of(value).panel
    if panel is None:
        return None
    if isinstance(value.owner, SliceOp) and INSIDE in value.owner.attributes:
        return value.owner.input, 4 * panel.stride * values(value.owner.starts)[1]
    for use in value.uses:
        if isinstance(use.operation, ConcatOp) and use.index in inputs_inside(use.operation):
            return use.operation.result, 4 * panel.stride * _channels(use.operation.inputs[: use.index])
    return None


def _wanted(ops: Sequence[Operation]) -> Homes:
    """All parts that could lie inside others, as far as their makers and readers do not matter."""
    homes: Homes = {}
    for op in ops:
        if isinstance(op, SliceOp) and _is_of_channels(op) and _can_lie_inside(op.result):
            homes[op.result] = op.input, values(op.starts)[1]
    for op in ops:
        if not isinstance(op, ConcatOp) or not _in_panels(op.result) or op.axis.value.data != 1:
            continue
        for index, value in enumerate(op.inputs):
            if value not in homes and _can_lie_inside(value) and list(op.inputs).count(value) == 1:
                homes[value] = op.result, _channels(op.inputs[:index])
    return homes


def _is_of_channels(op: SliceOp) -> bool:
    """Whether a slice keeps whole images and pixels, and channels that follow one another."""
    x, y = type_of(op.input), type_of(op.result)
    same = _in_panels(op.input) and (x.shape[0], *x.shape[2:]) == (y.shape[0], *y.shape[2:])
    return same and all(step == 1 for step in values(op.steps)) and not isinstance(op.input.owner, ReshapeOp)


def _can_lie_inside(value: SSAValue) -> bool:
    reshaped = any(isinstance(use.operation, ReshapeOp | ReturnOp) for use in value.uses)
    return isinstance(value, OpResult) and not isinstance(value.owner, ReshapeOp) and _in_panels(value) and not reshaped


def _in_panels(value: SSAValue) -> bool:
    type_ = type_of(value)
    return type_.panel is not None and not type_.panel.pairs and type_.element == f32


def _channels(parts: Sequence[SSAValue]) -> int:
    return sum(fixed(type_of(part).shape[1]) for part in parts)


def _set_types(parts: Sequence[SSAValue], homes: Mapping[SSAValue, tuple[SSAValue, int]]) -> None:
    """Tells each part how far apart the panels are of the value in which it lies in the end."""
    for value in parts:
        type_, panel = type_of(value), type_of(value).panel
        assert panel is not None, "parts are in panels"
        panels = type_.shape[0] * ceildiv(type_.shape[2], panel.rows)
        whole = value
        while whole in homes:
            whole, _ = homes[whole]
        pitch = _channels([whole]) * panel.stride if whole is not value and panels != 1 else 0
        value._type = type_.with_encoding(PanelAttr(replace(panel, pitch=pitch)))  # in place: tried again and again


def _refused(ops: Sequence[Operation], homes: Homes, target: Target) -> Iterator[list[SSAValue]]:
    """For an op whose kernels do not run so: the one part that stands in the way, or else all of its parts."""
    for op in ops:
        parts = [value for value in dict.fromkeys((*op.results, *op.operands)) if value in homes]
        apart = [value for value in parts if _pitch(value)]
        if not apart or target.takes_parts(op):
            continue
        for value in apart:
            type_ = type_of(value)
            value._type = type_.with_encoding(_dense(value))
            alone = target.takes_parts(op)
            value._type = type_
            if alone:
                yield [value]
                break
        else:
            yield apart


def _pitch(value: SSAValue) -> int:
    panel = type_of(value).panel
    return panel.pitch if panel else 0


def _dense(value: SSAValue) -> PanelAttr:
    panel = type_of(value).panel
    assert panel is not None, "parts are in panels"
    return PanelAttr(replace(panel, pitch=0))


def _mark(ops: Sequence[Operation], homes: Homes) -> None:
    """Writes on slices and concatenations which parts lie inside."""
    for op in ops:
        if isinstance(op, SliceOp) and homes.get(op.result, (None, 0))[0] is op.input:
            op.attributes[INSIDE] = UnitAttr()
        elif isinstance(op, ConcatOp):
            inside = [i for i, value in enumerate(op.inputs) if homes.get(value, (None, 0))[0] is op.result]
            if inside:
                op.attributes[INSIDE] = ints(inside)
