"""A map of a contraction's result moves into the contraction's epilogue.

    %b = sp.conv(%a, @w1)                            ⇒   %c = sp.conv(%a, @w1, @bias, %x) {max(acc + bias + x, 0)}
    %c = sp.map(%b, @bias, %x) {max(b + bias + x, 0)}

The map's other inputs must be scalars, one number per output ([M, 1, 1], for matmul [M]) or of the result's shape
(residuals). Where a map reads several contractions (the two branches of a residual block), it joins the one at the end
of the longest path, so that the short branch is done when the long one needs it; of equal ones, the one that the others
gate with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from sparsec.ir import Contraction, MapOp, ReshapeOp, WeightOp, type_of
from sparsec.ir.dims import product
from sparsec.model import Model
from sparsec.passes.base import Pass, only_user, rebuild
from sparsec.passes.contractions import bias_shape, outputs_axis
from sparsec.passes.regions import compose, too_long
from sparsec.target import Target
from sparsec.zeros import factor_path


@dataclass(frozen=True)
class FuseEpilogues(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        ops = list(model.main.body.block.ops)
        depths: dict[Operation, int] = {}
        for op in ops:
            sources = [value.owner for value in op.operands if isinstance(value.owner, Operation)]
            depths[op] = 1 + max((depths[source] for source in sources), default=0)
        for op in ops:
            if isinstance(op, MapOp):
                _fuse(op, depths)


def _fuse(op: MapOp, depths: dict[Operation, int]) -> None:
    """Move `op` into the deepest contraction among its inputs that takes it."""
    producers = [value.owner for value in dict.fromkeys(op.inputs) if isinstance(value.owner, Contraction)]
    fitting = [producer for producer in producers if _fits(producer, op)]
    if not fitting:
        return
    producer = max(fitting, key=lambda found: (depths[found], _is_gated(found, op)))
    names = [producer.result, *producer.extras]
    inputs, region = compose(op.body, op.inputs, producer.epilogue, names, link=producer.result)
    made = [_canonical(value, producer) for value in inputs[1:]]
    reshapes = [value for value in made if isinstance(value, ReshapeOp)]
    extras = [value.result if isinstance(value, ReshapeOp) else value for value in made]
    new = rebuild(producer, extras=extras, epilogue=region)
    depths[new] = depths[op]
    # In the map's place every operand is there; the producer's own place may be too early.
    Rewriter.replace_op(op, [*reshapes, new])
    Rewriter.erase_op(producer)


def _is_gated(producer: Contraction, op: MapOp) -> bool:
    """Whether the map is zero where its other inputs say, so that the kernel of `producer` can leave those out."""
    return factor_path(op.body, op.inputs, list(op.inputs).index(producer.result)) is not None


def _fits(producer: Contraction, op: MapOp) -> bool:
    if only_user(producer.result) is not op or type_of(producer.result) != type_of(op.result):
        return False
    if too_long(op.body, producer.epilogue):
        return False
    others = [value for value in op.inputs if value is not producer.result]
    return all(_is_per_output(value, producer) or type_of(value).shape == type_of(op.result).shape for value in others)


def _is_per_output(value: SSAValue, producer: Contraction) -> bool:
    """Whether `value` is one number, or one for each output."""
    shape, result = type_of(value).shape, type_of(producer.result)
    axis = outputs_axis(producer) - (result.rank - len(shape))
    return all(dim == 1 for i, dim in enumerate(shape) if i != axis)


def _canonical(value: SSAValue, producer: Contraction) -> SSAValue | ReshapeOp:
    """`value` as [M, 1, 1] (or [M]) where it is one number an output in another shape, as it is otherwise."""
    size = product(type_of(value).shape)
    if not _is_per_output(value, producer) or not isinstance(size, int) or size == 1:
        return value
    if type_of(value).shape == type_of(producer.result).shape and not isinstance(value.owner, WeightOp):
        return value
    shape = bias_shape(producer, size)
    return value if type_of(value).shape == shape else ReshapeOp(value, shape)
