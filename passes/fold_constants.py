"""What is known at compile time is computed at compile time, in tensors and in regions of scalars.

    sp.transpose(sp.weight @w)              ⇒  sp.weight @w.1
    sp.map(%x, sp.weight @two) {x * two}    ⇒  sp.map(%x) {x * 2.0}         (a weight of equal elements)
    x * 1.0, x + 0.0, pow(x, 2.0)           ⇒  x, x, x * x
    x / 4.0, erf(x / 1.4142135)             ⇒  x * 0.25, erf(x * 0.70710677)
    sp.map(%x, %x) {a * b}                  ⇒  sp.map(%x) {a * a}
    sp.map(%x) {x}                          ⇒  %x, or sp.expand(%x) where the shape differs

Constant results above `limit` bytes are computed at run time, unless they are no larger than their operands.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.interpreter import evaluate_op, evaluate_region
from sparsec.ir import Contraction, ExpandOp, MapOp, SpOp, YieldOp, type_of
from sparsec.ir.shapes import broadcast
from sparsec.model import Model
from sparsec.passes.base import Pass, constants, like, name_of, rebuild
from sparsec.passes.regions import drop_arguments, is_scalar_type, merge_arguments, scalar
from sparsec.target import Target
from sparsec.weights import WeightStore

_UNIFORM_LIMIT = 1 << 16  # elements that are compared to find a weight of equal elements


@dataclass(frozen=True)
class FoldConstants(Pass):
    """`limit`: bytes of a constant that may be made where it is larger than what it is made of."""

    limit: int = 1 << 20

    def apply(self, model: Model, target: Target | None) -> None:
        patterns: list[RewritePattern] = [
            Evaluate(model.weights, self.limit),
            InlineScalars(model.weights),
            MergeInputs(),
            FoldScalars(),
            ScalarIdentities(),
            IdentityMap(),
        ]
        PatternRewriteWalker(GreedyRewritePatternApplier(patterns)).rewrite_module(model.module)


@dataclass
class Evaluate(RewritePattern):
    """An op of weights becomes weights."""

    weights: WeightStore
    limit: int

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, SpOp) or not op.operands or not self._is_small(op):
            return
        arrays = constants(op.operands, self.weights)
        if len(arrays) < len(op.operands):
            return
        results = evaluate_op(op, [arrays[i] for i in range(len(arrays))], self.weights)
        name = name_of(op, 0)
        new = [like(self.weights.add(name, array), op) for array in results]
        rewriter.replace(op, new, [weight.result for weight in new])

    def _is_small(self, op: Operation) -> bool:
        try:
            sizes = [[_nbytes(value) for value in values] for values in (op.operands, op.results)]
        except ValueError:  # a symbolic size
            return False
        return sum(sizes[1]) <= max(self.limit, sum(sizes[0]))


@dataclass
class InlineScalars(RewritePattern):
    """A weight of equal elements becomes a constant of the region; an input that the region ignores goes."""

    weights: WeightStore

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp | Contraction):
            return
        operands = list(op.inputs) if isinstance(op, MapOp) else [op.result, *op.extras]
        block = op.regions[0].block
        known: dict[int, np.ndarray] = {}
        for index, value in enumerate(operands):
            if value is op.result or not is_scalar_type(block.args[index].type):
                continue
            number = np.zeros(1) if not block.args[index].uses else self._number(value)
            if number is not None and self._keeps_shape(op, operands, {*known, index}):
                known[index] = number
        if not known:
            return
        rest = [value for index, value in enumerate(operands) if index not in known]
        region = drop_arguments(op.regions[0], known)
        if isinstance(op, MapOp):
            rewriter.replace(op, like(MapOp(rest, region), op))
        else:
            rewriter.replace(op, rebuild(op, extras=rest[1:], epilogue=region))

    def _number(self, value: SSAValue) -> np.ndarray | None:
        array = constants([value], self.weights).get(0)
        if array is None or not 0 < array.size <= _UNIFORM_LIMIT or (array != array.flat[0]).any():
            return None
        return array.flat[:1]

    def _keeps_shape(self, op: Operation, operands: list[SSAValue], without: set[int]) -> bool:
        if isinstance(op, Contraction):
            return True
        rest = [type_of(value).shape for index, value in enumerate(operands) if index not in without]
        return bool(rest) and broadcast(*rest) == type_of(op.results[0]).shape


class MergeInputs(RewritePattern):
    """A value that is read twice is read once."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        match op:
            case MapOp() if len(set(op.inputs)) < len(op.inputs):
                inputs, region = merge_arguments(op.body, op.inputs)
                rewriter.replace(op, like(MapOp(inputs, region), op))
            case Contraction() if len(set(op.extras)) < len(op.extras):
                inputs, region = merge_arguments(op.epilogue, [op.result, *op.extras])
                rewriter.replace(op, rebuild(op, extras=inputs[1:], epilogue=region))


