"""`sparsec opt`: named passes on the textual form of the tensor IR."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sparsec.errors import UsageError
from sparsec.opt import run_passes


@click.command("opt")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-p", "--passes", required=True, metavar="PASS[,PASS...]", help="Passes, in order.")
@click.option("--target", default="host", show_default=True, metavar="T[:CPU][+FEATURE]")
def command(file, passes, target) -> None:
    """Run PASSES on FILE.mlir (- for standard input) and print the result."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    click.echo(run_passes(text, passes.split(","), target), nl=False)
