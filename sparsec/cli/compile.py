"""`sparsec compile`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from sparsec.cli import options
from sparsec.compiler import EMITS, Options, compile_file
from sparsec.errors import UsageError


@click.command("compile")
@options.model_argument
@click.option("--target", default="host", show_default=True, metavar="T[:CPU][+FEATURE]", help="See `sparsec targets`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The artifact; default: the model's name.")
@options.shape_options
@click.option("--emit", type=click.Choice(EMITS), help="Kind of output; default: so, or wasm for wasm targets.")
@click.option("--formats", type=click.Choice(["auto", "dense", "sparse"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads of one run.")
@click.option("--verify", is_flag=False, flag_value="random", metavar="[INPUTS.npz]", help="Compare with the reference.")
@options.as_json
def command(model, target, output, shapes, dims, emit, formats, threads, verify, as_json) -> None:
    """Compile an ONNX MODEL to a library (with a C header), an object, WebAssembly, or a stage of its IR."""
    settings = Options(
        target=target, shapes=shapes, dims=dims, threads=threads, formats=formats, emit=emit, verify=_inputs(verify)
    )
    with options.progress() as progress:
        result = compile_file(model, output, settings, progress)
    if as_json:
        options.emit_json(result.summary())
    else:
        click.echo(result.describe(), err=True)


def _inputs(verify: str | None) -> dict[str, np.ndarray] | str | None:
    if verify in (None, "random"):
        return verify
    path = Path(verify)
    if path.suffix != ".npz" or not path.is_file():
        raise UsageError(f"--verify={verify}: not an .npz file of inputs")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