class FoldScalars(RewritePattern):
    """A scalar op of constants becomes a constant."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not _is_in_region(op) or not op.operands or len(op.results) != 1:
            return
        sources = [operand.owner for operand in op.operands]
        if not all(isinstance(source, arith.ConstantOp) for source in sources) or isinstance(op, YieldOp):
            return
        if not is_scalar_type(op.results[0].type):
            return
        block = Block()
        copies = {source: source.clone() for source in dict.fromkeys(sources) if isinstance(source, Operation)}
        values = {source.results[0]: copy.results[0] for source, copy in copies.items()}
        folded = op.clone({**values})
        block.add_ops([*copies.values(), folded, YieldOp(folded.results[0])])
        number = evaluate_region(Region(block), [])[0]
        rewriter.replace(op, scalar(np.asarray(number), op.results[0].type))


class ScalarIdentities(RewritePattern):
    """Scalar ops that change nothing go; small powers become products."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not _is_in_region(op) or len(op.operands) != 2:
            return
        left, right = (_literal(operand) for operand in op.operands)
        match op, left, right:
            case (arith.AddfOp() | arith.AddiOp(), _, 0) | (arith.SubfOp() | arith.SubiOp(), _, 0):
                rewriter.replace(op, [], [op.operands[0]])
            case (arith.MulfOp() | arith.DivfOp() | arith.MuliOp() | arith.DivSIOp() | math.PowFOp(), _, 1):
                rewriter.replace(op, [], [op.operands[0]])
            case (arith.AddfOp() | arith.AddiOp(), 0, _) | (arith.MulfOp() | arith.MuliOp(), 1, _):
                rewriter.replace(op, [], [op.operands[1]])
            case math.PowFOp(), _, 2:
                rewriter.replace(op, arith.MulfOp(op.operands[0], op.operands[0]))
            case math.PowFOp(), _, 0.5:
                rewriter.replace(op, math.SqrtOp(op.operands[0]))
            case arith.DivfOp(), _, float(divisor) if abs(frexp(divisor)[0]) == 0.5:  # a power of two: exact
                _multiply(op, 1 / divisor, rewriter)
            case arith.DivfOp(), _, float(divisor) if divisor and _is_of_erf(op):  # GELU: off by 1 ULP of the argument
                _multiply(op, 1 / divisor, rewriter)


def _multiply(op: arith.DivfOp, factor: float, rewriter: PatternRewriter) -> None:
    """A product in the place of a quotient."""
    inverse = scalar(np.asarray(factor), op.results[0].type)
    rewriter.replace(op, [inverse, arith.MulfOp(op.operands[0], inverse)])


def _is_of_erf(op: Operation) -> bool:
    """Whether only error functions read the result."""
    return all(isinstance(use.operation, math.ErfOp) for use in op.results[0].uses)


class IdentityMap(RewritePattern):
    """A map that yields its input is that input, or a broadcast of it."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp) or not isinstance(op.body.block.first_op, YieldOp):
            return
        yielded = op.body.block.first_op.inputs[0]
        source = op.inputs[op.body.block.args.index(yielded)]
        if type_of(source).shape == type_of(op.result).shape:
            rewriter.replace(op, [], [source])
        else:
            rewriter.replace(op, like(ExpandOp(source, type_of(op.result).shape), op))


def _nbytes(value: SSAValue) -> int:
    type_ = type_of(value)
    return int(np.prod(type_.static_shape, dtype=np.int64)) * type_.dtype.itemsize


def _is_in_region(op: Operation) -> bool:
    return isinstance(op.parent_op(), MapOp | Contraction)


def _literal(value: SSAValue) -> float | int | None:
    match value.owner:
        case arith.ConstantOp(value=FloatAttr() | IntegerAttr() as number):
            return number.value.data
    return None
