"""Measures what the events of a cost model cost on this machine, by timing kernels that have more of one or another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.targets.cost import Caches, CostModel, moved
from sparsec.targets.isa import Isa
from sparsec.targets.jit import Jit
from sparsec.targets.samples import Sample, families
from sparsec.targets.timing import Flusher, Timed

ROUNDS, EACH = 5, 3  # of each kernel, alternating with the others: the smallest time of all counts
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Error:
    """How far the fitted model is from one sample."""

    family: str
    kernel: str
    sample: str
    measured: float
    predicted: float

    @property
    def relative(self) -> float:
        return abs(self.predicted / self.measured - 1)


@dataclass(frozen=True)
class Calibration:
    """A cost model and how well it tells the times that it was fitted to."""

    model: CostModel
    errors: tuple[Error, ...]


def calibrate(isa: Isa, caches: Caches, progress: Progress = lambda *_: None) -> Calibration:
    """Measures and fits all families of kernels, in a few seconds."""
    nanoseconds: dict[str, float] = {}
    errors: list[Error] = []
    wanted = families(isa)
    total = len(wanted) * (ROUNDS + 1)
    for index, (family, samples) in enumerate(wanted.items()):

        def report(rounds: int, what: str = family, before: int = index * (ROUNDS + 1)) -> None:
            progress(f"measure {what} kernels", before + rounds, total)

        costs, found = _fitted(family, samples, isa, caches, report)
        nanoseconds |= costs
        errors += found
    return Calibration(CostModel(nanoseconds, caches), tuple(errors))


def fingerprint(isa: Isa, caches: Caches) -> str:
    """What the costs of this version of the code depend on, in 50 ms: the samples, and the events that they count.

    Weights without non-zeros tell the names of all events, and counts that depend on sizes alone.
    """
    return repr([(sample, _events(sample, isa, caches)) for samples in families(isa).values() for sample in samples])


def _events(sample: Sample, isa: Isa, caches: Caches) -> dict[str, float]:
    return count(sample, sample.kernel(), np.zeros(sample.sizes, np.float32), isa, caches)


def count(sample: Sample, kernel: Any, weight: np.ndarray, isa: Isa, caches: Caches) -> dict[str, float]:
    """The events of a sample: kernels chosen by their weights count by them, others by the size of their arguments."""
    if hasattr(kernel, "events"):
        return kernel.events(isa, caches, weight)
    *read, written = (array.nbytes for array in sample.arrays(kernel, weight))
    return {**kernel.work(isa), **moved(kernel.moves, sum(read), written, caches)}


def _fitted(
    family: str, samples: Sequence[Sample], isa: Isa, caches: Caches, report: Callable[[int], None]
) -> tuple[dict[str, float], list[Error]]:
    """What each event of the samples of one family costs, and the errors of the fit."""
    report(0)
    weights = [sample.weight() for sample in samples]
    kernels: list[Any] = [sample.kernel() for sample in samples]
    cases = list(zip(samples, kernels, weights, strict=True))
    events = [count(*case, isa, caches) for case in cases]
    jit, flusher = Jit(kernels, isa), Flusher(caches.l2)
    runs = [Timed(jit, kernel, sample.arrays(kernel, weight), flusher) for sample, kernel, weight in cases]
    times = measure(runs, report)
    names = sorted(set().union(*events))
    counts = np.array([[event.get(name, 0.0) for name in names] for event in events])
    costs = fit(counts, 1e9 * times)
    errors = [
        Error(family, kernel.name, str(sample), seconds, guess)
        for sample, kernel, seconds, guess in zip(samples, kernels, times, 1e-9 * counts @ costs, strict=True)
    ]
    return dict(zip(names, costs.tolist(), strict=True)), errors


def measure(runs: Sequence[Timed], report: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Seconds of each run: the smallest of a few rounds, in which all of them alternate."""
    best = np.full(len(runs), np.inf)
    for done in range(ROUNDS):
        report(done + 1)
        for index, run in enumerate(runs):
            best[index] = min(best[index], run.seconds(EACH))
    return best


def fit(counts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Costs ≥ 0 that predict `times` from `counts` of events with the least squared relative error.

    The active-set method of Lawson and Hanson (1974) on columns of unit length.
    """
    rows = counts / times[:, None]
    scale = np.linalg.norm(rows, axis=0)
    rows = rows / np.where(scale > 0, scale, 1)
    wanted = np.ones(len(times))
    free = np.zeros(rows.shape[1], bool)
    solution = np.zeros(rows.shape[1])
    while True:
        gradient = np.where(free, -np.inf, rows.T @ (wanted - rows @ solution))
        if gradient.max(initial=-np.inf) < 1e-9:
            return solution / np.where(scale > 0, scale, 1)
        free[gradient.argmax()] = True
        solution = _descend(rows, wanted, free, solution)


def _descend(rows: np.ndarray, wanted: np.ndarray, free: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """The least-squares solution over the free columns, after freezing those that it would make negative."""
    while True:
        trial = np.zeros_like(solution)
        trial[free] = np.linalg.lstsq(rows[:, free], wanted, rcond=None)[0]
        negative = free & (trial <= 0)
        if not negative.any():
            return trial
        step = (solution[negative] / (solution[negative] - trial[negative])).min()
        solution = solution + step * (trial - solution)
        free &= solution > 1e-12
        solution = np.where(free, solution, 0)
