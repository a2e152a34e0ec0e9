"""Whether kernels that were faster alone are so in the whole model, and the whole with them.

Two artifacts run in turn: one with the cost model's choice, one with the measured one. Where a layer is not faster in
its place, the cache is told, and the layer goes back to the default; if the whole is not surely faster, all layers do.
Layers are compared as steps of their own, so that each is timed; the whole as it will be compiled, in chains.

Two copies of one artifact differ by up to 2 % in their times, by where in memory their pages lie. So the whole runs
from several files: the slowest of the tuned ones must not be slower than the fastest of the default ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from sparsec import verify
from sparsec.bench import Measurement, measure
from sparsec.compiler import compile_file
from sparsec.options import Options
from sparsec.program import Program, load
from sparsec.targets.kernels.ways import Way
from sparsec.targets.measured import Measured, Time
from sparsec.tune.outcome import Outcome, Override
from sparsec.tune.search import Search

PROFILES = 25  # runs of each artifact whose steps are timed: the smallest counts
SECONDS = 15.0  # of runs of all whole models
COPIES = 2  # of either whole model
SLOWER = "the whole model was not surely faster with it"


class Proof:
    """Compares the default choice of a model with the one that `measured` asks for."""

    def __init__(
        self,
        model: Path,
        options: Options,
        measured: Measured,
        searches: list[Search],
        folder: Path,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._model, self._options, self._measured = model, options, measured
        self._searches, self._folder, self._progress = searches, folder, progress

    def settle(self, outcome: Outcome) -> None:
        """Fills in what the whole model says; the cache then holds only choices that pay."""
        default = self._compiled("default", None, chains=False)
        # What an earlier proof found in models must not keep kernels from theirs that were measured since.
        alone = self._folder / "alone.jsonl"
        self._measured.write_alone(alone)
        tuned = self._compiled("tuned", alone if alone.exists() else None, chains=False)
        inputs = verify.random_inputs(default.inputs)
        self._check(tuned, default, inputs)
        changed = self._changed(default, tuned)
        kept = self._compare_steps(default, tuned, inputs, changed) if changed else []
        if not kept:
            return
        ours, theirs = self._compare_whole(inputs)
        outcome.default_ms, outcome.tuned_ms = (1e3 * median(each.median for each in found) for found in (theirs, ours))
        ratios = [one.speedup_over(other) for one in ours for other in theirs]
        outcome.ratio = median(ratios)
        if min(ratios) < 1:
            for _, _, after in kept:
                self._measured.add(after.key, after.row, Time(None, "model", SLOWER))
            outcome.ratio, outcome.tuned_ms = 1.0, outcome.default_ms
            return
        outcome.overrides = [self._override(*change) for change in kept]

    def _compiled(self, name: str, cache: Path | None, chains: bool) -> Program:
        """The model with the choice that `cache` asks for; without `chains` each layer is a step, and can be timed."""
        output = self._folder / f"{name}.so"
        settings = replace(self._options, tuned=cache, verify=None, emit=None, chains=chains)
        return load(compile_file(self._model, output, settings, self._progress).output)

    def _check(self, tuned: Program, default: Program, inputs: dict) -> None:
        """AccuracyError where the two differ."""
        tolerance = verify.tolerance(self._options.precision)
        verify.check(verify.compare(tuned.run(**inputs), default.run(**inputs), "the default kernels", tolerance))

    def _compare_whole(self, inputs: dict) -> tuple[list[Measurement], list[Measurement]]:
        """The times of copies of the model as `compile --tuned` makes it, and as it is by default."""
        chains = self._options.chains
        default = self._compiled("whole_default", None, chains)
        tuned = self._compiled("whole_tuned", self._measured.path, chains)
        self._check(tuned, default, inputs)
        self._progress("compare the whole models", 0, 0)
        programs = [(program, copy) for copy in range(COPIES) for program in (tuned, default)]
        runs = {f"{p.path.stem}_{copy}": partial(self._copy(p, copy).run, **inputs) for p, copy in programs}
        found = measure(runs, SECONDS)
        return found[::2], found[1::2]

    def _copy(self, program: Program, number: int) -> Program:
        """The program from a file of its own, whose pages lie elsewhere in memory."""
        return load(shutil.copy(program.path, self._folder / f"{program.path.stem}_{number}.so"))

    def _changed(self, default: Program, tuned: Program) -> list[tuple[Search, Way, Way]]:
        """The layers whose kernels differ, with the kernels before and after."""
        before, after = (_rows(program) for program in (default, tuned))
        changed = []
        for search in self._searches:
            node, ways = search.layer.nodes[0], search.layer.ways
            rows = [found.get(node, "") for found in (before, after)]
            if rows[0] != rows[1] and all(row in ways for row in rows):
                changed.append((search, *(ways[row] for row in rows)))
        return changed

    def _compare_steps(
        self, default: Program, tuned: Program, inputs: dict, changed: list[tuple[Search, Way, Way]]
    ) -> list[tuple[Search, Way, Way]]:
        """The changes that pay; times of all of them, inside the model, go to the cache."""
        times: list[dict[str, float]] = [{}, {}]
        for done in range(PROFILES):
            self._progress("compare the steps of the models", done, PROFILES)
            for best, program in zip(times, (default, tuned), strict=True):
                for node, seconds in _profile(program, inputs).items():
                    best[node] = min(best.get(node, seconds), seconds)
        kept = []
        for search, *ways in changed:
            nodes = search.layer.nodes
            before, after = (sum(best[node] for node in nodes) / len(nodes) for best in times)
            for way, seconds in zip(ways, (before, after), strict=True):
                self._measured.add(way.key, way.row, Time(seconds, "model"))
            if after < before:
                kept.append((search, *ways))
        return kept

    def _override(self, search: Search, before: Way, after: Way) -> Override:
        times = [self._measured.time(way.key) for way in (before, after)]
        milliseconds = [1e3 * (found.seconds or 0.0) if found else 0.0 for found in times]
        return Override(tuple(search.layer.nodes), before.row, after.row, *milliseconds)


def _rows(program: Program) -> dict[str, str]:
    """The kernel of each node with weights."""
    return {layer["node"]: layer["row"] for layer in program.manifest["layers"] if "row" in layer}


def _profile(program: Program, inputs: dict) -> dict[str, float]:
    """Seconds of each node in one run."""
    found: dict[str, float] = {}
    steps = program.profile(1, **inputs)
    for layer, (_, seconds) in zip(program.manifest["layers"], steps, strict=True):
        found[layer["node"]] = found.get(layer["node"], 0.0) + seconds
    return found
