"""Chains and trees of maps become one map, which reads its inputs once.

    %s = sp.map(%x) {1 / (1 + exp(-x))}     ⇒   %y = sp.map(%x) {x * (1 / (1 + exp(-x)))}
    %y = sp.map(%x, %s) {x * s}

    sp.map(sp.reshape(sp.conv(%x)))         ⇒   sp.reshape(sp.map(sp.conv(%x)))   (one input; transpose, slice alike)

A map goes into its one reader where both have the same shape: nothing is computed twice. A cheap map of one input that
only maps read goes into each. A map that a larger one broadcasts stays, its work would be repeated for each element.
So do two maps that would be longer than `regions.LONGEST` together.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.ir import Contraction, MapOp, ReshapeOp, SliceOp, TransposeOp, YieldOp, type_of
from sparsec.ir.dims import product
from sparsec.model import Model
from sparsec.passes.base import Pass, like
from sparsec.passes.regions import compose, too_long
from sparsec.target import Target

_COSTLY = ("math.", "arith.divf", "arith.rem", "arith.div")


@dataclass(frozen=True)
class FuseMaps(Pass):
    """`recompute`: how many cheap scalar ops a map may have to be computed again in each of its readers."""

    recompute: int = 2

    def apply(self, model: Model, target: Target | None) -> None:
        patterns: list[RewritePattern] = [FuseIntoReader(self.recompute), HoistAboveMovement()]
        PatternRewriteWalker(GreedyRewritePatternApplier(patterns)).rewrite_module(model.module)


@dataclass
class FuseIntoReader(RewritePattern):
    """Matches the reader."""

    recompute: int

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp):
            return
        for value in op.inputs:
            producer = value.owner
            if not isinstance(producer, MapOp) or type_of(value).shape != type_of(op.result).shape:
                continue
            if too_long(op.body, producer.body) or not self._is_free(producer):
                continue
            inputs, body = compose(op.body, op.inputs, producer.body, producer.inputs, link=value)
            rewriter.replace(op, like(MapOp(inputs, body), op))
            if not value.uses.get_length():
                rewriter.erase(producer)
            return

    def _is_free(self, producer: MapOp) -> bool:
        """Whether no reader but the maps that it is fused into will need the result of `producer`."""
        readers = {use.operation for use in producer.result.uses}
        if len(readers) == 1:
            return True
        shape = type_of(producer.result).shape
        alike = all(isinstance(op, MapOp) and type_of(op.result).shape == shape for op in readers)
        return alike and len(producer.inputs) == 1 and _cheap_ops(producer) <= self.recompute


def _cheap_ops(op: MapOp) -> int:
    """How many ops the body has beside constants; costly ones count as 100."""
    body = [inner for inner in op.body.block.ops if not isinstance(inner, arith.ConstantOp | YieldOp)]
    return sum(100 if inner.name.startswith(_COSTLY) else 1 for inner in body)


class HoistAboveMovement(RewritePattern):
    """A map of one input moves above ops that only move elements, up to the op whose result it can be fused with."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp) or len(op.inputs) != 1 or (chain := _movement_above(op)) is None:
            return
        mapped = like(MapOp([chain[-1].operands[0]], op.body.clone()), op)
        made: list[Operation] = [mapped]
        for old in reversed(chain):
            made.append(_move(old, made[-1].results[0]))
        rewriter.replace(op, made)
        for old in chain:
            rewriter.erase(old)


def _move(old: Operation, value: SSAValue) -> Operation:
    """The movement `old` applied to `value`, which may have another element type."""
    new = old.create(
        operands=[value],
        properties=old.properties.copy(),
        attributes=old.attributes.copy(),
        result_types=[type(type_of(value))(type_of(old.results[0]).shape, type_of(value).element)],
    )
    return new


def _movement_above(op: MapOp) -> list[Operation] | None:
    """Movement between `op` and a map or contraction, last first, where nobody else reads what lies between."""
    chain: list[Operation] = []
    value = op.inputs[0]
    while isinstance(owner := value.owner, ReshapeOp | TransposeOp | SliceOp) and value.has_one_use():
        chain.append(owner)
        value = owner.operands[0]
    if not chain or not isinstance(value.owner, MapOp | Contraction) or not value.has_one_use():
        return None
    before, after = product(type_of(value).shape), product(type_of(op.result).shape)
    wasted = before != after and not (isinstance(before, int) and isinstance(after, int) and 2 * after >= before)
    return None if wasted else chain
