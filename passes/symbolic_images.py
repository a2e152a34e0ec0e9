"""Passes that arrange whole images, where only a run tells how many there are: they see the most that there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from xdsl.ir import Operation

from sparsec.ir.ranges import fixed_at, highest
from sparsec.model import Model
from sparsec.target import Target


@contextmanager
def most_images(model: Model, target: Target) -> Iterator[Collection[Operation]]:
    """The ops that go through all images one by one. Within, types have the highest sizes in place of symbols.

    Ops through which other numbers go are not among them: a run may tell them apart, though they are equal here.
    """
    ops = list(model.main.body.block.ops)
    if not model.ranges:
        yield ops
        return
    found = {op: images for op in ops if (images := target.images(op, model.weights)) is not None}
    most = max(Counter(found.values()).items(), key=lambda pair: pair[1], default=(None, 0))[0]
    with ExitStack() as stack:
        for op in ops:
            stack.enter_context(fixed_at(op, highest(model.ranges)))
        yield {op for op, images in found.items() if images == most}
