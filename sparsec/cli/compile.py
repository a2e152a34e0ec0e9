"""`sparsec compile`."""

from __future__ import annotations

from pathlib import Path

import click

from sparsec.cli import arrays, options
from sparsec.compiler import EMITS, compile_file
from sparsec.errors import UsageError
from sparsec.options import Options


class _Compile(click.Command):
    """`--verify` may stand alone, even before MODEL: only a word that ends in .npz is its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        following = [*args, ""][1:]
        bare = [a == "--verify" and not b.endswith(".npz") for a, b in zip(args, following, strict=True)]
        return super().parse_args(ctx, ["--verify=random" if alone else a for a, alone in zip(args, bare, strict=True)])


@click.command("compile", cls=_Compile)
@options.model_argument
@click.option(
    "--target", default="host", show_default=True, metavar="T[:CPU][+FEATURE][,T…]", help="See `sparsec targets`."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The artifact; default: the model's name.")
@options.shape_options
@click.option("--emit", type=click.Choice(EMITS), help="Kind of output; default: so, dylib or wasm by the target.")
@click.option("--formats", type=click.Choice(["auto", "dense", "sparse"]), default="auto", show_default=True)
@click.option(
    "--weights",
    type=click.Choice(["inside", "separate"]),
    help="Weights of a wasm module: inside it, or beside.",
)
@click.option(
    "--weights-limit", metavar="SIZE", callback=options.parse_bytes, help="Separate, in files up to, say, 25M."
)
@options.precision
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads of one run.")
@click.option("--tuned", type=click.Path(path_type=Path), metavar="CACHE", help="Times that `sparsec tune` measured.")
@click.option(
    "--activations",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Thresholds up to which inputs of layers count as zeros: .npz of `sparsec prune --activations`, or .json.",
)
@options.attention
@click.option("--verify", metavar="[INPUTS.npz]", help="Compare with the reference, on these inputs or on random ones.")
@options.as_json
def command(
    model,
    target,
    output,
    shapes,
    dims,
    emit,
    weights,
    weights_limit,
    formats,
    precision,
    threads,
    tuned,
    activations,
    attention,
    verify,
    as_json,
) -> None:
    """Compile an ONNX MODEL to a library (with a C header), an object, WebAssembly, or a stage of its IR."""
    inputs = verify if verify in (None, "random") else arrays.load(Path(verify), [".npz"])
    if weights_limit and weights == "inside":
        raise UsageError("--weights-limit is for weights in files of their own: --weights separate")
    settings = Options(
        target=target,
        shapes=shapes,
        dims=dims,
        threads=threads,
        formats=formats,
        precision=precision,
        emit=emit,
        weights="separate" if weights_limit else weights or "inside",
        weights_limit=weights_limit,
        verify=inputs,
        tuned=tuned,
        activations=activations,
        attention=attention,
    )
    with options.progress() as progress:
        result = compile_file(model, output, settings, progress)
    if as_json:
        options.emit_json(result.summary())
    else:
        click.echo(result.describe(), err=True)
