"""Equal ops on equal operands become one, whatever node they come from; so do equal scalar ops in a region.

    %a = sp.pool(%x)    ⇒    %a = sp.pool(%x)
    %b = sp.pool(%x)

All readers of %b then read %a.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import Rewriter
from xdsl.traits import is_side_effect_free
from xdsl.transforms.common_subexpression_elimination import cse

from sparsec.ir.ops import NODE
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.target import Target


@dataclass(frozen=True)
class MergeEqual(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        _merge(model.main)


def _merge(main: FuncOp) -> None:
    """xDSL's `cse` compares attributes too, so that it would keep apart what comes from different nodes."""
    known: dict[Hashable, Operation] = {}
    for op in list(main.body.block.ops):
        for region in op.regions:
            cse(region)
        if not is_side_effect_free(op) or not op.results:
            continue
        first = known.setdefault(_key(op, {}), op)
        if first is not op:
            Rewriter.replace_op(op, [], first.results)


def _key(op: Operation, numbers: dict[SSAValue, int]) -> Hashable:
    """Equal for ops that compute the same; `numbers` names the values inside the region that is walked."""
    operands = tuple(numbers.get(operand, operand) for operand in op.operands)
    attributes = frozenset((name, value) for name, value in op.attributes.items() if name != NODE)
    properties = frozenset(op.properties.items())
    regions = tuple(region_key(region) for region in op.regions)
    return op.name, operands, properties, attributes, tuple(op.result_types), regions


def region_key(region: Region) -> Hashable:
    """Equal for regions that compute the same."""
    block: Block = region.block
    numbers: dict[SSAValue, int] = {argument: argument.index for argument in block.args}
    keys: list[Hashable] = [tuple(block.arg_types)]
    for op in block.ops:
        keys.append(_key(op, numbers))
        for result in op.results:
            numbers[result] = len(numbers)
    return tuple(keys)
