"""`sparsec run`: one run of an artifact."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from sparsec.artifact import read_artifact
from sparsec.cli import arrays, options
from sparsec.program import Program


@click.command("run")
@options.artifact_argument
@click.option("--input", "source", default="random", show_default=True, metavar="X.npz|X.npy|random")
@click.option("--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random inputs.")
@options.size_options
@options.device
@options.as_json
def command(artifact, source, output, seed, sizes, device, as_json) -> None:
    """Run ARTIFACT once and print what its outputs look like."""
    with options.connected(device) as transport:
        program = Program(read_artifact(artifact), transport=transport)
        outputs = program.run(**arrays.inputs(options.run_ports(program, sizes), source, seed))
    if output:
        arrays.save(output, outputs)
    rows = [describe(name, value) for name, value in outputs.items()]
    if as_json:
        keys = ("name", "dtype", "shape", "min", "max", "mean")
        options.emit_json({"outputs": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        options.table("outputs", ("name", "dtype", "shape", "min", "max", "mean"), rows)


def describe(name: str, value: np.ndarray) -> tuple[str, str, str, float, float, float]:
    """A row of the table of outputs."""
    shape = "x".join(map(str, value.shape)) or "scalar"
    if not value.size:
        return name, value.dtype.name, shape, 0.0, 0.0, 0.0
    return name, value.dtype.name, shape, float(value.min()), float(value.max()), float(value.mean(dtype=np.float64))
