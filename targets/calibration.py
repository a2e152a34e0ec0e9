"""Measures what the events of a cost model cost on this machine, by timing kernels that have more of one or another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.ir import identity_region
from sparsec.ir.types import f32
from sparsec.targets.cost import Caches, CostModel
from sparsec.targets.isa import Isa
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.conv.table import DENSE, SPARSE
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.windows.windows import Window
from sparsec.targets.linear_samples import LINEAR

ROUNDS, SECONDS = 5, 0.002  # of each kernel, alternating with the others: the smallest time of each counts


@dataclass(frozen=True)
class Sample:
    """A convolution of `channels` × `size` × `size` pixels, in panels of `rows` image rows, by random weights."""

    row: Row
    density: float
    channels: int
    outputs: int
    size: int
    rows: int
    taps: int = 1
    stride: int = 1

    @property
    def shape(self) -> ConvShape:
        pad = self.taps // 2
        result = (self.size + 2 * pad - self.taps) // self.stride + 1
        rows = max(1, self.rows // self.stride)
        source = _planes(self.channels, self.size, self.rows)
        window = Window((self.taps, self.taps), (self.stride, self.stride), (1, 1), (pad, pad))
        return ConvShape(source, _planes(self.outputs, result, rows), window, 1)

    def weight(self) -> np.ndarray:
        random = np.random.default_rng(0)
        values = random.standard_normal((self.outputs, self.channels, self.taps, self.taps), dtype=np.float32)
        return np.where(random.random(values.shape) < self.density, values, np.float32(0))

    def kernel(self) -> ConvKernel:
        return self.row.kernel(self.shape, (), Body.of(identity_region([f32])))

    def arrays(self, kernel: ConvKernel, weight: np.ndarray) -> list[np.ndarray]:
        """The arguments of `kernel`."""
        random = np.random.default_rng(1)
        sizes = [planes.images * planes.image_size for planes in (kernel.shape.source, kernel.shape.target)]
        x, y = (random.standard_normal(size, dtype=np.float32) for size in sizes)
        return [x, kernel.pack(weight), y]


def _planes(channels: int, size: int, rows: int) -> Planes:
    return Planes(1, channels, size, size, rows, -(-rows * size // LINE) * LINE)


WIDE, WIDER_K, NARROW, NARROWEST = SPARSE
SAMPLES = (
    *(Sample(DENSE, 1.0, *sizes) for sizes in ((128, 96, 28, 4), (256, 128, 7, 7), (32, 64, 28, 4), (512, 64, 14, 14))),
    Sample(DENSE, 1.0, 16, 96, 56, 2),
    Sample(DENSE, 1.0, 1024, 1024, 7, 7),
    Sample(DENSE, 1.0, 32, 32, 28, 4, 3),
    Sample(DENSE, 1.0, 32, 32, 14, 14, 3),
    Sample(DENSE, 1.0, 128, 32, 7, 7, 3),
    Sample(DENSE, 1.0, 32, 32, 56, 2, 3, 2),
    Sample(DENSE, 1.0, 64, 12, 28, 4, 3),
    Sample(DENSE, 1.0, 128, 12, 28, 4, 1, 2),
    Sample(DENSE, 1.0, 64, 12, 14, 14, 3, 2),
    Sample(WIDE, 0.5, 256, 128, 28, 4),
    Sample(WIDE, 0.1, 256, 256, 28, 4),
    Sample(WIDE, 0.02, 256, 256, 28, 4),
    Sample(WIDER_K, 0.1, 256, 256, 14, 14),
    Sample(WIDER_K, 0.3, 128, 64, 28, 4),
    Sample(WIDER_K, 0.1, 96, 64, 28, 4, 3),
    Sample(NARROW, 0.1, 512, 256, 14, 14),
    Sample(NARROW, 0.3, 256, 64, 14, 14),
    Sample(NARROWEST, 0.3, 640, 256, 7, 7),
    Sample(NARROWEST, 0.1, 640, 512, 7, 7),
    Sample(NARROWEST, 0.02, 640, 256, 7, 7),
    Sample(NARROWEST, 0.2, 320, 128, 16, 8),
    Sample(NARROWEST, 0.05, 320, 64, 14, 14),
    Sample(WIDE, 0.1, 256, 64, 56, 2),
    Sample(WIDE, 0.1, 768, 1024, 7, 7),
)


def calibrate(isa: Isa, caches: Caches) -> CostModel:
    """The cost model of this machine, in about 8 seconds."""
    nanoseconds = {**_calibrated(isa, caches, SAMPLES), **_calibrated(isa, caches, LINEAR)}
    return CostModel(nanoseconds, caches)


def _calibrated(isa: Isa, caches: Caches, samples: Sequence[Any]) -> dict[str, float]:
    """What each event of the samples of one family costs."""
    runs = [(sample, sample.kernel(), sample.weight()) for sample in samples]
    events = [kernel.events(isa, caches, weight) for _, kernel, weight in runs]
    jit = Jit([kernel for _, kernel, _ in runs], isa)
    timed = [_prepared(jit, kernel, sample.arrays(kernel, weight)) for sample, kernel, weight in runs]
    names = sorted(set().union(*events))
    counts = np.array([[event.get(name, 0.0) for name in names] for event in events])
    return dict(zip(names, fit(counts, 1e9 * measure(timed)).tolist(), strict=True))


def _prepared(jit: Jit, kernel: Kernel, arrays: Sequence[np.ndarray]) -> Callable[[], None]:
    run = jit.prepared(kernel, [aligned_copy(array) for array in arrays])
    return lambda: run(0, kernel.chunks)


def measure(runs: Sequence[Callable[[], None]]) -> np.ndarray:
    """Seconds of each run: the smallest of a few rounds, in which all of them alternate."""
    best = np.full(len(runs), np.inf)
    for _ in range(ROUNDS):
        for index, run in enumerate(runs):
            best[index] = min(best[index], _seconds(run))
    return best


def _seconds(run: Callable[[], None]) -> float:
    run()
    best, spent = float("inf"), 0.0
    while spent < SECONDS:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
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
