"""Per-channel scales and shifts, as batch normalisation leaves them, go into weights and biases.

    %y = sp.conv(%x, @w) {acc}                          ⇒  %z = sp.conv(%x, @w · s, @t) {acc + t}
    %z = sp.map(%y, @s, @t) {y * s + t}

    %y = sp.map(%x, @s, @t) {x * s + t}                 ⇒  %z = sp.conv(%x, @w · s, @u) {acc + u}
    %z = sp.conv(%y, @w) {acc}, without padding            with u = Σ w · t

    sp.map(sp.map(%x, @s, @t) {x * s + t}, @u) {x * u}  ⇒  sp.map(%x, @s · u, @t · u) {x * s + t}

Any map that is affine in its one input counts, and any epilogue that is affine in its accumulator. Rows and columns of
a weight are multiplied, so its zeros stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.ir import (
    Contraction,
    ConvOp,
    ConvTransposeOp,
    MapOp,
    MatmulOp,
    WeightOp,
    YieldOp,
    identity_region,
    type_of,
)
from sparsec.ir.dims import fixed
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.base import Pass, channel_vector, constants, like, name_of, only_user, rebuild
from sparsec.passes.contractions import (
    add_first,
    affine_epilogue,
    bias_operand,
    grouped,
    has_weight,
    per_output,
    ungrouped,
    weight_of,
)
from sparsec.passes.regions import Affine, Number, affine
from sparsec.target import Target
from sparsec.weights import WeightStore


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        PatternRewriteWalker(MergeAffine(model.weights)).rewrite_module(model.module)
        PatternRewriteWalker(FoldBehind(model.weights)).rewrite_module(model.module)
        PatternRewriteWalker(FoldAhead(model.weights)).rewrite_module(model.module)


@dataclass
class MergeAffine(RewritePattern):
    """Two affine maps, one after the other, are one scale and one shift."""

    weights: WeightStore

    def match_and_rewrite(self, op, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp) or (after := _affine_map(op, self.weights)) is None:
            return
        producer = after[0].owner
        if not isinstance(producer, MapOp) or only_user(producer.result) is not op:
            return
        if (before := _affine_map(producer, self.weights)) is None:
            return
        (_, second), (source, first) = after, before
        numbers = (second.scale * first.scale, second.scale * first.shift + second.shift)
        if sum(map(np.size, numbers)) > sum(array.size for array in _constants_of(op, producer, weights=self.weights)):
            return
        dtype = type_of(source).dtype
        new = [self.weights.add(f"{name_of(op)}.affine", np.asarray(number, dtype)) for number in numbers]
        merged = MapOp([source, *(weight.result for weight in new)], _scale_and_shift(type_of(source).element))
        rewriter.replace(op, [*new, like(merged, op)])
        rewriter.erase(producer)


@dataclass
class FoldBehind(RewritePattern):
    """An affine map of a contraction's result scales the outputs of its weight."""

    weights: WeightStore

    def match_and_rewrite(self, op, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp) or (found := _affine_map(op, self.weights)) is None:
            return
        source, after = found
        producer = source.owner
        if not isinstance(producer, Contraction) or not has_weight(producer) or only_user(source) is not op:
            return
        before = affine_epilogue(producer, self.weights)
        if before is None:
            return
        scale = per_output(producer, after.scale * before.scale)
        shift = per_output(producer, after.scale * before.shift + after.shift)
        if scale is None or shift is None or not np.isfinite([scale, shift]).all():
            return
        weight = _scaled(producer, scale, self.weights, "outputs")
        epilogue = identity_region([type_of(producer.lhs).element])
        bare = rebuild(producer, rhs=weight.result, extras=[], epilogue=epilogue)
        _replace(op, bare, weight, shift, self.weights, rewriter)
        rewriter.erase(producer)


