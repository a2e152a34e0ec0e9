"""Chains of reshapes and transposes in normal form: one reshape, one transpose, one reshape.

    sp.transpose(sp.reshape(sp.transpose(%x)))           ⇒  sp.reshape(sp.transpose(sp.reshape(%x))), or sp.reshape(%x)
    sp.slice(sp.transpose(sp.reshape(%x))) of a factor   ⇒  sp.transpose(sp.reshape(sp.slice(%x)))

Sizes are factored as far as the chain asks for: [S, H·D] seen as [S, H, D] has the factors S, H and D, and a transpose
permutes factors. Symbols are factors like numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from sparsec.ir import ReshapeOp, SliceOp, TransposeOp, type_of
from sparsec.ir.dims import Dim, floordiv, product
from sparsec.ir.ops import values
from sparsec.passes.base import like


@dataclass(frozen=True, eq=False)
class Factor:
    """A part of a size, told from others of the same size by its identity."""

    size: Dim


Factors = tuple[Factor, ...]


@dataclass(frozen=True)
class Rearrangement:
    """What a chain does: `source` are the factors of each axis of its input, `order` those of its result, in memory.

    `shape` is that of the result, whatever the factors. The chain begins at the value `begin` and has `transposes`.
    """

    source: tuple[Factors, ...]
    order: Factors
    shape: tuple[Dim, ...]
    begin: SSAValue = field(compare=False)
    transposes: int

    @classmethod
    def of(cls, value: SSAValue) -> Rearrangement | None:
        """The longest chain of reshapes and transposes up to `value` that sizes have factors for; None without any."""
        chain: list[Operation] = []
        while isinstance(value.owner, ReshapeOp | TransposeOp):
            chain.append(value.owner)
            value = value.owner.input
        found = cls.nothing(value)
        for op in reversed(chain):
            if isinstance(op, ReshapeOp):
                found = replace(found, shape=type_of(op.result).shape)
            elif isinstance(op, TransposeOp):
                found = found.transposed(values(op.perm)) or cls.nothing(op.result)
        return found if chain and 0 not in found.shape else None

    @classmethod
    def nothing(cls, value: SSAValue) -> Rearrangement:
        """The chain of no ops."""
        shape = type_of(value).shape
        source = tuple((Factor(size),) for size in shape)
        return cls(source, tuple(factor for (factor,) in source), shape, value, 0)

    def transposed(self, perm: Sequence[int]) -> Rearrangement | None:
        """With the axes of the result in another order; None where they are no products of factors."""
        grouped = self.grouped()
        if grouped is None:
            return None
        whole, groups = grouped
        order = tuple(factor for axis in perm for factor in groups[axis])
        shape = tuple(self.shape[axis] for axis in perm)
        return replace(whole, order=order, shape=shape, transposes=self.transposes + 1)

    def grouped(self) -> tuple[Rearrangement, list[Factors]] | None:
        """The same with its factors split where axes of the result begin and end, and the factors of each axis."""
        rest, whole = list(self.order), self
        groups: list[Factors] = []
        for size in self.shape:
            group: list[Factor] = []
            while size != 1:
                if not rest:
                    return None
                factor = rest.pop(0)
                if (left := _divide(size, factor.size)) is not None:
                    group.append(factor)
                    size = left
                elif (inner := _divide(factor.size, size)) is not None:
                    parts = Factor(size), Factor(inner)
                    whole = whole.split(factor, parts)
                    group.append(parts[0])
                    rest.insert(0, parts[1])
                    size = 1
                else:
                    return None
            groups.append(tuple(group))
        return whole, groups

    def split(self, factor: Factor, parts: Factors) -> Rearrangement:
        """With `parts` in the place of `factor`."""
        return replace(
            self,
            source=tuple(_replaced(axis, factor, parts) for axis in self.source),
            order=_replaced(self.order, factor, parts),
        )

    def ops(self, value: SSAValue) -> list[Operation]:
        """The normal form, applied to `value`, which has the factors of `source`: one op at least."""
        runs = self._runs()
        source = sorted(runs, key=lambda run: self._place(run[0]))
        made: list[Operation] = []
        if source != runs:
            sizes = tuple(map(_size, source))
            if sizes != type_of(value).shape:
                made.append(ReshapeOp(value, sizes))
                value = made[-1].results[0]
            made.append(TransposeOp(value, [source.index(run) for run in runs]))
            value = made[-1].results[0]
        if not made or type_of(value).shape != self.shape:
            made.append(ReshapeOp(value, self.shape))
        return made

    def _place(self, factor: Factor) -> int:
        return [other for axis in self.source for other in axis].index(factor)

    def _runs(self) -> list[Factors]:
        """The factors of the result, those together that follow one another in the source; sizes of 1 left out."""
        flat = [factor for axis in self.source for factor in axis if factor.size != 1]
        runs: list[Factors] = []
        for factor in self.order:
            if factor.size == 1:
                continue
            place = flat.index(factor)
            if runs and place and flat[place - 1] is runs[-1][-1]:
                runs[-1] = (*runs[-1], factor)
            else:
                runs.append((factor,))
        return runs


def _size(factors: Factors) -> Dim:
    return product(factor.size for factor in factors)


def _divide(size: Dim, divisor: Dim) -> Dim | None:
    """The quotient where it is exact."""
    if size == divisor:
        return 1
    quotient = floordiv(size, divisor)
    return quotient if quotient * divisor == size else None


def _replaced(factors: Factors, old: Factor, new: Factors) -> Factors:
    return tuple(part for factor in factors for part in (new if factor is old else (factor,)))


class OneTranspose(RewritePattern):
    """Transposes with reshapes between them become one, or none."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if isinstance(op, TransposeOp) and (found := Rearrangement.of(op.result)) and found.transposes > 1:
            rewriter.replace(op, [like(new, op) for new in found.ops(found.begin)])


