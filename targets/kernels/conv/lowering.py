"""From `sp.conv` to a kernel of the table and packed weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from xdsl.ir import Operation

from sparsec.ir import ConvOp, WeightOp, node_name, type_of
from sparsec.ir.ops import KERNEL
from sparsec.target import Candidate
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra
from sparsec.targets.kernels.conv.table import BF16_ROWS, DENSE, ROWS
from sparsec.targets.kernels.region import Body, element
from sparsec.weights import WeightStore


def accepts(op: Operation) -> bool:
    """Whether this is a 2-D f32 convolution by constant weights, not depthwise, with an epilogue that we can run."""
    if not isinstance(op, ConvOp) or type_of(op.lhs).rank != 4 or not isinstance(op.rhs.owner, WeightOp):
        return False
    types = [type_of(value) for value in (op.lhs, op.rhs, op.result)]
    if any(element(type_.element) != "f32" for type_ in types) or op.groups.value.data == types[0].shape[1] != 1:
        return False
    return all(isinstance(dim, int) for type_ in types for dim in type_.shape) and _extras(op) is not None


def takes_panels(op: Operation) -> bool:
    """These kernels read and write panels wherever they run at all."""
    return accepts(op)


def candidates(op: ConvOp, weights: WeightStore, target: Any) -> list[Candidate]:
    """The dense kernel and the sparse ones, by predicted time on the target's best instruction set."""
    weight, shape = op.rhs.owner, ConvShape.of(op)
    assert isinstance(weight, WeightOp), "accepts() asked for constant weights"
    array, body = weights[weight.key], Body.of(op.epilogue)
    offered = {**ROWS, **BF16_ROWS} if target.precision == "bf16" else ROWS
    rows = [row for row in offered.values() if row.fits(shape)]
    found = [_candidate(row.kernel(shape, (), body), row, array, target) for row in rows]
    return sorted(found, key=lambda candidate: candidate.seconds)


def _candidate(kernel: ConvKernel, row: Row, weight: np.ndarray, target: Any) -> Candidate:
    events = kernel.events(target.isas[0], target.cost.caches, weight)
    parts = {name: target.cost.seconds({name: count}) for name, count in events.items()}
    most = max(parts, key=lambda name: parts[name])
    seconds = sum(parts.values())
    reason = f"{parts[most] / seconds:.0%} of the time is {most}" if seconds else ""
    return Candidate(row.name, row.format(kernel.shape), seconds, reason)


def lower(op: ConvOp, weights: WeightStore) -> list[Call]:
    """One call: source, packed weights, operands of the epilogue, result. The kernel is the one that `op` names."""
    chosen = op.attributes.get(KERNEL)
    rows = {**ROWS, **BF16_ROWS}
    return [call(op, weights, rows[chosen.data] if chosen is not None else DENSE)]  # type: ignore[attr-defined]


def call(op: ConvOp, weights: WeightStore, row: Row) -> Call:
    """The call of the kernel that `row` stands for."""
    shape, extras = ConvShape.of(op), _extras(op)
    if extras is None:
        raise ValueError(f"no kernel runs the epilogue of {node_name(op)}")
    weight = op.rhs.owner
    assert isinstance(weight, WeightOp), "accepts() asked for constant weights"
    kernel = row.kernel(shape, extras, Body.of(op.epilogue))
    arguments = (op.lhs, packing(kernel, weight.key, weights[weight.key]), *op.extras, op.result)
    return Call(kernel, arguments, (len(arguments) - 1,))


def packing(kernel: ConvKernel, key: str, weight: np.ndarray) -> Packed:
    """The constant `key` as the kernel reads it."""
    return Packed(f"{kernel.layout}:{key}", partial(kernel.pack, weight))


def _extras(op: ConvOp) -> tuple[Extra, ...] | None:
    """The operands of the epilogue; None where one cannot be read."""
    try:
        return tuple(Extra.of(value, op) for value in op.extras)
    except ValueError:
        return None
