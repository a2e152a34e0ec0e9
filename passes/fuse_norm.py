"""Normalisations that a model spells out become one op: layer norm and RMS norm of exporters before opset 17 and 23.

    %d = x - mean(x);  %v = mean(%d · %d)          ⇒  %y = sp.norm(%x) {center}
    %y = %d / sqrt(%v + epsilon)

    %y = x / sqrt(mean(x · x) + epsilon)           ⇒  %y = sp.norm(%x)

A product with 1 / sqrt, or with a power of -0.5, is as good as the quotient. Scale and shift stay maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.ir import MapOp, NormOp, ReduceOp, YieldOp
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.base import Pass, like
from sparsec.target import Target

Term: TypeAlias = "SSAValue | float"


@dataclass(frozen=True)
class FuseNorm(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        PatternRewriteWalker(_Fuse(), apply_recursively=False).rewrite_module(model.module)


class _Fuse(RewritePattern):
    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MapOp):
            return
        for centred, root in _quotients(op.result):
            if (found := _norm(centred, root)) is not None:
                rewriter.replace(op, like(found, op))
                return


def _norm(centred: SSAValue, variance: SSAValue) -> NormOp | None:
    """The norm that `centred` / sqrt(`variance`) is."""
    terms = _terms(variance, arith.AddfOp)
    squares, epsilon = sorted(terms, key=lambda term: isinstance(term, float)) if terms else (0.0, 0.0)
    if not isinstance(squares, SSAValue) or not isinstance(epsilon, float):
        return None
    mean = _mean(squares)
    if mean is None or _terms(mean.input, arith.MulfOp) != [centred, centred]:
        return None
    axes = values(mean.axes)
    match _terms(centred, arith.SubfOp):
        case [SSAValue() as x, SSAValue() as shift] if (
            (average := _mean(shift)) is not None and average.input is x and set(values(average.axes)) == set(axes)
        ):
            return NormOp(x, axes, epsilon, center=True)
    return NormOp(centred, axes, epsilon, center=False)


def _quotients(value: SSAValue) -> list[tuple[SSAValue, SSAValue]]:
    """Pairs of x and v where `value` is x / sqrt(v)."""
    match _terms(value, arith.DivfOp):
        case [SSAValue() as x, SSAValue() as divisor]:
            return [(x, v) for v in _arguments(divisor, math.SqrtOp)]
    match _terms(value, arith.MulfOp):
        case [SSAValue() as a, SSAValue() as b]:
            return [(x, v) for x, scale in ((a, b), (b, a)) for v in _reciprocal_root(scale)]
    return []


def _reciprocal_root(value: SSAValue) -> list[SSAValue]:
    """The v of which `value` is 1 / sqrt(v)."""
    match _terms(value, arith.DivfOp):
        case [1.0, SSAValue() as root]:
            return _arguments(root, math.SqrtOp)
    match _terms(value, math.PowFOp):
        case [SSAValue() as v, -0.5]:
            return [v]
    return _arguments(value, math.RsqrtOp)


def _arguments(value: SSAValue, kind: type[Operation]) -> list[SSAValue]:
    return [term for term in _terms(value, kind) if isinstance(term, SSAValue)]


def _mean(value: SSAValue) -> ReduceOp | None:
    """The op behind `value` where that is a mean which keeps its axes."""
    op = value.owner
    return op if isinstance(op, ReduceOp) and op.kind.data == "mean" and bool(op.keepdims) else None


def _terms(value: SSAValue, kind: type[Operation]) -> list[Term]:
    """The operands of a map of one scalar op of `kind`, numbers as they are; none where `value` is something else."""
    op = value.owner
    if not isinstance(op, MapOp):
        return []
    terms: dict[SSAValue, Term] = dict(zip(op.body.block.args, op.inputs, strict=True))
    found: list[Operation] = []
    for scalar in op.body.block.ops:
        match scalar:
            case arith.ConstantOp(value=FloatAttr() as number):
                terms[scalar.result] = number.value.data
            case YieldOp():
                pass
            case _:
                found.append(scalar)
    if len(found) != 1 or not isinstance(found[0], kind):
        return []
    return [terms[operand] for operand in found[0].operands if operand in terms]
