"""Options and output that several verbs share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sparsec.errors import UsageError
from sparsec.program import Program
from sparsec.run_sizes import check
from sparsec.target import Port
from sparsec.transport import Transport, open_transport

stderr = Console(stderr=True)
# A table on stdout keeps its columns when it is piped; 100 columns where there is no terminal.
stdout = Console(width=None if Console().is_terminal else 100)

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
precision = click.option(
    "--precision",
    type=click.Choice(["f32", "bf16", "f16"]),
    default="f32",
    show_default=True,
    help="bf16 lets kernels round products to bf16 (sums stay f32) where that is faster; f16 does on arm+fp16, with "
    "short sums in f16. --verify shows the error.",
)
device = click.option(
    "--device", metavar="ssh://USER@HOST[:PORT]", help="Do it there; only sshd is needed. qemu[:CPU] emulates ARM here."
)
attention = click.option(
    "--attention",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON of patterns: which keys the queries of an attention look at. Changes what the model means.",
)
model_argument = click.argument("model", type=click.Path(path_type=Path))
artifact_argument = click.argument("artifact", type=click.Path(path_type=Path))


@contextmanager
def connected(device: str | None) -> Iterator[Transport | None]:
    """The machine that --device names, if it is given."""
    if device is None:
        yield None
        return
    with closing(open_transport(device)) as transport:
        yield transport


_DIM_HELP = "Size of a symbolic dimension, or all that a run may have (1..512), or another one that it equals."


def shape_options(command: Callable) -> Callable:
    """`--shape x=1x3x224x224` and `--dim batch=1`, as the parameters `shapes` and `dims` (dicts)."""
    command = click.option(
        "--shape", "shapes", multiple=True, metavar="NAME=AxBxC", callback=_parse_shapes, help="Shape of an input."
    )(command)
    return click.option(
        "--dim", "dims", multiple=True, metavar="SYMBOL=N|LOW..HIGH|OTHER", callback=_parse_dims, help=_DIM_HELP
    )(command)


def size_options(command: Callable) -> Callable:
    """`--dim seq=128` of a run, as the parameter `sizes` (a dict)."""
    return click.option(
        "--dim",
        "sizes",
        multiple=True,
        metavar="SYMBOL=N",
        callback=_parse_dims,
        help="Size of random inputs; default: the largest.",
    )(command)


def run_ports(program: Program, sizes: Mapping[str, Any]) -> list[Port]:
    """The inputs of a run of a program: symbols have these sizes, or else the highest. UsageError for others."""
    for name, size in sizes.items():
        if name not in program.ranges:
            known = f"its sizes are {', '.join(program.ranges)}" if program.ranges else "all its sizes are fixed"
            raise UsageError(f"{program.name} has no size called {name!r}: {known}")
        if not isinstance(size, int):
            raise UsageError(f"--dim {name}: a run has one size, not {size!r}")
    at = {name: sizes.get(name, high) for name, (_, high) in program.ranges.items()}
    check(at, program.ranges)
    return [port.at(at) for port in program.inputs]


def _parse_shapes(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {name: _sizes(text, size.split("x")) for text in texts for name, size in [_split(text)]}


def _parse_dims(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> dict[str, int | tuple | str]:
    return {name: _dim(text, size) for text in texts for name, size in [_split(text)]}


def _dim(text: str, given: str) -> int | tuple[int, ...] | str:
    """A size, a range as (lowest, highest), or another symbol."""
    if ".." in given:
        low, high = ends = _sizes(text, given.split("..", 1))
        if low > high:
            raise click.BadParameter(f"{text!r} is no range: the lowest size comes first")
        return ends
    return given if re.match(r"[^\W\d]", given) else _sizes(text, [given])[0]


def _split(text: str) -> tuple[str, str]:
    name, equals, size = text.rpartition("=")
    if not (name and equals and size):
        raise click.BadParameter(f"{text!r} should look like name=1x3x224x224, name=128 or name=1..512")
    return name, size


def _sizes(text: str, sizes: Sequence[str]) -> tuple[int, ...]:
    try:
        result = tuple(int(size) for size in sizes)
    except ValueError:
        raise click.BadParameter(f"{text!r} has a size that is not a number") from None
    if any(size < 1 for size in result):
        raise click.BadParameter(f"{text!r} has a size below 1")
    return result


def parse_bytes(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """A number of bytes such as `25M` or `1.5M`, where K, M and G are 1000, 1000² and 1000³."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text, re.IGNORECASE)
    size = int(Fraction(found[1]) * 1000 ** " KMG".index(found[2].upper() or " ")) if found else 0
    if size < 1000:
        raise click.BadParameter(f"{text!r} should look like 25M, and be 1000 bytes or more")
    return size


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, as a function of (what is done, how many are done, of how many); quiet off a terminal."""
    text = TextColumn("{task.description}")
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("start", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield report


def emit_json(data: Any) -> None:
    """Print `data` as JSON on stdout; NaN and infinities, which JSON lacks, as null."""
    click.echo(json.dumps(_finite(data), indent=2, default=str, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; columns that hold numbers are aligned right."""
    view = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        view.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        view.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    stdout.print(view)
