"""What tuning could gain at most: every kernel of every layer, other panels and other chains, inside the whole model.

    python benchmarks/tuning.py [MODEL[@SPARSITY] ...] [--seconds S]

`kernels`: the best time of each layer as a step of the model, over all kernels predicted to take at most 1.6 of the
best, summed up, against the sum of the default's; the best of many noisy times is too good, so `together` says how much
faster the whole model is with all of them. `panels`: with the best other number of image rows in a panel, of one image
size at a time. `chains`: with the best other choice of chains. `copy`: a copy of the default's file, whose pages lie
elsewhere in memory: differences as small as that mean nothing. Ratios above 1 are gains.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
from models import model_of

from sparsec.bench import measure
from sparsec.compiler import Options, compile_file
from sparsec.ir import Panel, PanelAttr
from sparsec.passes import chain_layers
from sparsec.program import Program, load
from sparsec.targets.isa import LINE, host_isas
from sparsec.targets.kernels.ways import Way
from sparsec.targets.measured import Measured, Time
from sparsec.targets.native import NativeTarget
from sparsec.tune.layers import Layer, Network
from sparsec.verify import random_inputs

DEFAULT = ["mobilenet_v1@0.9", "mobilenet_v2@0.9", "resnet50@0.9", "resnet50@0", "efficientnet_b0@0", "nudenet"]
FACTOR = 1.6  # ways whose predicted time is within it of the best
ROUNDS, RUNS = 9, 4  # runs of each artifact whose steps are timed, and how many of them follow one another
PANELS = 3  # other panels of each image size
CHAINS = (
    *({"_SHARE": share} for share in (0.15, 0.25, 0.35, 0.75, 1.0)),
    *({"LONGEST": most} for most in (2, 3, 5, 8)),
)
PANEL = NativeTarget.panel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each comparison of whole models")
    parser.add_argument("--lock", help="a file that whoever measures on the last core locks")
    arguments = parser.parse_args()
    print("| Model | layers | kernels | best of each | together | panels | chains | copy |")
    print("|---|---|---|---|---|---|---|---|")
    for spec in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            print(Bound(spec, Path(folder), arguments.seconds, arguments.lock).row(), flush=True)


class Bound:
    """The artifacts of one model."""

    def __init__(self, spec: str, folder: Path, seconds: float, lock: str | None) -> None:
        self._spec, self._folder, self._seconds, self._lock = spec, folder, seconds, lock
        self._model, shape = model_of(spec, 1, folder)
        name = onnx.load(self._model, load_external_data=False).graph.input[0].name
        self._options, self._isa = Options(shapes={name: shape}), host_isas()[0]
        self._default = self._compiled("default", self._options)
        self._inputs = random_inputs(self._default.inputs)

    def row(self) -> str:
        """The line of the table."""
        layers = Network(self._model, self._options).layers
        ranked = [_ranked(layer) for layer in layers]
        bound, together = self._kernels(layers, ranked)
        panels = max((self._with_panel(size, rows) for size, rows in self._panels()), default=(1.0, ""))
        chains = max(self._with_chains(number, constants) for number, constants in enumerate(CHAINS))
        copied = self._against_default(self._copy(self._default, "again"))
        ratios = f"{bound:.3f} | {together:.3f} | {panels[0]:.3f} ({panels[1]}) | {chains[0]:.3f} ({chains[1]})"
        return f"| {self._spec} | {len(layers)} | {sum(map(len, ranked))} | {ratios} | {copied:.3f} |"

    def _kernels(self, layers: list[Layer], ranked: list[list[Way]]) -> tuple[float, float]:
        """How much faster the sum of steps is with the best kernel of each layer, and the whole model with all."""
        rounds = [[ways[min(k, len(ways) - 1)] for ways in ranked] for k in range(max(map(len, ranked)))]
        programs = [self._with_ways(ways, f"round{k}", chains=False) for k, ways in enumerate(rounds)]
        *times, again = self._profiles([*programs, self._copy(programs[0], "round0again")])
        times[0] = {node: min(seconds, again[node]) for node, seconds in times[0].items()}
        best, chosen = sum(times[0].values()), []
        for layer, ways in zip(layers, ranked, strict=True):
            found = [sum(times[k][node] for node in layer.nodes) for k in range(len(ways))]
            best -= found[0] - min(found)
            chosen.append(ways[int(np.argmin(found))])
        together = self._with_ways(chosen, "together", chains=True)
        return sum(times[0].values()) / best, self._against_default(together)

    def _with_ways(self, ways: list[Way], name: str, chains: bool) -> Program:
        """The model on these kernels: a file of measured times says that nothing is faster."""
        measured = Measured(self._folder / f"{name}.jsonl", self._isa)
        for way in ways:
            # Layers of one shape share the keys of their dense kernels: the sparse one goes first where that is wanted.
            measured.add(way.key, way.row, Time(2e-9 if way.format.is_dense else 1e-9, "model"))
        return self._compiled(name, replace(self._options, tuned=measured.path, chains=chains))

    def _profiles(self, programs: list[Program]) -> list[dict[str, float]]:
        """The smallest seconds of each node, a few runs of one program and then of the next."""
        best: list[dict[str, float]] = [{} for _ in programs]
        with _core(self._lock):
            for _ in range(ROUNDS):
                for found, program in zip(best, programs, strict=True):
                    for node, seconds in self._profile(program).items():
                        found[node] = min(seconds, found.get(node, seconds))
        return best

    def _profile(self, program: Program) -> dict[str, float]:
        runs = np.array([[s for _, s in program.profile(1, **self._inputs)] for _ in range(RUNS)]).min(axis=0)
        found: dict[str, float] = {}
        for layer, seconds in zip(program.manifest["layers"], runs, strict=True):
            found[layer["node"]] = found.get(layer["node"], 0.0) + seconds
        return found

    def _panels(self) -> Iterator[tuple[tuple[int, int], int]]:
        """Other numbers of rows for each size of images, those with the least padding first."""
        seen: dict[tuple[int, int], int] = {}

        def spy(target: NativeTarget, height: int, width: int) -> PanelAttr | None:
            found = PANEL(target, height, width)
            if found is not None and width > 1:
                seen[height, width] = found.data.rows
            return found

        with patch.object(NativeTarget, "panel", spy):
            target = Network(self._model, self._options).target
        for (height, width), default in seen.items():
            others = [rows for rows in range(1, height + 1) if rows != default and _stride(rows, width) <= 16 * 28]
            cost = {rows: target._panel_cost(rows, height, width) for rows in others}
            for rows in sorted(others, key=lambda rows: cost[rows])[:PANELS]:
                if cost[rows] < float("inf"):
                    yield (height, width), rows

    def _with_panel(self, size: tuple[int, int], rows: int) -> tuple[float, str]:
        def panel(target: NativeTarget, height: int, width: int) -> PanelAttr | None:
            return (
                PanelAttr(Panel(rows, _stride(rows, width)))
                if (height, width) == size
                else PANEL(target, height, width)
            )

        with patch.object(NativeTarget, "panel", panel):
            program = self._compiled("panel{}x{}_{}".format(*size, rows), self._options)
        return self._against_default(program), "{}×{}: {}".format(*size, rows)

    def _with_chains(self, number: int, constants: dict[str, float]) -> tuple[float, str]:
        with patch.multiple(chain_layers, **constants):
            program = self._compiled(f"chains{number}", self._options)
        return self._against_default(program), ", ".join(
            f"{name.strip('_').lower()} {v}" for name, v in constants.items()
        )

    def _compiled(self, name: str, options: Options) -> Program:
        return load(compile_file(self._model, self._folder / f"{name}.so", options).output)

    def _copy(self, program: Program, name: str) -> Program:
        return load(shutil.copy(program.path, self._folder / f"{name}.so"))

    def _against_default(self, program: Program) -> float:
        """How many times faster than the default, which runs from two files: the better one counts."""
        again = self._folder / "default2.so"
        others = [self._default, load(again) if again.exists() else self._copy(self._default, again.stem)]
        runs = {str(i): partial(each.run, **self._inputs) for i, each in enumerate((program, *others))}
        with _core(self._lock):
            ours, *theirs = measure(runs, self._seconds)
        return min(ours.speedup_over(each) for each in theirs)


def _ranked(layer: Layer) -> list[Way]:
    """The default, then others from the fastest by prediction on."""
    limit = FACTOR * min(layer.predicted.values())
    others = [row for row in layer.ways if row != layer.default and layer.predicted[row] <= limit]
    return [layer.ways[row] for row in (layer.default, *sorted(others, key=lambda row: layer.predicted[row]))]


def _stride(rows: int, width: int) -> int:
    return -(-rows * width // LINE) * LINE


@contextmanager
def _core(lock: str | None) -> Iterator[None]:
    """The last core, alone as far as others ask for `lock` too."""
    before = os.sched_getaffinity(0)
    with open(lock or os.devnull) as file:
        if lock:
            fcntl.flock(file, fcntl.LOCK_EX)
        os.sched_setaffinity(0, {max(before)})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
