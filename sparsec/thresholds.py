"""Thresholds of activations: elements of a linear layer's input count as zeros where |x| ≤ t, for all or by channel.

That changes what a model means, by as much as its user allows: TEAL (Liu et al. 2024) and R-Sparse (Zhang et al. 2025)
do it to all layers of language models, CHESS (He et al. 2024) with a threshold for each channel. In the tensor IR it is
a map before the layer, so the interpreter knows it, and kernels skip the weights of what it makes zero.

A file is .npz with an array for each node, or .json with a number, a list, or {"threshold": …, "nonzeros": …}, where
`nonzeros` is the share that is expected not to be zero; in .npz files that is the array "NODE:nonzeros".
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, f64
from xdsl.ir import Operation, SSAValue

from sparsec.errors import UsageError
from sparsec.ir import Contraction, ConvOp, MapOp, MatmulOp, WeightOp, node_name, type_of
from sparsec.ir.ops import NODE
from sparsec.ir.scalar import Scalar, region
from sparsec.ir.types import f32
from sparsec.model import Model
from sparsec.zeros import NONZEROS, THRESHOLDS

SHARE = ":nonzeros"


@dataclass(frozen=True)
class Threshold:
    """`values` is one number or one for each channel, none negative; `nonzeros` the share of elements above it."""

    values: np.ndarray
    nonzeros: float | None = None


def read(path: Path) -> dict[str, Threshold]:
    """The thresholds in a file, by node. Raises UsageError where it is not one of them."""
    if path.suffix not in (".npz", ".json") or not path.is_file():
        raise UsageError(f"{path}: not a file of thresholds (.npz or .json)")
    found = _read_json(path) if path.suffix == ".json" else _read_npz(path)
    if not found:
        raise UsageError(f"{path}: holds no thresholds")
    return {node: _checked(path, node, *entry) for node, entry in found.items()}


def as_arrays(thresholds: Mapping[str, Threshold]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of `thresholds`."""
    arrays = {node: threshold.values.astype(np.float32) for node, threshold in thresholds.items()}
    shares = {f"{node}{SHARE}": np.array(t.nonzeros) for node, t in thresholds.items() if t.nonzeros is not None}
    return {**arrays, **shares}


def linear_layers(model: Model) -> dict[str, list[Contraction]]:
    """The layers that take thresholds, by node: products of f32 and a constant matrix, 1×1 convolutions included."""
    layers: dict[str, list[Contraction]] = {}
    for op in model.main.body.block.ops:
        if isinstance(op, MatmulOp | ConvOp) and isinstance(op.rhs.owner, WeightOp) and _is_linear(op):
            layers.setdefault(node_name(op), []).append(op)
    return layers


def insert(model: Model, thresholds: Mapping[str, Threshold]) -> None:
    """Put the thresholds into `model`, as maps before its layers. Raises UsageError for those that do not fit."""
    layers = linear_layers(model)
    if unknown := sorted(set(thresholds) - set(layers)):
        names = ", ".join(layers)
        raise UsageError(f"thresholds for {unknown[0]!r}: no such linear layer; there are {names or 'none'}")
    for node, threshold in thresholds.items():
        for op in layers[node]:
            _insert(model, node, op, threshold)


def told(op: Operation) -> dict[str, list[float]]:
    """What a manifest says of the thresholds of a layer: the least and the greatest."""
    bounds = op.attributes.get(THRESHOLDS)
    if not isinstance(bounds, ArrayAttr):
        return {}
    return {"thresholds": [bound.value.data for bound in bounds if isinstance(bound, FloatAttr)]}


def channels_axis(op: Contraction) -> int:
    """The axis of the first operand that is summed over."""
    return 1 if isinstance(op, ConvOp) else type_of(op.lhs).rank - 1


def _is_linear(op: MatmulOp | ConvOp) -> bool:
    weight = type_of(op.rhs)
    if type_of(op.lhs).element != f32 or weight.element != f32:
        return False
    if isinstance(op, ConvOp):
        return op.groups.value.data == 1 and all(dim == 1 for dim in weight.shape[2:])
    return not bool(op.transpose_a) and all(dim == 1 for dim in weight.shape[:-2])


def _insert(model: Model, node: str, op: Contraction, threshold: Threshold) -> None:
    axis, type_ = channels_axis(op), type_of(op.lhs)
    count, values = type_.shape[axis], threshold.values.astype(np.float32)
    if values.size not in (1, count):
        raise UsageError(f"thresholds for {node!r}: {values.size} of them, and the layer has {count} inputs")
    inputs: list[SSAValue] = [op.lhs]
    if values.size == 1:
        body = region([f32], lambda x: _cut(x, float(values.reshape(()))))
    else:
        shaped = model.weights.add(f"{node}.thresholds", values.reshape(-1, *[1] * (type_.rank - 1 - axis)))
        _before(op, shaped)
        inputs.append(shaped.result)
        body = region([f32, f32], _cut)
    cut = MapOp(inputs, body)
    cut.attributes[NODE] = op.attributes[NODE]
    _before(op, cut)
    op.operands[0] = cut.result
    op.attributes[THRESHOLDS] = ArrayAttr([FloatAttr(float(bound), f64) for bound in (values.min(), values.max())])
    if threshold.nonzeros is not None:
        op.attributes[NONZEROS] = FloatAttr(threshold.nonzeros, f64)


def _cut(x: Scalar, threshold: Scalar | float) -> Scalar:
    """0 where |x| ≤ threshold, else x; NaN stays."""
    return x.abs().compare("le", threshold).select(x.constant(0.0), x)


def _before(op: Contraction, new: WeightOp | MapOp) -> None:
    assert op.parent is not None, "the op is in the function"
    op.parent.insert_op_before(new, op)


Entry = tuple[Any, Any]


def _read_json(path: Path) -> dict[str, Entry]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: should hold an object with a threshold, or a list of them, for each node")
    return {node: _entry(path, node, value) for node, value in content.items()}


def _entry(path: Path, node: str, value: Any) -> Entry:
    if not isinstance(value, dict):
        return value, None
    if "threshold" not in value or set(value) - {"threshold", "nonzeros"}:
        raise UsageError(f'{path}: {node}: should be a number, a list or {{"threshold": …, "nonzeros": …}}')
    return value["threshold"], value.get("nonzeros")


def _read_npz(path: Path) -> dict[str, Entry]:
    try:
        with np.load(path, allow_pickle=False) as loaded:
            arrays = dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    nodes = [name for name in arrays if not name.endswith(SHARE) or name.removesuffix(SHARE) not in arrays]
    return {node: (arrays[node], arrays.get(f"{node}{SHARE}")) for node in nodes}


def _checked(path: Path, node: str, values: Any, nonzeros: Any) -> Threshold:
    try:
        array = np.asarray(values, np.float64).reshape(-1)
        share = None if nonzeros is None else float(np.asarray(nonzeros, np.float64).reshape(()))
    except (TypeError, ValueError):
        raise UsageError(f"{path}: {node}: thresholds are numbers, one or a list of them") from None
    if not array.size or not ((array >= 0) & (array <= np.finfo(np.float32).max)).all():
        raise UsageError(f"{path}: {node}: a threshold is a number of 0 or more")
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"{path}: {node}: nonzeros is a share from 0 to 1, not {share}")
    return Threshold(array.reshape(()) if array.size == 1 else array, share)
