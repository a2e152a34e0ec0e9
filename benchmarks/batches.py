"""Batches: layer by layer, in loops over images, and with small images interleaved; one thread, in one run.

    python benchmarks/batches.py [MODEL@SPARSITY ...] [--batch 16] [--seconds 10]

Prints a table for docs/benchmarks.md: the best ms of alternating runs, medians of ratios of neighbouring runs, and the
workspace in MB. Pin it (taskset -c 1).
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import zoo

from sparsec.bench import measure
from sparsec.compiler import Options, compile_file
from sparsec.program import Program, load
from sparsec.verify import random_inputs

DEFAULT = [f"{name}@0.9" for name in ("resnet50", "mobilenet_v1", "mobilenet_v2", "efficientnet_b0")]
DEFAULT += ["resnet50@0", "mobilenet_v1@0"]
WAYS = {
    "layer by layer": {"loops": False, "interleave": False},
    "loops": {"interleave": False},
    "interleaved too": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each model, all ways together")
    arguments = parser.parse_args()
    print(f"| model, batch {arguments.batch} | {' | '.join(WAYS)} | workspaces |")
    for spec in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            print(_row(spec, arguments.batch, arguments.seconds, Path(folder)), flush=True)


def _row(spec: str, batch: int, seconds: float, folder: Path) -> str:
    name, _, sparsity = spec.partition("@")
    path = zoo.save(folder, name, batch=batch, sparsity=float(sparsity or 0))
    programs: dict[str, Program] = {}
    for way, options in WAYS.items():
        output = folder / f"{way.replace(' ', '_')}.so"
        compile_file(path, output, Options(target="host", **options))
        programs[way] = load(output)
    inputs = random_inputs(programs["loops"].inputs)
    first, *others = measure({way: partial(program.run, **inputs) for way, program in programs.items()}, seconds)
    cells = [f"{min(first.times) * 1e3:.1f}"]
    cells += [f"{min(m.times) * 1e3:.1f} ({1 / m.speedup_over(first):.3f})" for m in others]
    sizes = ", ".join(f"{program.workspace_bytes / 1e6:.1f}" for program in programs.values())
    return f"| {spec} | {' | '.join(cells)} | {sizes} |"


if __name__ == "__main__":
    main()
