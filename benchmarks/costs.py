"""The cost model against measurement, layer by layer inside whole models.

    python benchmarks/costs.py [MODEL[@SPARSITY] ...] [--layers] [--json FILE]

A layer's time is the smallest of some runs of its step, its operands where the network left them. Each model is
compiled three times: by the cost model's choice, all dense, and all sparse. A choice agrees with measurement where the
kind that was chosen is the faster one, or within 3 % of it. The table is for docs/benchmarks.md. Pin: taskset -c 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from models import model_of

from sparsec.compiler import Options, compile_file
from sparsec.program import Program, load
from sparsec.verify import random_inputs

MODELS = ("mobilenet_v1", "mobilenet_v2", "resnet50")
DEFAULT = [*(f"{name}@{sparsity}" for name in MODELS for sparsity in (0, 0.7, 0.8, 0.9, 0.95)), "nudenet"]
FORMATS = ("auto", "dense", "sparse")
ROUNDS, RUNS = 3, 6
CLOSE = 1.03


@dataclass(frozen=True)
class Layer:
    """One step: seconds as predicted and measured; for weights that can be both, the times of dense and sparse."""

    node: str
    op: str
    kernel: str
    predicted: float
    measured: float
    dense: float | None = None
    sparse: float | None = None
    chosen: str | None = None

    @property
    def error(self) -> float:
        return abs(self.predicted / self.measured - 1)

    @property
    def agrees(self) -> bool | None:
        """Whether the kind that was chosen is the faster one; None where there is one kind."""
        if self.dense is None or self.sparse is None:
            return None
        chosen, other = (self.dense, self.sparse) if self.chosen == "dense" else (self.sparse, self.dense)
        return chosen <= CLOSE * other


def measure(spec: str, folder: Path) -> list[Layer]:
    """The layers of a model."""
    model, shape = model_of(spec, 1, folder)
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    programs = {}
    for formats in FORMATS:
        file = folder / f"{formats}.so"
        compile_file(model, file, Options(shapes={name: shape}, formats=formats, chains=False))
        programs[formats] = load(file)
    times = _profiles(programs)
    layers = programs["auto"].manifest["layers"]
    return [_layer(entry, index, programs, times) for index, entry in enumerate(layers)]


def _profiles(programs: dict[str, Program]) -> dict[str, np.ndarray]:
    """Seconds of the steps of each program, a few runs of one and then of the next.

    Taking turns run by run, the programs' weights would drive one another out of the L3.
    """
    inputs = random_inputs(programs["auto"].inputs)
    best: dict[str, np.ndarray] = {}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            for _ in range(RUNS):
                seconds = np.array([time for _, time in program.profile(1, **inputs)])
                best[name] = np.minimum(best.get(name, seconds), seconds)
    return best


def _layer(entry: dict, index: int, programs: dict[str, Program], times: dict[str, np.ndarray]) -> Layer:
    predicted, measured = entry.get("seconds", 0.0), float(times["auto"][index])
    kinds = {name: programs[name].manifest["layers"][index].get("format") for name in ("dense", "sparse")}
    both: tuple = (None, None, None)
    if kinds["dense"] == "dense" and kinds["sparse"] not in (None, "dense"):
        chosen = "dense" if entry["format"] == "dense" else "sparse"
        seconds = {name: float(times[name][index]) for name in kinds}
        seconds[chosen] = min(seconds[chosen], measured)
        both = (seconds["dense"], seconds["sparse"], chosen)
    return Layer(entry["node"], entry["op"], entry["kernel"], predicted, measured, *both)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def row(name: str, layers: list[Layer]) -> str:
    """A line of the table. Layers that are not worth a microsecond are left out of the errors."""
    counted = [layer for layer in layers if layer.measured > 3e-6]
    predicted, measured = (np.array([getattr(x, what) for x in counted]) for what in ("predicted", "measured"))
    correlation = np.corrcoef(ranks(predicted), ranks(measured))[0, 1]
    errors = np.array([layer.error for layer in counted])
    choices = [layer.agrees for layer in layers if layer.agrees is not None]
    agreed = f"{sum(choices)} of {len(choices)}" if choices else "–"
    whole = f"{sum(predicted) * 1e3:.2f} / {sum(measured) * 1e3:.2f}"
    spread = f"{np.median(errors):.0%} | {np.quantile(errors, 0.9):.0%} | {correlation:.3f}"
    return f"| {name} | {len(counted)} | {spread} | {agreed} | {whole} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--layers", action="store_true", help="every layer, not the table alone")
    parser.add_argument("--json", help="add the layers to this file")
    options = parser.parse_args()
    found: dict[str, list[Layer]] = {}
    if options.json and Path(options.json).exists():
        stored = json.loads(Path(options.json).read_text())
        found = {name: [Layer(**layer) for layer in layers] for name, layers in stored.items()}
    for spec in options.models:
        with tempfile.TemporaryDirectory() as folder:
            found[spec] = measure(spec, Path(folder))
        if options.layers:
            _print_layers(found[spec])
        if options.json:
            content = {name: [asdict(layer) for layer in layers] for name, layers in found.items()}
            Path(options.json).write_text(json.dumps(content))
    print("| Model | layers | median error | 90 % below | rank correlation | choices agree | ms predicted / measured |")
    print("|---|---|---|---|---|---|---|")
    for name, layers in found.items():
        print(row(name, layers))
    print(row("all", [layer for layers in found.values() for layer in layers]))


def _print_layers(layers: list[Layer]) -> None:
    for x in layers:
        kinds = f"dense {x.dense * 1e3:.3f} sparse {x.sparse * 1e3:.3f}" if x.dense and x.sparse else ""
        flag = "" if x.agrees in (None, True) else " WRONG"
        times = f"{x.predicted * 1e3:8.3f} {x.measured * 1e3:8.3f} {x.predicted / x.measured:6.2f}"
        print(f"{times}  {x.node:24.24} {x.op:12} {x.kernel:42.42} {kinds}{flag}")


if __name__ == "__main__":
    main()
