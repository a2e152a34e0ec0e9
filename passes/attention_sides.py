"""Queries, keys and values as a graph has them: scaled, turned, heads repeated; and how to write them in token form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import ExpandOp, MapOp, ReshapeOp, TransposeOp, type_of
from sparsec.ir.dims import Dim
from sparsec.ir.ops import values
from sparsec.passes.base import constants, like
from sparsec.passes.rearrange import Rearrangement
from sparsec.passes.regions import affine
from sparsec.weights import WeightStore

_LAST_TWO = (0, 1, 3, 2)


@dataclass
class Side:
    """Queries, keys or values [B, H, S, D]; where `turned`, `value` is [B, H, D, S]."""

    value: SSAValue
    turned: bool

    @property
    def shape(self) -> tuple[Dim, Dim, Dim, Dim]:
        *lead, rows, columns = type_of(self.value).shape
        return (*lead, columns, rows) if self.turned else (*lead, rows, columns)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class SideWriter:
    """Inserts ops before `before`, with the name of the op `named`."""

    weights: WeightStore
    named: Operation
    before: Operation

    def unscaled(self, side: Side) -> tuple[Side, float]:
        """Without the numbers by which the elements are multiplied, before or after transposes."""
        moved: list[TransposeOp] = []
        value, scale = side.value, 1.0
        while True:
            owner = value.owner
            if isinstance(owner, TransposeOp):
                moved.append(owner)
                value = owner.input
            elif (found := self._factor(owner)) is not None:
                value, scale = found[0], scale * found[1]
            else:
                break
        if scale == 1.0:
            return side, 1.0
        for op in reversed(moved):
            value = self.insert(TransposeOp(value, values(op.perm)))
        return Side(value, side.turned), scale

    def _factor(self, op: object) -> tuple[SSAValue, float] | None:
        """What `op` multiplies, and by which number."""
        if not isinstance(op, MapOp) or len(op.inputs) > 2 or type_of(op.result).element != f32:
            return None
        known = constants(op.inputs, self.weights)
        whole = [i for i in range(len(op.inputs)) if i not in known]
        if len(whole) != 1 or any(array.size != 1 for array in known.values()):
            return None
        found = affine(op.body, whole[0], {i: array.reshape(()) for i, array in known.items()})
        if found is None or np.ndim(found.scale) or np.any(found.shift) or not np.isfinite(found.scale):
            return None
        value = op.inputs[whole[0]]
        return (value, float(found.scale)) if type_of(value).shape == type_of(op.result).shape else None

    def unrepeated(self, side: Side, heads: Dim) -> Side:
        """Without the expand that repeats each head of keys or values for several of queries."""
        value, turned = side.value, side.turned
        while isinstance(value.owner, TransposeOp) and values(value.owner.perm) == _LAST_TWO:
            value, turned = value.owner.input, not turned
        joined = value.owner
        wide = joined.input.owner if isinstance(joined, ReshapeOp) else None
        if not isinstance(wide, ExpandOp) or type_of(value).shape[1] != heads:
            return side
        before, after = type_of(wide.input).shape, type_of(wide.result).shape
        sizes = [pair for pair in zip(before, after, strict=False) if pair[1] != 1]
        repeats = next((new for old, new in sizes if old != new), 1)
        if len(before) != len(after) or not isinstance(heads, int) or not isinstance(repeats, int):
            return side
        b, _, rows, columns = type_of(value).shape
        groups = heads // repeats
        wanted = [(b, b), (groups, groups), (1, repeats), (rows, rows), (columns, columns)]
        if sizes != [pair for pair in wanted if pair[1] != 1]:
            return side
        return Side(self.view(wide.input, (b, groups, rows, columns)), turned)

    def tokens(self, side: Side) -> SSAValue:
        """[B, H, S, D] as [1, H·D, B·S, 1]."""
        b, heads, length, depth = side.shape
        turned = self.insert(TransposeOp(side.value, (1, 2, 0, 3) if side.turned else (1, 3, 0, 2)))
        return self.insert(ReshapeOp(turned, [1, heads * depth, b * length, 1]))

    def view(self, value: SSAValue, shape: tuple[Dim, ...]) -> SSAValue:
        return value if type_of(value).shape == shape else self.insert(ReshapeOp(value, shape))

    def insert(self, op: Operation) -> SSAValue:
        Rewriter.insert_op(like(op, self.named), InsertPoint.before(self.before))
        return op.results[0]


def heads_of(value: SSAValue) -> tuple[Dim, Dim] | None:
    """B and H of [B·H, S, D], as the reshapes and transposes before it tell."""
    found = Rearrangement.of(value)
    grouped = found.grouped() if found else None
    sizes = [factor.size for factor in grouped[1][0] if factor.size != 1] if grouped else []
    return (sizes[0], sizes[1]) if len(sizes) == 2 else None
