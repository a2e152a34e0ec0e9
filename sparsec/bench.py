"""Timing engines against each other in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A round in which an engine had the CPU for less than this share of its time is noise of the machine.
CPU_SHARE = 0.98
WARM_UP = 3


@dataclass(frozen=True)
class Measurement:
    """Seconds of an engine in each of the rounds that count, the same rounds for all engines."""

    name: str
    times: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def speedup_over(self, other: Measurement) -> float:
        """How many times faster this engine is: the median over rounds, each of which compares neighbours in time."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.times, other.times, strict=True))


def measure(engines: Mapping[str, Callable[[], object]], seconds: float) -> list[Measurement]:
    """Run the engines in turn for `seconds` in all, after a warm-up, so that drifts of the machine hit all alike.

    A round counts where the machine left each engine alone; where that is none, all do.
    """
    for run in engines.values():
        for _ in range(WARM_UP):
            run()
    quiet: list[list[float]] = []
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not rounds:
        walls, shares = zip(*map(_once, engines.values()), strict=True)
        rounds.append(list(walls))
        if min(shares) >= CPU_SHARE:
            quiet.append(list(walls))
    return [Measurement(name, times) for name, times in zip(engines, zip(*(quiet or rounds), strict=True), strict=True)]


def on_device(runs: Sequence[tuple[float, float]]) -> Measurement:
    """Runs elsewhere, each with its seconds by the clock and of CPU time, by the same rule of what counts."""
    quiet = [wall for wall, cpu in runs if cpu >= CPU_SHARE * wall]
    return Measurement("sparsec", tuple(quiet or [wall for wall, _ in runs]))


def _once(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of a run, and the share of them in which the process had a CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall = time.perf_counter() - wall
    return wall, (time.process_time() - cpu) / wall
