"""The pairs that an attention keeps by its constant masks and by patterns, as blocks; and its scores without them.

Masks are looked at a stripe of queries at a time, so that none is made that is not there: maps of constants, such as a
comparison of positions, become part of the region of scores first, also where they join masks that a run gives.

Where a run gives masks, only −inf leaves a pair out: finite ones may all be added to the scores of a query, which then
shares its weight among all keys, as a row of padding in a batch does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from io import StringIO

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Region, SSAValue
from xdsl.printer import Printer
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.interpreter import evaluate_op
from sparsec.ir import AttentionOp, MapOp, SpOp, WeightOp, YieldOp, type_of
from sparsec.masks import BlockMask
from sparsec.passes.base import like, name_of
from sparsec.passes.known_scores import Known, Uniform, evaluate, simplified, unknown
from sparsec.passes.regions import inline
from sparsec.patterns import Pattern, by_heads, describe, mask_of
from sparsec.weights import WeightStore

_MOST_MADE = 1 << 30  # bytes of a constant that is computed from others to be looked at


@dataclass(frozen=True)
class Found:
    """The kept pairs, also in words; the operands and the region of the scores with what masks leave of them."""

    mask: BlockMask
    words: str
    extras: list[SSAValue]
    score: Region


class ConstantMasks:
    """Finds masks, once for all attentions that share them."""

    def __init__(self, weights: WeightStore):
        self._weights = weights
        self._arrays: dict[SSAValue, np.ndarray | None] = {}
        self._stored: dict[int, SSAValue] = {}
        self._found: dict[Hashable, tuple[BlockMask, dict[int, np.ndarray], str] | None] = {}

    def find(self, op: AttentionOp, tile: tuple[int, int], patterns: Sequence[Pattern] = ()) -> Found | None:
        """The kept pairs by the constants of `op` and by the patterns of its heads; None where all are kept."""
        extras, score = list(op.extras), op.score.clone()
        while (place := self._map_to_inline(extras)) is not None:
            extras, score = _inlined(extras, score, place)
        key = (tile, tuple(patterns), op.shape, tuple(extras), _text(score))
        if key not in self._found:
            self._found[key] = self._look(op, tile, patterns, extras, score)
        found = self._found[key]
        if found is None:
            return None
        mask, numbers, words = found
        scalars = _scalars(score)
        return Found(mask, words, extras, simplified(score, {scalars[i]: number for i, number in numbers.items()}))

    def weight(self, mask: BlockMask, op: AttentionOp) -> SSAValue:
        """The weight that a found mask is, which comes before the first attention that asks for it."""
        if id(mask) not in self._stored:
            weight = like(self._weights.add_mask(f"{name_of(op)}.mask", mask), op)
            Rewriter.insert_op(weight, InsertPoint.before(op))
            self._stored[id(mask)] = weight.result
        return self._stored[id(mask)]

    def _look(
        self,
        op: AttentionOp,
        tile: tuple[int, int],
        patterns: Sequence[Pattern],
        extras: Sequence[SSAValue],
        score: Region,
    ) -> tuple[BlockMask, dict[int, np.ndarray], str] | None:
        heads, queries, keys = (int(size) for size in op.shape.scores[1:])  # pyright: ignore[reportArgumentType]
        arrays = [self._mask(extra, (heads, queries, keys)) for extra in extras]
        asked = mask_of(patterns, queries, keys, tile) if patterns else None
        words = by_heads(map(str, patterns))
        if all(array is None for array in arrays):
            return None if asked is None else (asked, {}, words)
        stripes = _Stripes(score, arrays, asked, keys)
        count = max([1, *(array.shape[0] for array in arrays if array is not None)])
        mask = BlockMask.build((max(count, asked.shape[0] if asked else 1), queries, keys), tile, stripes.rows)
        if stripes.undecided:
            return None if asked is None else (asked, {}, words)
        if not stripes.found and asked is None:
            return None
        scalars = {value: index for index, value in enumerate(_scalars(score))}
        numbers = {scalars[value]: number for value, number in stripes.uniform.numbers.items() if number is not None}
        return mask, numbers, words if asked is not None and asked.same(mask) else describe(mask)

    def _mask(self, value: SSAValue, shape: tuple[int, int, int]) -> np.ndarray | None:
        """A constant as [1 or heads, 1 or queries, 1 or keys], if it is one and alike for all sequences."""
        array = self._constant(value)
        if array is None:
            return None
        array = array.reshape((1,) * (4 - array.ndim) + array.shape) if array.ndim < 4 else array
        return array[0] if array.shape[0] == 1 else None

    def _map_to_inline(self, extras: Sequence[SSAValue]) -> int | None:
        """The first operand that is a map of constants, and of other values that do not differ by query and key."""
        return next((place for place, value in enumerate(extras) if self._can_inline(value)), None)

    def _can_inline(self, value: SSAValue) -> bool:
        owner = value.owner
        if not isinstance(owner, MapOp) or not any(self._is_constant(x) or self._can_inline(x) for x in owner.inputs):
            return False
        return all(self._is_constant(x) or self._can_inline(x) or _is_small(x) for x in owner.inputs)

    def _is_constant(self, value: SSAValue) -> bool:
        owner = value.owner
        if isinstance(owner, WeightOp):
            return True
        return isinstance(owner, SpOp) and bool(owner.operands) and all(map(self._is_constant, owner.operands))

    def _constant(self, value: SSAValue) -> np.ndarray | None:
        """What `value` is, if it follows from weights alone and is not too large."""
        if value not in self._arrays:
            self._arrays[value] = self._evaluate(value) if self._is_constant(value) else None
        return self._arrays[value]

    def _evaluate(self, value: SSAValue) -> np.ndarray | None:
        owner = value.owner
        if isinstance(owner, WeightOp):
            return self._weights.of(owner)
        assert isinstance(owner, SpOp), "see _is_constant"
        try:
            size = np.prod(type_of(value).static_shape, dtype=np.int64) * type_of(value).dtype.itemsize
        except ValueError:  # a symbolic size
            return None
        operands = [self._constant(x) for x in owner.operands]
        if size > _MOST_MADE or any(operand is None for operand in operands):
            return None
        results = evaluate_op(owner, [x for x in operands if x is not None], self._weights)
        return results[list(owner.results).index(value)]  # pyright: ignore[reportArgumentType]


class _Stripes:
    """The kept pairs of some queries after others, and what is seen on the way."""

    def __init__(self, score: Region, arrays: Sequence[np.ndarray | None], asked: BlockMask | None, keys: int):
        self.score, self.arrays, self.asked, self.keys = score, arrays, asked, keys
        self.open = any(array is None for array in arrays)
        self.uniform = Uniform({})
        self.found = False
        self.undecided = False
        """Whether a query keeps no key, and scores of finite masks alone would share it among them."""

    def rows(self, first: int, count: int) -> np.ndarray:
        """[heads, count, keys], true where a pair is kept."""
        arrays = zip(self.score.block.args, (None, *self.arrays), strict=True)
        arguments = [_stripe(argument, array, first, count) for argument, array in arrays]
        values = evaluate(self.score, arguments)
        last = self.score.block.last_op
        assert last is not None, "a region ends in sp.yield"
        score = values[last.operands[0]]
        asked = np.ones((1, 1, 1), np.bool_) if self.asked is None else self.asked.rows(first, count)
        low = score.low & (score.value == -np.inf) if self.open else score.low
        low = np.broadcast_to(low, np.broadcast_shapes(low.shape, (1, count, self.keys)))
        kept = ~low & asked
        finite = low & (score.value > -np.inf) & asked
        self.found |= bool(low.any())
        self.undecided |= bool((finite.any(axis=2) & ~kept.any(axis=2)).any())
        self.uniform.add(values, kept)
        return kept


def _text(region: Region) -> str:
    """The same for regions that say the same."""
    stream = StringIO()
    Printer(stream).print_region(region)
    return stream.getvalue()


def _is_small(value: SSAValue) -> bool:
    """Whether an operand is the same for all queries or for all keys."""
    return 1 in (1, 1, *type_of(value).shape)[-2:]


def _stripe(argument: SSAValue, array: np.ndarray | None, first: int, count: int) -> Known:
    if array is None:
        return unknown(argument)
    return Known.of(array if array.shape[1] == 1 else array[:, first : first + count])


def _scalars(region: Region) -> list[SSAValue]:
    """All scalars of a region, in order."""
    return [*region.block.args, *(result for op in region.block.ops for result in op.results)]


def _inlined(extras: Sequence[SSAValue], score: Region, place: int) -> tuple[list[SSAValue], Region]:
    """The region with the map behind an operand inside it, and its operands: the map's inputs come last."""
    map_ = extras[place].owner
    assert isinstance(map_, MapOp), "see _constant_map"
    rest = [value for index, value in enumerate(extras) if index != place]
    types = [type_of(value).element for value in (*rest, *map_.inputs)]
    block = Block(arg_types=[f32, *types])
    inner = inline(map_.body.block, block.args[1 + len(rest) :], block)
    arguments: list[SSAValue] = list(block.args[: 1 + len(rest)])
    arguments.insert(1 + place, inner)
    block.add_op(YieldOp(inline(score.block, arguments, block)))
    return [*rest, *map_.inputs], Region(block)
