"""Ops that only move elements cancel out, combine, or become a reshape, which costs nothing.

    sp.transpose(sp.transpose(%x))              ⇒  one sp.transpose, or %x
    sp.transpose(%x) of axes of size 1          ⇒  sp.reshape(%x)
    sp.reshape(sp.reshape(%x))                  ⇒  sp.reshape(%x)
    sp.concat(sp.slice(%x)…) of all of %x       ⇒  %x
    sp.slice(sp.concat(%a, %b)) of %b           ⇒  %b
    sp.conv(sp.pad(%x))                         ⇒  sp.conv(%x) with larger pads
    sp.gather(%x, evenly spaced weights)        ⇒  sp.slice(%x)
    sp.map(sp.expand(%x), %y)                   ⇒  sp.map(%x, %y) where %y has the result's shape
    sp.reshape(sp.transpose(sp.reshape(%x)))    ⇒  sp.gather(%x, @channels) where only channels are shuffled
    sp.transpose(sp.reshape(sp.transpose(%x)))  ⇒  one transpose at most (passes/rearrange.py)

A reshape is free, its result is its input's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.ir import (
    ConcatOp,
    ConvOp,
    ExpandOp,
    GatherOp,
    MapOp,
    PadOp,
    ReduceOp,
    RelayoutOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    WeightOp,
    type_of,
)
from sparsec.ir.dims import Dim
from sparsec.ir.ops import ints, values
from sparsec.ir.shapes import broadcast
from sparsec.model import Model
from sparsec.passes.base import Pass, constant, like, name_of
from sparsec.passes.rearrange import OneTranspose, SliceFirst
from sparsec.target import Target
from sparsec.weights import WeightStore


@dataclass(frozen=True)
class SimplifyMovement(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        patterns: list[RewritePattern] = [
            NoChange(),
            Chains(),
            TransposeIsReshape(),
            ConcatOfSlices(),
            SliceOfConcat(),
            PadIntoConv(),
            GatherIsSlice(model.weights),
            ExpandIntoMap(),
            ShuffleIsGather(model.weights),
            OneTranspose(),
            SliceFirst(),
        ]
        PatternRewriteWalker(GreedyRewritePatternApplier(patterns)).rewrite_module(model.module)


class NoChange(RewritePattern):
    """An op whose result is its input."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if _changes_nothing(op):
            rewriter.replace(op, [], [op.operands[0]])


def _changes_nothing(op: Operation) -> bool:
    match op:
        case ReshapeOp() | ExpandOp() | RelayoutOp():
            return op.operands[0].type == op.results[0].type
        case TransposeOp():
            return values(op.perm) == tuple(range(len(values(op.perm))))
        case ConcatOp():
            return len(op.inputs) == 1
        case SliceOp():
            same = op.input.type == op.result.type
            return same and not any(values(op.starts)) and all(step == 1 for step in values(op.steps))
        case PadOp():
            return not any((*values(op.low), *values(op.high)))
        case ReduceOp() if op.kind.data in ("sum", "prod", "max", "min", "mean"):
            return op.input.type == op.result.type and all(type_of(op.input).shape[a] == 1 for a in values(op.axes))
    return False


class Chains(RewritePattern):
    """Two of a kind become one."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        inner = op.operands[0].owner if op.operands else None
        match op, inner:
            case ReshapeOp(), ReshapeOp():
                rewriter.replace(op, like(ReshapeOp(inner.input, type_of(op.result).shape), op))
            case ExpandOp(), ExpandOp():
                rewriter.replace(op, like(ExpandOp(inner.input, type_of(op.result).shape), op))
            case RelayoutOp(), RelayoutOp():
                rewriter.replace(op, like(RelayoutOp(inner.input, type_of(op.result).encoding), op))
            case TransposeOp(), TransposeOp():
                perm = [values(inner.perm)[axis] for axis in values(op.perm)]
                rewriter.replace(op, like(TransposeOp(inner.input, perm), op))
            case SliceOp(), SliceOp():
                rewriter.replace(op, like(_slice_of_slice(op, inner), op))


def _slice_of_slice(outer: SliceOp, inner: SliceOp) -> SliceOp:
    axes = zip(values(inner.starts), values(inner.steps), values(outer.starts), strict=True)
    starts = [start + step * further for start, step, further in axes]
    steps = [a * b for a, b in zip(values(inner.steps), values(outer.steps), strict=True)]
    return SliceOp(inner.input, starts, steps, type_of(outer.result).shape)


class TransposeIsReshape(RewritePattern):
    """A transpose that keeps the order of all axes longer than 1 moves nothing in memory."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, TransposeOp):
            return
        moved = [axis for axis in values(op.perm) if type_of(op.input).shape[axis] != 1]
        if moved == sorted(moved):
            rewriter.replace(op, like(ReshapeOp(op.input, type_of(op.result).shape), op))


