"""Products, maps, softmax and the product with values become one `sp.attention`, in token form.

    %s = sp.matmul(%q, %k) [B, H, Sq, D] × [B, H, D, Sk]     ⇒  sp.attention(tokens(%q), tokens(%k), tokens(%v), %mask)
    %m = sp.map(%s, %mask) {s · 0.125 + mask}                   {score: s · 0.125 + mask}
    %p = sp.softmax(%m) over the keys
    %y = sp.matmul(%p, %v)

`tokens` is a transpose to [H, D, B, S] and a reshape to [1, H·D, B·S, 1]; the result is turned back in the same way.
Those meet the reshapes and transposes that split and join heads, and what `tokens_innermost` inserts, and cancel.
Heads of keys and values that an expand repeats, and numbers that multiply queries or keys, are looked through. Scores
or probabilities with other readers stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import f32, i1
from xdsl.ir import Region, SSAValue

from sparsec.interpreter import evaluate_region
from sparsec.ir import (
    AttentionOp,
    MapOp,
    MatmulOp,
    ReshapeOp,
    SoftmaxOp,
    TransposeOp,
    type_of,
)
from sparsec.ir.dims import Dim
from sparsec.ir.ops import values
from sparsec.ir.scalar import region
from sparsec.model import Model
from sparsec.passes.attention_scores import Scores, Shrinker, scores_of, with_small_masks
from sparsec.passes.attention_sides import Side, SideWriter, heads_of
from sparsec.passes.base import Pass, constants
from sparsec.passes.regions import compose
from sparsec.target import Target
from sparsec.weights import WeightStore

_PROBABILITIES = np.array([np.nan, 0.0, 0.25, 1.0], np.float32)


@dataclass(frozen=True)
class FuseAttention(Pass):
    """`least`: of how many queries an attention must be; fewer leave most lanes of vectors empty."""

    least: int = 4

    def apply(self, model: Model, target: Target | None) -> None:
        for op in list(model.main.body.block.ops):
            if isinstance(op, SoftmaxOp):
                _Fusion(model.weights, op, self.least).run()


@dataclass
class _Fusion:
    """The attention around one softmax, if there is one."""

    weights: WeightStore
    softmax: SoftmaxOp
    least: int
    writer: SideWriter = field(init=False)

    def run(self) -> None:
        op, rank = self.softmax, type_of(self.softmax.input).rank
        tail = self._tail()
        scores = scores_of(op.input) if not op.log and values(op.axes) == (rank - 1,) and tail else None
        if scores is None or tail is None:
            return
        last, guard = tail
        self.writer = SideWriter(self.weights, op, last)
        if any(type_.element != f32 for type_ in map(type_of, (scores.matmul.lhs, scores.matmul.rhs, last.rhs))):
            return
        sides = self._sides(scores, last)
        if sides is None or not self._fits(*sides):
            return
        self._replace(scores, sides, last, guard)

    def _tail(self) -> tuple[MatmulOp, bool] | None:
        """The product with values, and whether NaN among the probabilities is zero there."""
        value, guard = self.softmax.result, False
        if (found := self._guarded(value)) is not None:
            value, guard = found, True
        while value.uses.get_length() == 1 and isinstance(next(iter(value.uses)).operation, ReshapeOp):
            view = next(iter(value.uses)).operation.results[0]
            if type_of(view).shape[-2:] != type_of(value).shape[-2:]:
                return None
            value = view
        if value.uses.get_length() != 1:
            return None
        user = next(iter(value.uses)).operation
        if not isinstance(user, MatmulOp) or user.lhs is not value or user.transpose_a or user.extras:
            return None
        return (user, guard) if len(list(user.epilogue.block.ops)) == 1 else None

    def _guarded(self, value: SSAValue) -> SSAValue | None:
        """What a map makes of `value`, alone or with a test of it, if that is zero for NaN and else nothing."""
        users = {use.operation for use in value.uses}
        maps = [user for user in users if isinstance(user, MapOp)]
        if len(maps) != len(users) or not 1 <= len(users) <= 2:
            return None
        *tests, choice = sorted(maps, key=lambda user: type_of(user.result).element == f32)
        inputs, body = list(choice.inputs), choice.body
        for test in tests:
            if test.result not in inputs or test.result.uses.get_length() != 1:
                return None
            inputs, body = compose(body, inputs, test.body, test.inputs, link=test.result)
        known = constants(inputs, self.weights)
        if any(x is not value and (i not in known or known[i].size != 1) for i, x in enumerate(inputs)):
            return None
        arguments = [known[i].reshape(()) if i in known else _PROBABILITIES for i in range(len(inputs))]
        (found,) = evaluate_region(body, arguments)
        wanted = np.nan_to_num(_PROBABILITIES)
        same = found.dtype == wanted.dtype and np.array_equal(np.broadcast_to(found, wanted.shape), wanted)
        return choice.result if same else None

    def _sides(self, scores: Scores, last: MatmulOp) -> tuple[Side, Side, Side] | None:
        """Queries, keys and values, of four axes."""
        first = scores.matmul
        given = [(first.lhs, bool(first.transpose_a)), (first.rhs, not first.transpose_b)]
        given.append((last.rhs, bool(last.transpose_b)))
        ranks = {type_of(value).rank for value, _ in given}
        if len(ranks) != 1 or not ranks <= {2, 3, 4}:
            return None
        if ranks == {4}:
            q, k, v = (Side(value, turned) for value, turned in given)
            return q, k, v
        if ranks == {2}:
            lead: tuple[Dim, Dim] = (1, 1)
        else:
            batches = {type_of(value).shape[0] for value, _ in given}
            if len(batches) != 1:
                return None
            seen = [view[:2] for view in (type_of(self.softmax.input).shape, *scores.views.values()) if len(view) == 4]
            lead = next(iter(seen), None) or heads_of(given[0][0]) or (1, batches.pop())  # pyright: ignore
        q, k, v = (
            Side(self.writer.view(value, (*lead, *type_of(value).shape[-2:])), turned) for value, turned in given
        )
        return q, k, v

    def _fits(self, q: Side, k: Side, v: Side) -> bool:
        """Whether batches agree, and sizes that must be numbers are."""
        (b, heads, queries, depth), (kb, kv_heads, keys, key_depth), (vb, v_heads, values_, value_depth) = (
            side.shape for side in (q, k, v)
        )
        fixed = all(isinstance(size, int) and size > 0 for size in (heads, kv_heads, depth, value_depth))
        groups = kv_heads in (1, heads) and v_heads == kv_heads
        enough = not isinstance(queries, int) or queries >= self.least
        some = 0 not in (b, queries, keys)
        return fixed and groups and enough and some and b == kb == vb and depth == key_depth and keys == values_

    def _replace(self, scores: Scores, sides: tuple[Side, Side, Side], last: MatmulOp, guard: bool) -> None:
        (q, q_scale), (keys_of_all, k_scale) = (self.writer.unscaled(side) for side in sides[:2])
        k, v = (self.writer.unrepeated(side, q.shape[1]) for side in (keys_of_all, sides[2]))
        if k.shape[1] != v.shape[1]:
            k, v = keys_of_all, sides[2]
        (b, heads, queries, _), (_, kv_heads, keys, _) = q.shape, k.shape
        small = with_small_masks(scores, Shrinker(self.weights, last))
        extras = [self._mask(x, small.views[x], (b, heads, queries, keys)) for x in small.inputs[1:]]
        if any(not _is_read(extra) for extra in extras):
            return
        score = _scaled(small.region, q_scale * k_scale)
        tokens = [self.writer.tokens(side) for side in (q, k, v)]
        made = AttentionOp(*tokens, int(heads), b, int(kv_heads), guard, extras, score)  # pyright: ignore
        self.writer.insert(made)
        depth = v.shape[3]
        parts = self.writer.insert(ReshapeOp(made.result, [heads, depth, b, queries]))
        result = self.writer.insert(TransposeOp(parts, [2, 0, 3, 1]))
        if type_of(result).shape != type_of(last.result).shape:
            result = self.writer.insert(ReshapeOp(result, type_of(last.result).shape))
        last.result.replace_all_uses_with(result)

    def _mask(self, value: SSAValue, view: tuple[Dim, ...], scores: tuple[Dim, ...]) -> SSAValue:
        """An operand of the score that broadcasts to [B, H, Sq, Sk]."""
        shape = type_of(value).shape
        if len(view) != 3 or len(shape) < 3 or shape[0] == 1:
            return value
        return self.writer.view(value, (*scores[:2], *shape[1:]))


def _scaled(score: Region, scale: float) -> Region:
    """`score` of the product times `scale`."""
    if scale == 1.0:
        return score
    first = region([f32], lambda x: x * scale)
    arguments = list(score.block.args)
    _, whole = compose(score, arguments, first, arguments[:1], link=arguments[0])
    return whole


def _is_read(extra: SSAValue) -> bool:
    """Whether kernels can: what differs by query and key must be f32 or booleans."""
    type_ = type_of(extra)
    differs = type_.rank > 1 and 1 not in type_.shape[-2:]
    return not differs or type_.element in (f32, i1)
