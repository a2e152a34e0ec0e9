"""`sparsec prune`: zeros by magnitude, in a pattern that pays on the device, or of activations by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sparsec.activations import calibrate_thresholds
from sparsec.cli import arrays, options
from sparsec.errors import UsageError
from sparsec.prune import prune_model
from sparsec.thresholds import as_arrays


@click.command("prune")
@options.model_argument
@click.option("--pattern", metavar="unstructured|RxC|N:M|channel", help="Of the weights; default: unstructured.")
@click.option("--sparsity", type=click.FloatRange(0, 1, max_open=True), help="Share of zeros; N:M has its own.")
@click.option(
    "--activations",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Leave the weights; find thresholds that make this share of the inputs of linear layers zero.",
)
@click.option(
    "--samples",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="INPUTS.npz",
    help="Inputs on which the thresholds are found (may be given several times).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The pruned ONNX model; with --activations the thresholds, an .npz file.",
)
@click.option("--skip", multiple=True, metavar="NODE", help="Leave this node dense (may be given several times).")
@options.as_json
def command(model, pattern, sparsity, activations, samples, output, skip, as_json) -> None:
    """Prune the weights of a dense MODEL by magnitude, or its activations by thresholds for `compile --activations`.

    Retrain or fine-tune where accuracy matters.
    """
    if activations is not None:
        if pattern or sparsity is not None:
            raise UsageError("--activations finds thresholds and leaves the weights: prune these in a run of its own")
        _prune_activations(model, activations, samples, output, skip, as_json)
        return
    if samples:
        raise UsageError("--samples are for --activations: weights are pruned by their magnitudes")
    report = prune_model(model, pattern or "unstructured", sparsity, output, skip=skip)
    if as_json:
        options.emit_json(report)
    else:
        rows = [(layer["node"], layer["shape"], layer["density"], layer["pattern"]) for layer in report["layers"]]
        options.table(f"{output}", ("node", "shape", "density", "pattern"), rows)


def _prune_activations(
    model: Path, share: float, samples: Sequence[Path], output: Path, skip: Sequence[str], as_json: bool
) -> None:
    """Writes the thresholds, and tells what they do to each layer."""
    if not samples:
        raise UsageError("--activations needs inputs to find thresholds on: --samples inputs.npz")
    if output.suffix != ".npz":
        raise UsageError(f"{output}: thresholds are written to an .npz file")
    found = calibrate_thresholds(model, share, [arrays.load(path, [".npz"]) for path in samples], skip)
    arrays.save(output, as_arrays({layer.node: layer.threshold for layer in found}))
    if as_json:
        told = [{key: value for key, value in vars(layer).items() if key != "threshold"} for layer in found]
        options.emit_json({"output": str(output), "activations": share, "layers": told})
    else:
        columns = ("node", "weight", "zeros before", "zeros", "error")
        rows = [(layer.node, layer.shape, layer.zeros_before, layer.zeros, layer.error) for layer in found]
        options.table(f"{output}", columns, rows)
