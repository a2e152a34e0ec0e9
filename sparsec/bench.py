"""Timing engines against each other in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# A run during which the process had the CPU for less than this share of the time is noise of the machine.
CPU_SHARE = 0.98
WARM_UP = 3


@dataclass(frozen=True)
class Measurement:
    """Seconds of one run of an engine."""

    name: str
    median: float
    best: float
    worst: float
    runs: int


def measure(engines: Mapping[str, Callable[[], object]], seconds: float) -> list[Measurement]:
    """Run the engines in turn for `seconds` in all, after a warm-up, so that drifts of the machine hit all alike."""
    for run in engines.values():
        for _ in range(WARM_UP):
            run()
    times: dict[str, list[float]] = {name: [] for name in engines}
    noisy: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not all(times[name] or noisy[name] for name in engines):
        for name, run in engines.items():
            wall, cpu = _once(run)
            (times if cpu >= CPU_SHARE * wall else noisy)[name].append(wall)
    return [_summary(name, times[name] or noisy[name]) for name in engines]


def _once(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def _summary(name: str, times: list[float]) -> Measurement:
    return Measurement(name, statistics.median(times), min(times), max(times), len(times))
