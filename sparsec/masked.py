"""What a model means with `--attention`: its interpretation, and the same model with explicit masks for onnxruntime."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sparsec import verify
from sparsec.interpreter import run
from sparsec.ir import AttentionOp, WeightOp, node_name
from sparsec.masks import BlockMask
from sparsec.model import Model
from sparsec.passes import recognise_attention, run_pipeline
from sparsec.weights import WeightStore

# Where operators take a mask that is added to the scores (or boolean): by domain and name, which input.
_MASK_INPUTS = {("", "Attention"): 3, ("com.microsoft", "MultiHeadAttention"): 5, ("com.microsoft", "Attention"): 5}
_MOST_MADE = 3 << 29  # bytes of explicit masks: a protobuf of 2 GB is the largest that there is


def references(
    model: Model, path: Path, patterns: Path, inputs: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """The outputs of the model whose attentions follow the file `patterns`, by the name of who computed them."""
    masked = meaning(model, patterns)
    expected = {"the interpreter": dict(zip(model.output_names, run(masked, inputs), strict=True))}
    if not verify.has_onnxruntime():
        return expected
    explicit = _with_masks(path, masked)
    session = verify.onnxruntime_session(explicit) if explicit is not None else None
    if session is None:
        print(
            "sparsec: warning: these patterns cannot be written as masks for onnxruntime: verified by the interpreter "
            "alone",
            file=sys.stderr,
        )
    else:
        expected["onnxruntime with explicit masks"] = session(inputs)
    return expected


def meaning(model: Model, patterns: Path) -> Model:
    """A copy of the imported model in which attentions are recognised and have the masks that the file says."""
    weights = WeightStore()
    for name in model.weights:
        weights[name] = model.weights[name]
    copy = replace(model, module=model.module.clone(), weights=weights)
    run_pipeline(copy, recognise_attention(str(patterns)))
    return copy


def _with_masks(path: Path, masked: Model) -> bytes | None:
    """The file of a model with a mask before the softmax of each attention, or None where that cannot be."""
    ops = [op for op in masked.main.body.block.ops if isinstance(op, AttentionOp)]
    owners = {node_name(op): op.mask.owner for op in ops if op.mask is not None}
    masks = {name: masked.weights.mask_of(owner) for name, owner in owners.items() if isinstance(owner, WeightOp)}
    if any(op.selection is not None for op in ops) or sum(_dense_bytes(mask) for mask in masks.values()) > _MOST_MADE:
        return None
    proto = onnx.load(path)
    nodes = {node.name: node for node in proto.graph.node}
    for name, mask in masks.items():
        if name not in nodes or not _insert(proto.graph, nodes[name], mask):
            return None
    return proto.SerializeToString()


def _dense_bytes(mask: BlockMask) -> int:
    heads, queries, keys = mask.shape
    return 4 * heads * queries * keys


def _insert(graph: onnx.GraphProto, node: onnx.NodeProto, mask: BlockMask) -> bool:
    """Gives a node the mask, as an operand or added before its softmax; False where there is no place for it."""
    added = np.where(mask.dense(), np.float32(0), np.float32(-np.inf))
    name = f"{node.name}/pattern"
    place = _MASK_INPUTS.get((node.domain.replace("ai.onnx", ""), node.op_type))
    if place is not None:
        node.input.extend([""] * (place + 1 - len(node.input)))
        if node.input[place]:
            return False
        graph.initializer.append(numpy_helper.from_array(added[None], name))
        node.input[place] = name
        return True
    if node.op_type != "Softmax":
        return False
    graph.initializer.append(numpy_helper.from_array(added, name))
    add = helper.make_node("Add", [node.input[0], name], [f"{name}/scores"], f"{name}/add")
    node.input[0] = add.output[0]
    graph.node.insert(list(graph.node).index(node), add)
    return True
