"""`sparsec check`: what a model contains, and everything that keeps it from being compiled."""

from __future__ import annotations

from typing import Any

import click

from sparsec.cli import options
from sparsec.errors import InvalidModel, UnsupportedModel, UsageError
from sparsec.frontend.onnx import Report, check_model
from sparsec.ir import Contraction, WeightOp, node_name, type_of
from sparsec.ir.dims import symbols
from sparsec.ir.shapes import format_shape
from sparsec.sparsity import describe


@click.command("check")
@options.model_argument
@options.shape_options
@options.as_json
def command(model, shapes, dims, as_json) -> int:
    """List what MODEL contains: inputs, operators, sparsity found, and every unsupported or unsafe thing at once."""
    report = check_model(model, shapes, dims)
    layers = _layers(report)
    if as_json:
        options.emit_json(_as_dict(report, layers))
    else:
        _print(report, layers)
    found = {problem.error.exit_code for problem in report.problems}
    return next((code for code in _WORST_FIRST if code in found), 0)


_WORST_FIRST = [error.exit_code for error in (InvalidModel, UnsupportedModel, UsageError)]


def _open_sizes(report: Report) -> list[str]:
    """The sizes of inputs that `compile` wants to be told."""
    found = {name for type_ in report.inputs.values() for dim in type_.shape for name in symbols(dim)}
    return sorted(found - report.ranges.keys())


def _layers(report: Report) -> list[dict[str, Any]]:
    """Each contraction with constant weights, and the pattern of its zeros."""
    if report.model is None:
        return []
    layers = []
    for op in report.model.module.walk():
        if isinstance(op, Contraction) and isinstance(op.rhs.owner, WeightOp):
            found = describe(report.model.weights.of(op.rhs.owner))
            shape = format_shape(type_of(op.rhs).shape)
            layers.append({"node": node_name(op), "shape": shape, "density": found.density, "pattern": str(found)})
    return layers


def _as_dict(report: Report, layers: list[dict[str, Any]]) -> dict[str, Any]:
    ports = {"inputs": report.inputs, "outputs": report.outputs}
    return {
        "model": report.name,
        "opsets": report.opsets,
        **{key: {name: str(type_) for name, type_ in types.items()} for key, types in ports.items()},
        "symbols": _open_sizes(report),
        "operators": dict(report.operators.most_common()),
        "layers": layers,
        "problems": [{**vars(problem), "error": problem.error.__name__} for problem in report.problems],
    }


def _print(report: Report, layers: list[dict[str, Any]]) -> None:
    for key, types in (("input", report.inputs), ("output", report.outputs)):
        for name, type_ in types.items():
            text = f"{format_shape(type_.shape)} {type_.dtype}" if type_ else "unknown"
            click.echo(f"{key} {name}: {text}")
    options.table("operators", ("operator", "nodes"), report.operators.most_common())
    if layers:
        rows = [tuple(layer[key] for key in ("node", "shape", "density", "pattern")) for layer in layers]
        options.table("layers with weights", ("node", "weight", "density", "zeros"), rows)
    for problem in report.problems:
        click.echo(f"problem: {problem}")
    if not report.problems:
        click.echo("nothing is in the way of compiling it")
    if names := _open_sizes(report):
        click.echo(
            f"to compile it, fix its open sizes: {' '.join(f'--dim {name}=N' for name in names)}, or give ranges (N..M)"
        )
