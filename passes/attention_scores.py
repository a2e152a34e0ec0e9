"""From the softmax of an attention up to its product: the maps between as one region, and masks as small as they are.

sp.expand(%mask) [B, 1, 1, Sk] to [B, 1, Sq, Sk]              ⇒  %mask
sp.map(sp.expand(%mask))                                      ⇒  sp.map(%mask)
sp.map(%padding [B, 1, 1, Sk], %causal [Sq, Sk]) {select …}   ⇒  two operands, the map in the region
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import ExpandOp, MapOp, MatmulOp, ReshapeOp, WeightOp, YieldOp, type_of
from sparsec.ir.dims import Dim, product
from sparsec.ir.ops import identity_region
from sparsec.ir.shapes import broadcast
from sparsec.passes.base import like, name_of
from sparsec.passes.regions import (
    compose,
    drop_arguments,
    drop_unused_arguments,
    inline,
    is_scalar_type,
    merge_arguments,
    too_long,
)
from sparsec.weights import WeightStore

Shape = tuple[Dim, ...]


@dataclass
class Scores:
    """A region over the product of queries and keys, which is its first input, and other inputs.

    The maps see the scores in shapes [B, H, Sq, Sk] or [B·H, Sq, Sk]: `views` has that to which an input broadcasts.
    """

    matmul: MatmulOp
    inputs: list[SSAValue]
    region: Region
    views: dict[SSAValue, Shape]


def scores_of(value: SSAValue) -> Scores | None:
    """The maps from a product to `value`; neither has another reader."""
    shape, link = type_of(value).shape, value
    inputs, region = [value], identity_region([type_of(value).element])
    views: dict[SSAValue, Shape] = {}
    while not isinstance(owner := link.owner, MatmulOp):
        if link.uses.get_length() != 1 or not isinstance(owner, MapOp | ReshapeOp):
            return None
        below = _below(owner, shape)
        if below is None or (isinstance(owner, MapOp) and too_long(region, owner.body)):
            return None
        if isinstance(owner, MapOp):
            if any(views.setdefault(x, shape) != shape for x in owner.inputs if x is not below):
                return None
            inputs, region = compose(region, inputs, owner.body, owner.inputs, link=link)
        else:
            inputs = [below if x is link else x for x in inputs]
            shape = type_of(below).shape
        link = below
    if link.uses.get_length() != 1 or not leads_to_product(link) or owner.extras:
        return None
    inputs, region = compose(region, inputs, owner.epilogue, [link], link=link)
    return Scores(owner, *_product_first(inputs, region, link), views) if link in inputs else None


def _below(op: MapOp | ReshapeOp, shape: Shape) -> SSAValue | None:
    """The operand of `op` that comes from the product, if one does."""
    if isinstance(op, ReshapeOp):
        before = type_of(op.input).shape
        same = len(before) in (3, 4) and before[-2:] == shape[-2:] and product(before[:-2]) == product(shape[:-2])
        return op.input if same and leads_to_product(op.input) else None
    found = {x for x in op.inputs if type_of(x).shape == shape and leads_to_product(x)}
    return found.pop() if len(found) == 1 else None


def leads_to_product(value: SSAValue) -> bool:
    """Whether `value` is a product of two activations, or comes from one by maps and views without other readers."""
    owner = value.owner
    if isinstance(owner, MatmulOp):
        return type_of(owner.rhs).rank > 2 or not isinstance(owner.rhs.owner, WeightOp)
    if not isinstance(owner, MapOp | ReshapeOp) or value.uses.get_length() != 1:
        return False
    size = product(type_of(value).shape)
    return any(product(type_of(x).shape) == size and leads_to_product(x) for x in owner.operands)


def _product_first(inputs: list[SSAValue], region: Region, link: SSAValue) -> tuple[list[SSAValue], Region]:
    """With `link`, the product, as the region's first argument."""
    order = [link, *(x for x in inputs if x is not link)]
    types = dict(zip(inputs, region.block.arg_types, strict=True))
    block = Block(arg_types=[types[x] for x in order])
    arguments = dict(zip(order, block.args, strict=True))
    block.add_op(YieldOp(inline(region.block, [arguments[x] for x in inputs], block)))
    return order, Region(block)


