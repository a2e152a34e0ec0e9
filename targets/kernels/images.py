"""Kernels of fixed sizes for a number of images that only a run tells: they are written for the most that there are.

That is right where a kernel goes through images one after another: the run takes the chunks of the first ones.
"""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import Operation

from sparsec.ir import Contraction, WeightOp, type_of
from sparsec.ir.dims import Dim, NotFixed, Sym, evaluate, symbols
from sparsec.ir.ranges import Ranges, fixed_at, highest
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.table import Family
from sparsec.weights import WeightStore


def symbolic_images(op: Operation) -> Dim | None:
    """The first size of all results of `op` and of the operands that have symbols, if it is the only symbolic one."""
    leading = {type_of(result).shape[:1] for result in op.results}
    if len(leading) != 1 or () in leading:
        return None
    ((images,),), rank = leading, max(type_of(result).rank for result in op.results)
    if not isinstance(images, Sym):
        return None
    for value in (*op.results, *op.operands):
        shape = type_of(value).shape
        if any(map(symbols, shape[1:])) or (shape[:1] != (images,) and any(map(symbols, shape[:1]))):
            return None
        if shape[:1] == (images,) and type_of(value).rank < rank:
            return None  # broadcast, so that its first axis is not that of images
    computed = isinstance(op, Contraction) and not isinstance(op.rhs.owner, WeightOp)
    return None if computed else images


def by_images(op: Operation, family: Family, weights: WeightStore, ranges: Ranges) -> list[Call]:
    """The calls of `op` in a run of any number of images, if only that is symbolic and the kernels split by it."""
    images = symbolic_images(op)
    if images is None:
        return []
    most = evaluate(images, highest(ranges))
    assert isinstance(most, int), "symbols have ranges"
    with fixed_at(op, highest(ranges)):
        try:
            calls = family.lower(op, weights)
        except NotFixed:
            return []
    if not all(call.kernel.splits_by(most) for call in calls):
        return []
    return [replace(call, images=images, most_images=most) for call in calls]