class SliceFirst(RewritePattern):
    """A slice of what a transpose moved is taken before, so that less is moved: query, key and value of one product."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        found = Rearrangement.of(op.input) if isinstance(op, SliceOp) else None
        if not isinstance(op, SliceOp) or found is None or not found.transposes:
            return
        grouped = found.grouped()
        cut = [axis for axis, size in enumerate(found.shape) if type_of(op.result).shape[axis] != size]
        if grouped is None or len(cut) != 1 or any(step != 1 for step in values(op.steps)):
            return
        whole, groups = grouped
        axis = cut[0]
        factors = [factor for factor in groups[axis] if factor.size != 1]
        if len(factors) != 1:
            return
        start, size = values(op.starts)[axis], type_of(op.result).shape[axis]
        if (part := _sliced(whole, factors[0], start, size, type_of(op.result).shape)) is None:
            return
        first, rest = part
        new = [first, *rest.ops(first.result)]
        rewriter.replace(op, [like(made, op) for made in new])


def _sliced(
    whole: Rearrangement, factor: Factor, start: int, size: Dim, shape: tuple[Dim, ...]
) -> tuple[SliceOp, Rearrangement] | None:
    """The slice of the chain's input that has `size` of a factor, the outermost of its axis, and the rest."""
    axis = next(i for i, factors in enumerate(whole.source) if factor in factors)
    factors = [other for other in whole.source[axis] if other.size != 1]
    inner = _size(tuple(factors[1:]))
    if factors[0] is not factor or not isinstance(inner, int):
        return None
    before = type_of(whole.begin).shape
    starts = [start * inner if i == axis else 0 for i in range(len(before))]
    sizes = [size * inner if i == axis else dim for i, dim in enumerate(before)]
    part = replace(whole.split(factor, (Factor(size),)), shape=shape)
    return SliceOp(whole.begin, starts, [1] * len(before), sizes), part
