"""`sparsec run`: one run of an artifact."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from sparsec.cli import options
from sparsec.errors import UsageError
from sparsec.program import Program, load
from sparsec.verify import random_inputs


@click.command("run")
@options.artifact_argument
@click.option("--input", "source", default="random", show_default=True, metavar="X.npz|X.npy|random")
@click.option("--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random inputs.")
@options.as_json
def command(artifact, source, output, seed, as_json) -> None:
    """Run ARTIFACT once and print what its outputs look like."""
    program = load(artifact)
    outputs = program.run(**read_inputs(program, source, seed))
    if output:
        write_npz(output, outputs)
    rows = [describe(name, value) for name, value in outputs.items()]
    if as_json:
        keys = ("name", "dtype", "shape", "min", "max", "mean")
        options.emit_json({"outputs": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        options.table("outputs", ("name", "dtype", "shape", "min", "max", "mean"), rows)


def read_inputs(program: Program, source: str, seed: int) -> dict[str, np.ndarray]:
    """Inputs by name: random, from an .npz file by name, or from an .npy file for a program of one input."""
    if source == "random":
        return random_inputs(program.inputs, seed)
    path = Path(source)
    if not path.is_file() or path.suffix not in (".npz", ".npy"):
        raise UsageError(f"--input {source}: not a .npz or .npy file, nor the word random")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {_only_input(program, path): loaded}
        with loaded:
            return dict(loaded)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"--input {source}: {error}") from error


def _only_input(program: Program, path: Path) -> str:
    if len(program.inputs) != 1:
        names = ", ".join(port.name for port in program.inputs)
        raise UsageError(f"{path} holds one array, the artifact takes {names}: give an .npz file with those names")
    return program.inputs[0].name


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write to a temporary file beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    partial.replace(path)


def describe(name: str, value: np.ndarray) -> tuple[str, str, str, float, float, float]:
    """A row of the table of outputs."""
    shape = "x".join(map(str, value.shape)) or "scalar"
    if not value.size:
        return name, value.dtype.name, shape, 0.0, 0.0, 0.0
    return name, value.dtype.name, shape, float(value.min()), float(value.max()), float(value.mean(dtype=np.float64))
