"""From `sp.conv` to a kernel of the table and packed weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation, SSAValue

from sparsec.ir import ConvOp, PoolOp, WeightOp, node_name, type_of
from sparsec.ir.dims import NotFixed
from sparsec.ir.ops import KERNEL
from sparsec.target import Candidate
from sparsec.targets.kernels import ways as ways_of
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.conv.grid import STEP, Grid
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, PairedExtra
from sparsec.targets.kernels.conv.table import DENSE, row_named, rows_of, variants
from sparsec.targets.kernels.region import Body, element
from sparsec.targets.kernels.ways import Way
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


def takes_pairs(op: Operation, values: Collection[SSAValue]) -> bool:
    """Whether the chosen kernel takes these, its source, its result or whole operands of the epilogue, in pairs."""
    assert isinstance(op, ConvOp)
    row, reads = _row(op), op.lhs in values
    if reads and (not row.reads_pairs or Grid(ConvShape.of(op)).unfolded):
        return False
    others = {value for value in (*op.extras, op.result) if value in values}
    return not others or row.writes_pairs


def candidates(op: ConvOp, weights: WeightStore, target: Any) -> list[Candidate]:
    """The kernels of the table, and others that were measured: the dense one and the sparse ones, best first."""
    measured = target.measured.rows if target.measured else ()
    rows = [row for name, row in variants(target.precision).items() if name in measured]
    return ways_of.candidates(_ways(op, weights, target, rows), target)


def ways(op: ConvOp, weights: WeightStore, target: Any) -> list[Way]:
    """Every kernel that runs `op`: those of the table first, then the variants that tuning may choose."""
    return _ways(op, weights, target, variants(target.precision).values())


def _ways(op: ConvOp, weights: WeightStore, target: Any, others: Iterable[Row]) -> list[Way]:
    """The kernels of the table's rows and of `others` that run `op`."""
    weight, shape, extras, body = op.rhs.owner, ConvShape.of(op), _extras(op) or (), Body.of(op.epilogue)
    assert isinstance(weight, WeightOp), "accepts() asked for constant weights"
    array, table = weights[weight.key], rows_of(target.precision)
    rows = {**table, **{row.name: row for row in others}}
    paired = _in_pairs(op, shape, extras) if target.precision == "bf16" else (shape, extras)
    found: list[Way] = []
    for name, row in rows.items():
        if not row.fits(shape) or not row.suits(target.isas[0]):
            continue
        kernel, sizes = row.kernel(shape, extras, body), (row.kind, row.sizes, name in table)
        expected = row.kernel(*paired, body) if row.reads_pairs and row.writes_pairs else kernel
        found.append(Way(name, row.format(shape), kernel, array, *sizes, expected))
    return found


def _in_pairs(op: ConvOp, shape: ConvShape, extras: tuple[Extra, ...]) -> tuple[ConvShape, tuple[Extra, ...]]:
    """The sizes as they will be if the kernels around take pairs, too: that is known once all are chosen.

    Without this, layers of few products are sparse f32, which write and read twice the bytes: ResNet-50 with 90 %
    zeros took 11.4 ms instead of 9.9. But fewer channels than a step of products takes leave most of it empty, and
    their layers run in chains, to which bytes matter less: MobileNetV2 would take 1.92 ms instead of 1.79.
    """
    if min(shape.channels, shape.outputs) < 2 * STEP:
        return shape, extras
    source, target = (planes.kept(_may_pair(x)) for planes, x in ((shape.source, op.lhs), (shape.target, op.result)))
    pairs = [extra.full and _may_pair(value) for value, extra in zip(op.extras, extras, strict=True)]
    kept = (PairedExtra("i32", 0, 0, True) if pair else extra for extra, pair in zip(extras, pairs, strict=True))
    return replace(shape, source=source, target=target), tuple(kept)


def _may_pair(value: SSAValue) -> bool:
    """Whether there may be kernels on all sides that take the value in pairs."""
    type_, around = type_of(value), [value.owner, *(use.operation for use in value.uses)]
    return type_.panel is not None and type_.shape[1] % 2 == 0 and all(isinstance(x, ConvOp | PoolOp) for x in around)


def takes_parts(op: Operation) -> bool:
    """Values that lie inside others are read and written where they are."""
    return True


def lower(op: ConvOp, weights: WeightStore) -> list[Call]:
    """One call: source, packed weights, operands of the epilogue, result. The kernel is the one that `op` names."""
    return [call(op, weights, _row(op))]


def _row(op: ConvOp) -> Row:
    chosen = op.attributes.get(KERNEL)
    return row_named(chosen.data) if isinstance(chosen, StringAttr) else DENSE


def call(op: ConvOp, weights: WeightStore, row: Row) -> Call:
    """The call of the kernel that `row` stands for."""
    shape, extras = ConvShape.of(op), _extras(op)
    if shape.sized and not row.sized:
        raise NotFixed(f"{row.name} takes numbers of tokens only")
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
