"""`sparsec explain`: why each layer runs as it does."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click

from sparsec.artifact import flat, read_artifact
from sparsec.cli import options
from sparsec.errors import UsageError
from sparsec.ir.ranges import typical
from sparsec.run_sizes import described


@click.command("explain")
@options.artifact_argument
@click.argument("layer", required=False)
@options.as_json
def command(artifact, layer, as_json) -> None:
    """Print what ARTIFACT decided: all layers, or one LAYER with every alternative."""
    manifest = read_artifact(artifact).manifest
    steps = manifest["layers"]
    layers = flat(steps)
    if layer is not None:
        chains = [step for step in steps if "members" in step]
        layers = [entry for entry in (*layers, *chains) if layer in (entry["node"], entry["step"])]
        if not layers:
            raise UsageError(f"{artifact} has no layer called {layer!r}: `sparsec explain {artifact}` lists them")
    if as_json:
        options.emit_json(layers)
    elif layer is not None:
        _detail(layers[0])
    else:
        _overview(layers)
        if ranges := read_artifact(artifact).ranges:
            sizes = ", ".join(f"{name} {size}" for name, size in sorted(typical(ranges).items()))
            click.echo(f"It runs for {described(ranges)}; times and bytes are those of {sizes}.")
        if (precision := manifest["precision"]) != "f32":
            sums = "sums are f32" if precision == "bf16" else "sums of many are f32"
            click.echo(f"Compiled with --precision {precision}: kernels of that name round products to it; {sums}.")
        for entry in layers:
            if "thresholds" in entry:
                click.echo(f"{entry['node']}: {_cut(entry)}")
        if (file := manifest.get("attention")) is not None:
            click.echo(f"Compiled with --attention {file}: it says which keys queries look at, and changes the model.")
        for step in steps:
            if "members" in step:
                click.echo(f"{_joined(step)} run together, row by row.")
        for _, group in groupby((step for step in steps if "loop" in step), lambda step: step["loop"]):
            looped = list(group)
            first, last = flat(looped)[0]["node"], flat(looped)[-1]["node"]
            click.echo(f"{first} to {last} run for a part of the batch, {looped[0]['rounds']} times.")


def _overview(layers: list[dict[str, Any]]) -> None:
    columns = ("node", "zeros", "density", "kernel", "ms", "why")
    options.table("steps, with the times that the choice rests on", columns, [_row(entry) for entry in layers])
    click.echo(f"{1e3 * sum(entry.get('seconds', 0.0) for entry in layers):.3f} ms in all, on one core")


def _row(entry: dict[str, Any]) -> tuple:
    milliseconds = f"{entry.get('seconds', 0.0) * 1e3:.3f}"
    if "alternatives" not in entry:
        return entry["node"], "–", "–", entry["kernel"].rpartition("_")[0], milliseconds, "no weights to choose by"
    density = f"{entry['density']:.3f}"
    why = entry["reason"] if len(entry["alternatives"]) > 1 else "the only kernel for it"
    return entry["node"], entry["pattern"], density, entry["row"], milliseconds, why


def _joined(step: dict[str, Any]) -> str:
    """The layers of a chain."""
    return ", ".join(member["node"] for member in step["members"])


def _cut(entry: dict[str, Any]) -> str:
    """What thresholds do to a layer."""
    low, high = entry["thresholds"]
    bound = f"{low:.3g}" if low == high else f"a bound of their channel, {low:.3g} to {high:.3g},"
    return f"inputs up to {bound} count as zeros (--activations)."


def _detail(entry: dict[str, Any]) -> None:
    if "members" in entry:
        click.echo(f"{entry['step']}: {_joined(entry)} run together, row by row, so that these stay in the cache.")
        return
    click.echo(f"{entry['node']} ({entry['op']}): kernel {entry['kernel']}")
    if "alternatives" not in entry:
        click.echo("It has no weights, so there is one way to run it.")
        return
    click.echo(f"{entry['shapes']}: {entry['pattern']}, density {entry['density']:.3f}")
    if "thresholds" in entry:
        click.echo(_cut(entry).capitalize())
    if len(entry["alternatives"]) == 1:
        click.echo("There is one kernel for it.")
        return
    rows = [(a["row"], a["format"], a["seconds"] * 1e3, a["reason"]) for a in entry["alternatives"]]
    options.table("alternatives, best first", ("kernel", "format", "ms", "reason"), rows)
    click.echo(f"chosen: {entry['row']}: {entry['reason']}")