@dataclass
class Shrinker:
    """Values with axes of 1 wherever all elements along an axis are equal, as far as their producers show it."""

    weights: WeightStore
    before: Operation

    def shrink(self, value: SSAValue) -> SSAValue:
        """A value that broadcasts to `value`: of the same rank, or less."""
        owner = value.owner
        match owner:
            case ExpandOp():
                return self.shrink(owner.input)
            case WeightOp():
                return self._weight(owner)
            case MapOp():
                return self._map(owner)
            case ReshapeOp():
                return self._reshape(owner)
        return value

    def _weight(self, op: WeightOp) -> SSAValue:
        array = small = self.weights.of(op)
        if array.size > 1 << 24 or not array.size:
            return op.result
        for axis in range(array.ndim):
            first = small.take([0], axis)
            if small.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, small.shape), small, equal_nan=True):
                small = first
        if small.shape == array.shape:
            return op.result
        return self._insert(self.weights.add(f"{name_of(op) or op.key}.small", np.ascontiguousarray(small)), op)

    def _map(self, op: MapOp) -> SSAValue:
        inputs = [self.shrink(x) for x in op.inputs]
        shape = type_of(op.result).shape
        if product(broadcast(*(type_of(x).shape for x in inputs))) == product(shape):
            return op.result
        return self._insert(MapOp(inputs, op.body.clone()), op)

    def _reshape(self, op: ReshapeOp) -> SSAValue:
        """Axes of 1 that are put in or left out."""
        small = self.shrink(op.input)
        wide, shape = type_of(op.input).shape, type_of(op.result).shape
        if small is op.input or [d for d in wide if d != 1] != [d for d in shape if d != 1]:
            return op.result
        sizes = (1,) * (len(wide) - type_of(small).rank) + type_of(small).shape
        kept = iter(size for size, dim in zip(sizes, wide, strict=True) if dim != 1)
        return self._insert(ReshapeOp(small, [1 if dim == 1 else next(kept) for dim in shape]), op)

    def _insert(self, op: Operation, old: Operation) -> SSAValue:
        """`op` before the softmax, standing for what `old` does."""
        Rewriter.insert_op(like(op, old), InsertPoint.before(self.before))
        return op.results[0]


def with_small_masks(scores: Scores, shrinker: Shrinker) -> Scores:
    """Inputs shrunk; a map of masks that is larger than what it is made of goes into the region."""
    inputs, region, views = list(scores.inputs), scores.region, dict(scores.views)
    done: set[SSAValue] = {inputs[0]}
    while (link := next((x for x in inputs if x not in done), None)) is not None:
        small, view = shrinker.shrink(link), views[link]
        if small is not link:
            inputs, region = merge_arguments(region, [small if x is link else x for x in inputs])
        owner = small.owner
        whole = isinstance(owner, MapOp) and _is_outer(owner) and not too_long(region, owner.body)
        if isinstance(owner, MapOp) and whole and all(views.get(x, view) == view for x in owner.inputs):
            inputs, region = compose(region, inputs, owner.body, owner.inputs, link=small)
            views.update(dict.fromkeys(owner.inputs, view))
        else:
            done.add(small)
            views[small] = view
    order, region = _product_first(inputs, region, scores.inputs[0])
    numbers = {
        i: shrinker.weights.of(x.owner).reshape(())
        for i, x in enumerate(order)
        if isinstance(x.owner, WeightOp) and product(type_of(x).shape) == 1 and is_scalar_type(type_of(x).element)
    }
    region = drop_arguments(region, numbers)
    others = [x for i, x in enumerate(order) if i not in numbers]
    extras, region = drop_unused_arguments(region, others[1:], 1)
    return Scores(scores.matmul, [others[0], *extras], region, views)


def _is_outer(op: MapOp) -> bool:
    """Whether a map has more elements than all that it is made of."""
    return bool(op.inputs) and all(_is_smaller(type_of(x).shape, type_of(op.result).shape) for x in op.inputs)


def _is_smaller(shape: Shape, result: Shape) -> bool:
    sizes = (1,) * (len(result) - len(shape)) + shape
    return any(size == 1 and whole != 1 for size, whole in zip(sizes, result, strict=True))
