"""Calibration of thresholds: which activations of each linear layer to take for zeros, from sample inputs.

An element's importance is |x_k| · ‖w[:, k]‖, what leaving it out changes in the outputs at most, as CHESS weighs
channels (He et al. 2024). The wanted share of the least important elements of all samples falls below one bound, from
which each channel has its threshold. Layers are calibrated one by one on the activations of the unchanged model, as in
TEAL (Liu et al. 2024).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import FunctionType
from xdsl.dialects.func import ReturnOp
from xdsl.rewriter import Rewriter

from sparsec.errors import UnsupportedModel, UsageError
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.ir import Contraction, MatmulOp, TensorType, WeightOp, type_of
from sparsec.ir.shapes import format_shape
from sparsec.model import Model
from sparsec.thresholds import Threshold, channels_axis, linear_layers

ROWS = 256  # of samples, on which the errors of layers are computed
TINY, HUGE = np.finfo(np.float32).tiny, np.finfo(np.float32).max


@dataclass(frozen=True)
class Calibrated:
    """The thresholds of one layer, the shares of zeros without and with them, and what that changes of its outputs.

    `error` is relative: ‖y − y'‖ / ‖y‖ over the samples.
    """

    node: str
    shape: str
    threshold: Threshold
    zeros_before: float
    zeros: float
    error: float


def calibrate_thresholds(
    path: Path, share: float, samples: Sequence[Mapping[str, np.ndarray]], skip: Collection[str] = ()
) -> list[Calibrated]:
    """Thresholds with which a `share` of the inputs of each linear layer of the ONNX model `path` is zero.

    `samples` are inputs by name; an array may hold several samples, in front or along the first axis.
    Raises UsageError for samples or nodes that do not fit, UnsupportedModel where there is no linear layer.
    """
    model = import_model(path)
    layers = linear_layers(model)
    if unknown := sorted(set(skip) - set(layers)):
        raise UsageError(f"--skip {unknown[0]}: no such linear layer; there are {', '.join(layers) or 'none'}")
    wanted = {node: ops[0] for node, ops in layers.items() if node not in skip}
    if not wanted:
        why = "all are in --skip" if layers else "no Gemm, MatMul or 1x1 Conv with constant float32 weights"
        raise UnsupportedModel(f"{path} has no linear layer whose inputs could be sparse: {why}")
    seen = _activations(model, list(wanted.values()), [run for sample in samples for run in _split(model, sample)])
    return [_calibrated(model, node, op, x, share) for (node, op), x in zip(wanted.items(), seen, strict=True)]


def _calibrated(model: Model, node: str, op: Contraction, x: np.ndarray, share: float) -> Calibrated:
    """The thresholds of one layer with the inputs `x`, [samples, K]."""
    if not np.isfinite(x).all():
        raise UsageError(f"{node}: its inputs are not finite on the samples")
    weight = _weight(model, op)
    norms = np.linalg.norm(weight, axis=0)
    bound = np.quantile(np.abs(x) * norms, share, method="higher") if share else 0.0
    with np.errstate(over="ignore"):  # channels without weights
        values = np.minimum(bound / np.maximum(norms, TINY), HUGE)
    cut = np.where(np.abs(x) <= values.astype(np.float32), np.float32(0), x)
    few = slice(None, ROWS)
    whole, changed = x[few] @ weight.T, (x[few] - cut[few]) @ weight.T
    error = float(np.linalg.norm(changed) / max(np.linalg.norm(whole), TINY))
    nonzeros = float(np.count_nonzero(cut) / cut.size)
    shape = format_shape(type_of(op.rhs).shape)
    threshold = Threshold(values, nonzeros)
    return Calibrated(node, shape, threshold, float(np.mean(x == 0)), 1 - nonzeros, error)


def _weight(model: Model, op: Contraction) -> np.ndarray:
    """The weights as [M, K]."""
    assert isinstance(op.rhs.owner, WeightOp), "linear layers have constant weights"
    array = model.weights.of(op.rhs.owner)
    if isinstance(op, MatmulOp):
        matrix = array.reshape(array.shape[-2:])
        return matrix if bool(op.transpose_b) else matrix.T
    return array.reshape(array.shape[:2])


def _activations(
    model: Model, ops: Sequence[Contraction], runs: Sequence[Mapping[str, np.ndarray]]
) -> list[np.ndarray]:
    """The first operands of `ops` in all runs, each as [samples, K]."""
    watched = _watched(model, ops)
    axes = [channels_axis(op) for op in ops]
    found: list[list[np.ndarray]] = [[] for _ in ops]
    for inputs in runs:
        for rows, array, axis in zip(found, run(watched, inputs), axes, strict=True):
            rows.append(np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]))
    return [np.concatenate(rows) for rows in found]


def _watched(model: Model, ops: Sequence[Contraction]) -> Model:
    """A copy of `model` that returns the first operands of `ops`."""
    places = {op: index for index, op in enumerate(model.main.body.block.ops)}
    copy = Model(model.module.clone(), model.weights, model.name)
    block = copy.main.body.block
    copies = list(block.ops)
    values = [copies[places[op]].operands[0] for op in ops]
    Rewriter.replace_op(copies[-1], ReturnOp(*values))
    types = FunctionType.from_lists([arg.type for arg in block.args], [value.type for value in values])
    copy.main.properties["function_type"] = types
    return copy


def _split(model: Model, sample: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The runs in one set of arrays: each is of an input's shape, or holds several of it along the first axis."""
    types = dict(zip(model.input_names, map(type_of, model.main.body.block.args), strict=True))
    if set(sample) != set(types):
        raise UsageError(f"the samples have {', '.join(sample) or 'nothing'}; inputs are {', '.join(types)}")
    stacks = {name: _stack(name, np.asarray(sample[name]), type_) for name, type_ in types.items()}
    counts = {len(stack) for stack in stacks.values()}
    if len(counts) != 1:
        told = ", ".join(f"{len(stack)} of {name}" for name, stack in stacks.items())
        raise UsageError(f"the samples differ in number: {told}")
    for index in range(counts.pop()):
        yield {name: stack[index] for name, stack in stacks.items()}


def _stack(name: str, array: np.ndarray, type_: TensorType) -> np.ndarray:
    """`array` as [runs, *shape of the input]; symbols take any size."""
    shape = type_.shape
    open_sizes = any(not isinstance(dim, int) for dim in shape)
    if array.ndim == len(shape) + 1:
        stack = array
    elif array.ndim == len(shape) and (open_sizes or array.shape == shape):
        stack = array[None]
    elif array.ndim == len(shape) and shape and isinstance(shape[0], int) and len(array) % shape[0] == 0:
        stack = array.reshape(-1, *shape[:1], *array.shape[1:])
    else:
        raise UsageError(f"samples of {name} are {format_shape(array.shape)}, the input is {format_shape(shape)}")
    if not len(stack):
        raise UsageError(f"there are no samples of {name}")
    if array.dtype != type_.dtype:
        raise UsageError(f"samples of {name} are {array.dtype}, the input is {type_.dtype}")
    return stack
