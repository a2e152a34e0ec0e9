"""Importing a model: file to module and weights; and checking one without stopping at the first problem."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx import GraphProto, ModelProto
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Region, SSAValue

from sparsec.errors import InvalidModel, UnsupportedModel
from sparsec.frontend.onnx.functions import opsets_of
from sparsec.frontend.onnx.graph import Importer, Scope
from sparsec.frontend.onnx.load import load
from sparsec.frontend.onnx.node import Sizes, Value
from sparsec.frontend.onnx.ports import Given, input_types
from sparsec.frontend.onnx.problems import Problem, raise_all
from sparsec.frontend.onnx.structure import subgraphs
from sparsec.ir import SpOp, TensorType, type_of
from sparsec.model import INPUT_NAMES, OUTPUT_NAMES, Model


@dataclass
class Report:
    """What `check_model` found. `model` is there where nothing is wrong."""

    name: str
    opsets: dict[str, int] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: dict[str, TensorType | None] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    model: Model | None = None


def import_model(
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    dims: Mapping[str, Given] | None = None,
) -> Model:
    """The model in an ONNX file as tensor IR and weights.

    `shapes` gives the shapes of inputs, `dims` the sizes of symbolic dimensions by name, or their lowest and highest
    sizes, or others that they equal; sizes fixed by neither stay symbolic. Large weights are views of the mapped file.
    Raises UsageError (no such file, shapes that do not fit), InvalidModel (broken or unsafe file) and UnsupportedModel,
    which lists every node that is not supported.
    """
    report = check_model(path, shapes, dims)
    raise_all(report.problems)
    assert report.model is not None
    return report.model


def check_model(
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    dims: Mapping[str, Given] | None = None,
) -> Report:
    """Everything that keeps a model from being compiled, at once; and the imported model where that is nothing.

    Raises UsageError where the call is wrong, InvalidModel where the file holds no model at all.
    """
    proto, reader = load(path)
    name = Path(path).stem
    report = Report(name, opsets_of(proto.opset_import), _count_operators(proto))
    importer = Importer(proto, reader)
    try:
        report.inputs, report.ranges = input_types(proto.graph, shapes or {}, dims or {})
        outputs = _walk(importer, proto, report)
        if not importer.problems:
            report.model = _finish(importer, outputs, report)
    except (InvalidModel, UnsupportedModel) as error:
        importer.problems.append(Problem("", "", "", 0, (), str(error), type(error)))
    except RecursionError:
        importer.problems.append(Problem("", "", "", 0, (), "the model is nested too deeply", InvalidModel))
    report.problems = importer.problems
    return report


def _walk(importer: Importer, proto: ModelProto, report: Report) -> list[Value]:
    scope = Scope(report.opsets)
    for name, type_ in report.inputs.items():
        scope.values[name] = importer.block.insert_arg(type_, len(importer.block.args))
    outputs = importer.graph(proto.graph, scope)
    for port, value in zip(proto.graph.output, outputs, strict=True):
        if isinstance(value, Sizes):
            raise UnsupportedModel(f"the output {port.name!r} is a size with symbols; fix them with --dim")
        report.outputs[port.name] = type_of(value) if isinstance(value, SSAValue) else None
    return outputs


def _finish(importer: Importer, outputs: Sequence[Value], report: Report) -> Model:
    """The module around the imported block."""
    results = [value for value in outputs if isinstance(value, SSAValue)]
    for value in results:
        importer.materialize(value)
    block = importer.block
    block.add_op(ReturnOp(*results))
    _drop_dead(importer)
    main = FuncOp("main", ([a.type for a in block.args], [v.type for v in results]), Region(block))
    main.attributes[INPUT_NAMES] = ArrayAttr([StringAttr(name) for name in report.inputs])
    main.attributes[OUTPUT_NAMES] = ArrayAttr([StringAttr(name) for name in report.outputs])
    module = ModuleOp([main])
    module.verify(verify_nested_ops=False)
    importer.weights.drop_unused(module)
    return Model(module, importer.weights, report.name, dict(report.ranges))


def _drop_dead(importer: Importer) -> None:
    """Erase ops whose results nobody uses."""
    for op in reversed(list(importer.block.ops)):
        if isinstance(op, SpOp) and not any(result.uses for result in op.results):
            op.detach()
            op.erase()


def _count_operators(proto: ModelProto) -> Counter[str]:
    counts: Counter[str] = Counter()
    waiting: list[GraphProto] = [proto.graph]
    while waiting:
        for node in waiting.pop().node:
            counts[f"{node.domain}.{node.op_type}" if node.domain else node.op_type] += 1
            waiting.extend(subgraphs(node))
    return counts
