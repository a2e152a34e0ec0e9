"""`sparsec tune`: measures kernels for the layers of a model."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path

import click

from sparsec.cli import options
from sparsec.options import Options
from sparsec.tune import LocalMeasurer, Outcome, tune

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class _Duration(click.ParamType):
    """Seconds, as in `90`, `90s`, `5m` or `1h`."""

    name = "duration"

    def convert(self, value, param, ctx) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if found is None:
            self.fail(f"{value!r} should look like 90s, 5m or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command("tune")
@options.model_argument
@click.option("--target", default="host", show_default=True, metavar="T", help="A target that runs on this machine.")
@click.option("--time", "seconds", type=_Duration(), default="5m", show_default=True, help="For measuring kernels.")
@click.option("-o", "--output", "cache", type=click.Path(path_type=Path), help="The file of measured times.")
@options.shape_options
@options.precision
@options.attention
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the final comparison.")
@options.as_json
def command(model, target, seconds, cache, shapes, dims, precision, attention, threads, as_json) -> None:
    """Measure kernels, formats and tiles for the layers of MODEL, for `sparsec compile MODEL --tuned CACHE`.

    Every time is kept as soon as it is known: run it again to go on after Ctrl-C, or to spend more time. Several models
    may share a cache. In the end the whole model is timed with the default and with the measured choice, in turn. That
    comes on top of --time: two to four compilations, 50 runs, and 15 s of more runs where a choice differs.
    """
    cache = cache or _default_cache()
    settings = Options(target, shapes, dims, threads, precision=precision, attention=attention)
    with options.progress() as progress, LocalMeasurer() as measurer:
        outcome = tune(model, settings, cache, seconds, measurer, progress)
    if as_json:
        options.emit_json(asdict(outcome))
    else:
        _print(outcome, model)


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparsec" / "tuned.jsonl"


def _print(outcome: Outcome, model: Path) -> None:
    click.echo(
        f"{outcome.layers} layers with a choice: {outcome.measured} kernels measured, {outcome.known} known before, "
        f"{len(outcome.failed)} failed"
    )
    for failure in outcome.failed:
        click.echo(f"  {failure}")
    if not outcome.overrides:
        click.echo("The default choice is the fastest that was found.")
        return
    rows = [(", ".join(o.nodes), o.before, o.before_ms, o.after, o.after_ms) for o in outcome.overrides]
    options.table("layers on other kernels", ("nodes", "default", "ms", "tuned", "ms"), rows)
    click.echo(
        f"the whole model: {outcome.default_ms:.3f} ms by default, {outcome.tuned_ms:.3f} ms tuned: "
        f"{outcome.ratio:.3f} times as fast\nsparsec compile {model} --tuned {outcome.cache}"
    )
