"""Pruning an ONNX file: the weights of its convolutions and linear layers, by magnitude, in a pattern."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from sparsec.errors import UnsupportedModel, UsageError
from sparsec.frontend.onnx.load import load
from sparsec.frontend.onnx.tensors import TensorReader
from sparsec.sparsity import Pattern, describe, parse_pattern, prune

# protobuf holds less than 2 GB; larger models keep their weights in a file beside the model.
MOST_EMBEDDED_BYTES = 1 << 30


@dataclass(frozen=True)
class Layer:
    """A node whose weight can be pruned. `turned`: the file holds it as [inputs, outputs]."""

    node: str
    tensor: TensorProto
    turned: bool


def prune_model(
    path: Path, pattern: str, sparsity: float | None, output: Path, skip: Collection[str] = ()
) -> dict[str, Any]:
    """Write `path` with pruned weights to `output`, and return what was done to each layer.

    Depthwise convolutions, the first convolution (there accuracy is lost first) and the nodes in `skip` stay dense;
    whole channels are never taken from the last layer, whose outputs are the model's.
    Raises UsageError for a pattern, sparsity or node that does not fit, InvalidModel for a broken file.
    """
    wanted, share = parse_pattern(pattern), _share(pattern, sparsity)
    _, reader = load(path)
    model = onnx.load(path, load_external_data=False)
    found = list(_layers(model, reader))
    layers = found[:-1] if wanted.kind == "channel" else found
    if unknown := sorted(set(skip) - {layer.node for layer in layers}):
        names = ", ".join(layer.node for layer in layers)
        raise UsageError(f"--skip {unknown[0]}: no such layer to prune; there are {names or 'none'}")
    report = [_prune_layer(layer, reader, wanted, share) for layer in layers if layer.node not in skip]
    if not report:
        raise UnsupportedModel(f"{path} has no layer to prune: {_why_none(found, wanted, skip)}")
    _embed_external(model, reader)
    _save(model, output)
    return {"output": str(output), "pattern": pattern, "layers": report}


def _why_none(found: list[Layer], pattern: Pattern, skip: Collection[str]) -> str:
    """Why nothing is left of the layers that were found."""
    if found and pattern.kind == "channel":
        last = found[-1].node
        skipped = " and those in --skip" if skip else ""
        return (
            f"channel keeps the first convolution, depthwise ones, and {last!r}, whose outputs are the model's"
            f"{skipped}, and there are no others; other patterns prune {last!r} too"
        )
    if found:
        return "all are in --skip"
    return "no Conv, Gemm or MatMul with constant float32 weights, but for the first convolution and depthwise ones"


def _share(pattern: str, sparsity: float | None) -> float:
    grouped = parse_pattern(pattern).kind == "n:m"
    if grouped and sparsity is not None:
        raise UsageError(f"the pattern {pattern} says how many weights stay: leave --sparsity out")
    if not grouped and sparsity is None:
        raise UsageError(f"the pattern {pattern} needs --sparsity, the share of zeros, such as 0.9")
    return sparsity or 0.0


def _layers(model: onnx.ModelProto, reader: TensorReader) -> Iterator[Layer]:
    """Prunable layers, in the order of the graph; a weight that several nodes share comes once."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    seen_conv, seen = False, set()
    for index, node in enumerate(model.graph.node):
        tensor = constants.get(node.input[1]) if len(node.input) > 1 else None
        if tensor is None or tensor.data_type != TensorProto.FLOAT or node.input[1] in seen:
            continue
        first_conv = node.op_type == "Conv" and not seen_conv
        seen_conv |= node.op_type == "Conv"
        if _is_prunable(node, tensor) and not first_conv:
            seen.add(node.input[1])
            yield Layer(node.name or f"{node.op_type}_{index}", tensor, _is_turned(node))


def _is_prunable(node: NodeProto, tensor: TensorProto) -> bool:
    if node.op_type == "Conv":
        return len(tensor.dims) > 2 and tensor.dims[1] > 1
    return node.op_type in ("Gemm", "MatMul") and len(tensor.dims) == 2


def _is_turned(node: NodeProto) -> bool:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return node.op_type != "Conv" and not transposed


def _prune_layer(layer: Layer, reader: TensorReader, pattern: Pattern, share: float) -> dict[str, Any]:
    stored = reader.array(layer.tensor, layer.node)
    pruned = prune(stored.T if layer.turned else stored, pattern, share)
    found = describe(pruned)
    _set_data(layer.tensor, pruned.T if layer.turned else pruned)
    shape = "x".join(map(str, stored.shape))
    return {"node": layer.node, "shape": shape, "density": found.density, "pattern": str(found)}


def _set_data(tensor: TensorProto, array: np.ndarray) -> None:
    for field in ("float_data", "raw_data", "external_data", "data_location"):
        tensor.ClearField(field)
    tensor.raw_data = np.ascontiguousarray(array).tobytes()


def _embed_external(model: onnx.ModelProto, reader: TensorReader) -> None:
    """Bring what lies in other files into the model, since those are named relative to the old place."""
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            _set_data(tensor, reader.array(tensor, tensor.name))


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor of the graph: initializers, attributes of nodes, and those of subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _tensors(subgraph)


def _save(model: onnx.ModelProto, output: Path) -> None:
    """Write to a folder beside `output`, then rename."""
    output.parent.mkdir(parents=True, exist_ok=True)
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > MOST_EMBEDDED_BYTES
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sparsec-") as folder:
        data = f"{output.name}.data"
        onnx.save(model, Path(folder) / output.name, save_as_external_data=large, location=data if large else None)
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == output.name):
            os.replace(file, output.parent / file.name)
