"""Tiles of keys that a padding mask leaves nothing of: they are left out at run time, where that changes no result.

A tile is dead if the scores of its keys are below −1e29 for every product of query and key up to 1e20, while another
key's are above −1e25: its powers are then 0 in f32. That is asked of the region itself, at both ends of the products,
between which it is monotonic: masks that are added, selected, or of any form that only these operations have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.attention.scores import Extra
from sparsec.targets.kernels.region import Body

PRODUCTS, DEAD, ALIVE = 1e20, -1e29, -1e25
INF = float("inf")
_MONOTONIC = {"arith.addf", "arith.subf", "arith.mulf", "arith.maximumf", "arith.minimumf", "arith.negf", "math.tanh"}


@dataclass(frozen=True)
class Padding:
    """The test of tiles for a score whose operands differ by key, and none by query."""

    score: Body
    extras: tuple[Extra, ...]
    keys: Dim

    @classmethod
    def of(cls, score: Body, extras: tuple[Extra, ...], keys: Dim, tile: int) -> Padding | None:
        """The test, where the score has such a mask and there is more than one tile."""
        by_key = any(extra.by_key for extra in extras) and not any(extra.by_query for extra in extras)
        several = not isinstance(keys, int) or keys > tile
        return cls(score, extras, keys) if by_key and several and is_monotonic(score) else None

    def some_alive(self, b: Builder, refs: list[Ref]) -> Value:
        """Whether a key of the sequence is alive."""
        return self._largest(b, refs, 0, self.keys, b.min) > ALIVE

    def alive(self, b: Builder, refs: list[Ref], first: Index, count: Index) -> Value:
        """Whether keys of a tile may be."""
        return self._largest(b, refs, first, count, b.max) > DEAD

    def _largest(
        self, b: Builder, refs: list[Ref], first: Index, count: Index, end: Callable[[Value, Value], Value]
    ) -> Value:
        """The largest of the keys' scores, each the one or the other `end` of what products make of it."""
        lanes = b.isa.lanes
        moved = [ref + first if extra.by_key else ref for extra, ref in zip(self.extras, refs, strict=True)]

        def bound(key: Index, vector: bool) -> Value:
            operands = [
                b.vload(ref, key) if extra.by_key and vector else b.load(ref, key if extra.by_key else 0)
                for extra, ref in zip(self.extras, moved, strict=True)
            ]
            width = lanes if vector else None
            ends = [
                self.score.emit(b, [b.constant(product, "f32", width), *operands])[0]
                for product in (PRODUCTS, -PRODUCTS)
            ]
            return end(*ends)

        wide = [b.constant(-INF, "f32", lanes)]
        whole = count // lanes * lanes
        if not (isinstance(whole, int) and whole == 0):
            with b.loop(0, whole, lanes, carry=wide) as key:
                wide[0] = b.max(wide[0], bound(key, True))
        single = [b.reduce("max", wide[0])]
        if not (isinstance(count, int) and isinstance(whole, int) and count == whole):
            with b.loop(whole, count, carry=single) as key:
                single[0] = b.max(single[0], bound(key, False))
        return single[0]


def is_monotonic(score: Body) -> bool:
    """Whether the score rises or falls with the product, whatever the other operands are."""
    block = score.region.block
    follows: set[SSAValue] = {block.args[0]}
    for op in block.ops:
        count = sum(operand in follows for operand in op.operands)
        if op.name == "sp.yield" or not count:
            continue
        if not _is_monotonic(op, follows, count):
            return False
        follows |= set(op.results)
    return True


def _is_monotonic(op: Operation, follows: set[SSAValue], count: int) -> bool:
    match op.name:
        case "arith.select":
            return op.operands[0] not in follows
        case "arith.divf":
            return count == 1 and op.operands[0] in follows
    return op.name in _MONOTONIC and count == 1
