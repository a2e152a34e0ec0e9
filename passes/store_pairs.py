"""Values between kernels of bf16 lie in memory as bf16, in the pairs of channels that products read.

    %y = sp.conv(%x, @w)    ⇒   %y = sp.conv(%x, @w) : !sp.tensor<[…], f32, #sp.panel<rows = 2, stride = 112, pairs>>
    %z = sp.conv(%y, @v)        %z = sp.conv(%y, @v)

A value is kept so where the kernels of its producer and of all its readers take it so. They move half the bytes, and
1×1 convolutions multiply it where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from sparsec.ir import PanelAttr, SpOp, WeightOp, type_of
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.target import Target


@dataclass(frozen=True)
class StorePairs(Pass):
    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "which kernels take pairs is the target's"
        ops = [op for op in model.main.body.block.ops if not isinstance(op, WeightOp)]
        chosen: set[SSAValue] = {value for op in ops for value in op.results if _fits(value)}
        while refused := [value for op in ops for value in _refused(op, chosen, target)]:
            chosen.difference_update(refused)
        for value in chosen:
            panel = type_of(value).panel
            assert panel is not None, "only values in panels fit"
            encoding = PanelAttr(replace(panel, pairs=True))
            Rewriter.replace_value_with_new_type(value, type_of(value).with_encoding(encoding))


def _fits(value: SSAValue) -> bool:
    """Whether pairs can hold the value: f32 in panels, and an even number of channels."""
    type_ = type_of(value)
    return type_.panel is not None and type_.element == f32 and type_.shape[1] % 2 == 0


def _refused(op: Operation, chosen: set[SSAValue], target: Target) -> list[SSAValue]:
    """The chosen values that `op` cannot take in pairs: those that it would not take alone, if it does not take all."""
    images = [value for value in dict.fromkeys((*op.operands, *op.results)) if value in chosen]
    if not images or (isinstance(op, SpOp) and target.takes_pairs(op, images)):
        return []
    return [value for value in images if not isinstance(op, SpOp) or not target.takes_pairs(op, [value])]
