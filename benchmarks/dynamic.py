"""One artifact for a range of sizes against artifacts specialised to each, in one run, alternating, pinned, one thread.

    python benchmarks/dynamic.py MODEL.onnx --dim batch=1..8 --dim seq=1..512 [--sizes 1,16 --sizes 8,128]
        [--seconds S] [--folder DIR]

Sizes are those of the symbols in the order of their names. Prints a line for docs/benchmarks.md for each: medians in ms
of both, the ratio (static / dynamic: 0.9 is 11 % slower), workspace in MB of both, and the largest difference of their
outputs. With --seconds 0 artifacts are compiled only; --folder keeps them, so that a later run only measures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sparsec.bench import measure
from sparsec.compiler import Options, compile_file
from sparsec.program import Program, load
from sparsec.verify import random_inputs, relative_error

Ranges = dict[str, tuple[int, int]]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        dynamic = _artifact(arguments.model, folder, arguments.dims)
        wanted = [tuple(zip(sorted(arguments.dims), sizes, strict=True)) for sizes in arguments.sizes]
        static = {sizes: _artifact(arguments.model, folder, sizes) for sizes in wanted}
        if not arguments.seconds:
            return
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        program = load(dynamic)
        print("| sizes | specialised ms | one artifact ms | ratio | workspaces MB | error |\n|---|---|---|---|---|---|")
        for sizes, path in static.items():
            print(_row(program, load(path), dict(sizes), arguments.seconds), flush=True)


def _artifact(model: Path, folder: Path, dims: Ranges | Sequence[tuple[str, int]]) -> Path:
    """The artifact for these sizes, compiled where it is not there yet."""
    text = "_".join(f"{name}{size}" if isinstance(size, int) else name for name, size in dict(dims).items())
    path = folder / f"{model.stem}_{text}.so"
    if not path.exists():
        compile_file(model, path, Options(dims=dict(dims)))
    return path


def _row(dynamic: Program, static: Program, sizes: dict[str, int], seconds: float) -> str:
    inputs = random_inputs([port.at(sizes) for port in dynamic.inputs])
    results = [program.run(**inputs) for program in (static, dynamic)]
    error = max(relative_error(results[1][name], value) for name, value in results[0].items())
    one, other = measure({"static": lambda: static.run(**inputs), "dynamic": lambda: dynamic.run(**inputs)}, seconds)
    workspaces = static.workspace_bytes / 1e6, dynamic.workspace_bytes_for(**sizes) / 1e6
    cells = [
        ", ".join(f"{name} {size}" for name, size in sizes.items()),
        f"{one.median * 1e3:.2f}",
        f"{other.median * 1e3:.2f}",
        f"{other.speedup_over(one):.2f}",
        f"{workspaces[0]:.1f}, {workspaces[1]:.1f}",
        f"{error:.0e}",
    ]
    return f"| {' | '.join(cells)} |"


def _range(text: str) -> tuple[str, tuple[int, int]]:
    name, _, sizes = text.partition("=")
    low, _, high = sizes.partition("..")
    return name, (int(low), int(high))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--dim", dest="dims", action="append", type=_range, required=True)
    parser.add_argument("--sizes", action="append", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line; default 2")
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    arguments.dims = dict(arguments.dims)
    highest = tuple(arguments.dims[name][1] for name in sorted(arguments.dims))
    arguments.sizes = arguments.sizes or [tuple(1 for _ in highest), highest]
    return arguments


if __name__ == "__main__":
    main()