class ConcatOfSlices(RewritePattern):
    """Neighbouring slices of one value, put together, are one slice; an empty part is nothing."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConcatOp):
            return
        axis = op.axis.value.data
        parts = [value for value in op.inputs if type_of(value).shape[axis] != 0] or list(op.inputs[:1])
        merged = [parts[0]]
        for part in parts[1:]:
            joined = _join(merged[-1], part, axis)
            if joined is None:
                merged.append(part)
                continue
            rewriter.insert(like(joined, op))
            merged[-1] = joined.result
        if len(merged) < len(op.inputs):
            rewriter.replace(op, like(ConcatOp(merged, axis), op))


def _join(left: SSAValue, right: SSAValue, axis: int) -> SliceOp | None:
    """The slice that covers two slices of one value where the second begins as the first ends."""
    a, b = left.owner, right.owner
    if not isinstance(a, SliceOp) or not isinstance(b, SliceOp) or a.input is not b.input or a.steps != b.steps:
        return None
    size, other = type_of(left).shape[axis], type_of(right).shape[axis]
    starts = list(values(a.starts))
    if not isinstance(size, int) or not isinstance(other, int):
        return None
    starts[axis] += size * values(a.steps)[axis]
    if starts != list(values(b.starts)):
        return None
    shape = list(type_of(left).shape)
    shape[axis] = size + other
    return SliceOp(a.input, values(a.starts), values(a.steps), shape)


class SliceOfConcat(RewritePattern):
    """A slice that lies in one part of a concatenation is a slice of that part."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, SliceOp) or not isinstance(op.input.owner, ConcatOp):
            return
        whole = op.input.owner
        axis = whole.axis.value.data
        size, start, step = type_of(op.result).shape[axis], values(op.starts)[axis], values(op.steps)[axis]
        if not isinstance(size, int) or not size:
            return
        first, last = sorted((start, start + (size - 1) * step))
        begin = 0
        for part in whole.inputs:
            length = type_of(part).shape[axis]
            if not isinstance(length, int):
                return
            if begin <= first and last < begin + length:
                starts = [s - begin if i == axis else s for i, s in enumerate(values(op.starts))]
                rewriter.replace(op, like(SliceOp(part, starts, values(op.steps), type_of(op.result).shape), op))
                return
            begin += length


class PadIntoConv(RewritePattern):
    """Zeros around the image are what a convolution pads with."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConvOp) or not isinstance(pad := op.lhs.owner, PadOp):
            return
        low, high = values(pad.low), values(pad.high)
        if pad.mode.data != "constant" or pad.value.value.data or any((*low[:2], *high[:2])) or min(*low, *high) < 0:
            return
        pads = [a + b for a, b in zip(values(op.pads), (*low[2:], *high[2:]), strict=True)]
        new = op.clone()
        new.operands[0] = pad.input
        new.pads = ints(pads)
        rewriter.replace(op, new)


@dataclass
class GatherIsSlice(RewritePattern):
    """Rows at evenly spaced constant indices are a slice."""

    weights: WeightStore

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, GatherOp) or op.kind.data != "take" or isinstance(op.input.owner, WeightOp):
            return
        indices, axis = constant(op.indices, self.weights), op.axis.value.data
        shape: list[Dim] = list(type_of(op.input).shape)
        length = shape[axis]
        if indices is None or not indices.size or not isinstance(length, int):
            return
        flat = np.where(indices < 0, indices + length, indices).ravel()
        steps = np.unique(np.diff(flat)) if flat.size > 1 else np.ones(1, np.int64)
        if len(steps) != 1 or not steps[0] or flat.min() < 0 or flat.max() >= length:
            return
        shape[axis] = int(flat.size)
        starts = [int(flat[0]) if i == axis else 0 for i in range(len(shape))]
        strides = [int(steps[0]) if i == axis else 1 for i in range(len(shape))]
        part = like(SliceOp(op.input, starts, strides, shape), op)
        rewriter.replace(op, [part, like(ReshapeOp(part.result, type_of(op.result).shape), op)])


@dataclass
class ShuffleIsGather(RewritePattern):
    """Channels that are split, transposed and joined again are whole channels in another order, in any layout."""

    weights: WeightStore

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        transpose = op.input.owner if isinstance(op, ReshapeOp) else None
        split = transpose.input.owner if isinstance(transpose, TransposeOp) else None
        if not isinstance(split, ReshapeOp) or not isinstance(transpose, TransposeOp) or not isinstance(op, ReshapeOp):
            return
        shape, parts = type_of(split.input).shape, type_of(split.result).shape
        pixels = len(shape) - 2
        if pixels < 1 or type_of(op.result).shape != shape or parts[0] != shape[0] or parts[-pixels:] != shape[2:]:
            return
        channels, order = [size for size in parts[1:-pixels] if isinstance(size, int)], values(transpose.perm)
        kept = (order[0], *order[-pixels:]) == (0, *range(len(order) - pixels, len(order)))
        if not kept or len(channels) + 1 + pixels != len(order):
            return
        old = np.arange(np.prod(channels, dtype=np.int64)).reshape(channels)
        places = old.transpose([axis - 1 for axis in order[1:-pixels]]).ravel()
        indices = self.weights.add(f"{name_of(op)}.channels", places)
        rewriter.replace(op, [indices, like(GatherOp(split.input, indices.result, "take", 1), op)])


class ExpandIntoMap(RewritePattern):
    """A map broadcasts by itself, as long as another input has the full shape."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp):
            return
        for index, value in enumerate(op.inputs):
            if not isinstance(value.owner, ExpandOp):
                continue
            inputs = [value.owner.input if i == index else other for i, other in enumerate(op.inputs)]
            if broadcast(*(type_of(other).shape for other in inputs)) == type_of(op.result).shape:
                rewriter.replace(op, like(MapOp(inputs, op.body.clone()), op))
                return
