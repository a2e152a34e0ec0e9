"""`sparsec targets`: what can be compiled for."""

from __future__ import annotations

import click

from sparsec.cli import options
from sparsec.targets.registry import TARGETS


@click.command("targets")
@options.as_json
def command(as_json) -> None:
    """List the targets and how to refine them."""
    if as_json:
        options.emit_json(TARGETS)
        return
    options.table("targets", ("name", "what it makes"), list(TARGETS.items()))
    click.echo(
        "\nRefine by a CPU or features that LLVM knows: x86:znver5, arm:cortex-a76+dotprod, wasm+relaxed-simd.\n"
        "Several, with commas, make one artifact that chooses when it is loaded: arm:cortex-a76,arm."
    )
