"""`sparsec prune`: zeros by magnitude, in a pattern that pays on the device."""

from __future__ import annotations

from pathlib import Path

import click

from sparsec.cli import options
from sparsec.prune import prune_model


@click.command("prune")
@options.model_argument
@click.option("--pattern", default="unstructured", show_default=True, metavar="unstructured|RxC|N:M|channel")
@click.option("--sparsity", type=click.FloatRange(0, 1, max_open=True), help="Share of zeros; N:M has its own.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The pruned ONNX model.")
@click.option("--skip", multiple=True, metavar="NODE", help="Leave this node dense (may be given several times).")
@options.as_json
def command(model, pattern, sparsity, output, skip, as_json) -> None:
    """Prune the weights of a dense MODEL by magnitude. Retrain or fine-tune where accuracy matters."""
    report = prune_model(model, pattern, sparsity, output, skip=skip)
    if as_json:
        options.emit_json(report)
    else:
        rows = [(layer["node"], layer["shape"], layer["density"], layer["pattern"]) for layer in report["layers"]]
        options.table(f"{output}", ("node", "shape", "density", "pattern"), rows)
