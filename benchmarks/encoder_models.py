"""Latency of transformer encoders against onnxruntime and OpenVINO, in one run, alternating, pinned, one thread.

    python benchmarks/encoder_models.py [MODEL[@SPARSITY[/4x1]] ...] [--seq N] [--batch N] [--seconds S] [--folder DIR]

Prints lines for docs/benchmarks.md: medians in ms of sparsec in f32 and bf16 and of the engines, each with how many
times faster sparsec is, bf16 against bf16 last. With --seconds 0 models are made and compiled only; --folder keeps
them, so that a later run only measures.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import encoders
import numpy as np
from models import Run, peers

from sparsec.bench import measure
from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.verify import relative_error

DEFAULT = [f"bert_base@{sparsity}" for sparsity in ("0", "0.7", "0.8", "0.9", "0.95", "0.9/4x1")]
DEFAULT += [f"{name}@{sparsity}" for name in ("minilm", "vit_b16") for sparsity in ("0", "0.8", "0.9", "0.9/4x1")]
PRECISIONS = ("f32", "bf16")


def main() -> None:
    arguments = _arguments()
    if arguments.seconds:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for spec in arguments.models:
            case = Case(spec, arguments.batch, arguments.seq, Path(arguments.folder or folder))
            case.prepare()
            if arguments.seconds:
                results.append(case.measure(arguments.seconds))
                print(row(results[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2))


class Case:
    """A model `NAME[@SPARSITY[/BLOCKx1]]` at one size, with its files in `folder`."""

    def __init__(self, spec: str, batch: int, sequence: int, folder: Path) -> None:
        self.spec, self.batch, self.folder = spec, batch, folder
        self.name, _, pruning = spec.partition("@")
        sparsity, _, block = pruning.partition("/")
        self.sequence = None if self.name.startswith("vit") else sequence
        self.options = {"sparsity": float(sparsity or 0), "block": int((block or "1").partition("x")[0])}
        self.stem = f"{self.name}_{sparsity or 0}_{block or '1x1'}"
        self.model = folder / f"{self.stem}.onnx"

    def artifact(self, precision: str) -> Path:
        return self.folder / f"{self.stem}_{self.batch}_{self.sequence}_{precision}.so"

    def prepare(self) -> None:
        """Make and compile what is not there yet."""
        if not self.model.exists():
            encoders.save(self.folder, self.stem, self.name, **self.options)
        dims = {"batch": self.batch} | ({"seq": self.sequence} if self.sequence else {})
        for precision in PRECISIONS:
            if not self.artifact(precision).exists():
                compile_file(self.model, self.artifact(precision), Options(dims=dims, precision=precision))

    def measure(self, seconds: float) -> dict:
        """Medians of all engines, and errors from onnxruntime."""
        inputs = encoders.inputs(self.name, self.batch, self.sequence or 0)
        programs = {precision: load(self.artifact(precision)) for precision in PRECISIONS}
        others = peers(self.model, inputs)
        reference = next(iter(others["onnxruntime"]().values()))
        engines: dict[str, Run] = {
            **{f"sparsec {p}": lambda program=program: program.run(**inputs) for p, program in programs.items()},
            **others,
        }
        errors = {p: _error(program.run(**inputs), reference) for p, program in programs.items()}
        f32, bf16, *theirs = measured = measure(engines, seconds)
        speedups = {m.name: f32.speedup_over(m) for m in theirs}
        found = {"ms": {m.name: m.median * 1e3 for m in measured}, "speedup": speedups, "rounds": len(f32.times)}
        if "openvino bf16" in others:
            found["speedup bf16"] = bf16.speedup_over(theirs[-1])
        return {"model": self.spec, "batch": self.batch, "seq": self.sequence, "error": errors, **found}


def _error(results: dict[str, np.ndarray], reference: np.ndarray) -> float:
    return relative_error(next(iter(results.values())), reference)


def row(result: dict) -> str:
    """A line of the table."""
    cells = [f"{result['ms'][f'sparsec {p}']:.2f}" for p in PRECISIONS]
    cells += [f"{result['ms'][peer]:.1f} ({speedup:.2f}×)" for peer, speedup in result["speedup"].items()]
    cells += [f"{result['speedup bf16']:.2f}×"] if "speedup bf16" in result else []
    errors = " / ".join(f"{error:.0e}" for error in result["error"].values())
    size = f"{result['batch']} × {result['seq'] or 197}"
    return f"| {result['model']} | {size} | {' | '.join(cells)} | {errors} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each model, all engines together")
    parser.add_argument("--folder", help="keeps models and artifacts; what is there is used")
    parser.add_argument("--json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