@dataclass
class FoldAhead(RewritePattern):
    """An affine map that one contraction alone reads scales the inputs of its weight."""

    weights: WeightStore

    def match_and_rewrite(self, op, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConvOp | ConvTransposeOp | MatmulOp) or not has_weight(op):
            return
        producer = op.lhs.owner
        if not isinstance(producer, MapOp) or not op.lhs.has_one_use() or (isinstance(op, MatmulOp) and op.transpose_a):
            return
        if (found := _affine_map(producer, self.weights)) is None:
            return
        source, before = found
        scale, shift = _per_input(op, before.scale), _per_input(op, before.shift)
        if scale is None or shift is None or not np.isfinite([scale, shift]).all():
            return
        if shift.any() and not _reads_whole_windows(op):
            return  # the padding is zero after the shift, not before
        view = grouped(op, weight_of(op, self.weights))
        total = view.reshape(*view.shape[:3], -1).sum(-1, dtype=np.float64) @ shift.reshape(view.shape[0], -1, 1)
        weight = _scaled(op, scale, self.weights, "inputs")
        _replace(op, rebuild(op, lhs=source, rhs=weight.result), weight, total.reshape(-1), self.weights, rewriter)
        rewriter.erase(producer)


def _affine_map(op: MapOp, weights: WeightStore) -> tuple[SSAValue, Affine] | None:
    """The one input of `op` that is no weight, and what `op` does to it where that is affine and keeps the shape."""
    inputs = {value for value in op.inputs if not isinstance(value.owner, WeightOp)}
    if len(inputs) != 1 or type_of(source := inputs.pop()).dims != type_of(op.result).dims:
        return None
    if list(op.inputs).count(source) > 1 or type_of(source).element != type_of(op.result).element:
        return None
    found = affine(op.body, list(op.inputs).index(source), constants(op.inputs, weights))
    return found and (source, found)


def _constants_of(*ops: MapOp, weights: WeightStore) -> list[np.ndarray]:
    return [array for op in ops for array in constants(op.inputs, weights).values()]


def _scale_and_shift(element: Attribute) -> Region:
    """(x, s, t) → x · s + t"""
    block = Block(arg_types=[element] * 3)
    x, scale, shift = block.args
    scaled = arith.MulfOp(x, scale)
    shifted = arith.AddfOp(scaled.result, shift)
    block.add_ops([scaled, shifted, YieldOp(shifted.result)])
    return Region(block)


def _per_input(op: Contraction, number: Number) -> np.ndarray | None:
    x = type_of(op.lhs)
    axis = x.rank - 1 if isinstance(op, MatmulOp) else 1
    return channel_vector(np.asarray(number), x.rank, axis, fixed(x.shape[axis]))


def _reads_whole_windows(op: Contraction) -> bool:
    return isinstance(op, MatmulOp) or (isinstance(op, ConvOp) and not any(values(op.pads)))


def _scaled(op: Contraction, scale: np.ndarray, weights: WeightStore, side: str) -> WeightOp:
    """The weight of `op` with its outputs or inputs multiplied; the same weight where all factors are 1."""
    old = op.rhs.owner
    assert isinstance(old, WeightOp), "checked by has_weight"
    if (scale == 1).all():
        return WeightOp(old.key, type_of(op.rhs))
    view = grouped(op, weights.of(old))
    factors = scale.astype(view.dtype).reshape(view.shape[0], -1)
    factors = factors[:, :, None] if side == "outputs" else factors[:, None, :]
    new = ungrouped(op, view * factors.reshape(*factors.shape, *(1,) * (view.ndim - 3)))
    return weights.add(f"{name_of(op, 1)}.scaled", new)


def _replace(
    op, new: Contraction, weight: WeightOp, shift: np.ndarray, weights: WeightStore, rewriter: PatternRewriter
) -> None:
    """Put `new`, plus `shift` where there is one, in the place of `op`."""
    if not shift.any():
        rewriter.replace(op, [weight, new])
        return
    bias = bias_operand(new, shift, weights)
    extras, epilogue = add_first(new, bias.result)
    shifted = rebuild(new, extras=extras, epilogue=epilogue)
    new.erase()
    rewriter.replace(op, [weight, bias, shifted])
