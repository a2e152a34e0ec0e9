"""Where a sparse 1x1 convolution loses time against multiply-adds on registers: one cause is taken away after another.

    taskset -c 1 python benchmarks/gaps.py [--density 0.1]

Weights that are in the L2 already; sums of all outputs in the same four rows, so that they stay in the L1; rows of B
that are eight and the same; rows of weights of equal length; K in one block, so that sums are loaded and stored once.
What is left is what non-zeros cost beyond multiply-adds that load a vector each (`Peak`, and with loads).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from kernels import RELU, operands
from layers import Layer
from machine import Peak
from peers import Contender, alternate

from sparsec.targets.builder import Builder
from sparsec.targets.cost import host_caches
from sparsec.targets.isa import AVX512, LINE
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.conv.sparse import SparseConv, SparseRow
from sparsec.targets.native import NativeTarget
from sparsec.targets.timing import Flusher, Timed

LAYERS = (
    (Layer(512, 512, 14, 14), SparseRow(80, 128)),
    (Layer(256, 256, 28, 28), SparseRow(96, 128)),
    (Layer(256, 1024, 14, 14), SparseRow(96, 128)),
)
WHOLE = 1 << 16  # a depth that is one block
SAME_SUMS, SAME_ROWS = 4, 8


@dataclass(frozen=True)
class LoadingPeak(Peak):
    """Multiply-adds that each load a vector from the L1."""

    @property
    def name(self) -> str:
        return "loading_peak"

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32"]) as ((x,), _, begin, end):
            sums = [b.vload(x, i * b.isa.lanes) for i in range(12)]
            value = sums[0]
            with b.loop(begin, end, carry=sums) as i:
                line = x + (i % 4) * (12 * b.isa.lanes)
                sums[:] = [b.fma(b.vload(line, v * b.isa.lanes), value, total) for v, total in enumerate(sums)]
            for i, total in enumerate(sums):
                b.vstore(total, x, i * b.isa.lanes)


def rows(stream: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each row of weights begins in a packed stream without parts, and how many non-zeros it has."""
    for head in stream[: stream[0] // 4] // 4:
        at = head + 1
        for _ in range(stream[head]):
            count, length = stream[at : at + 2]
            at += 2
            for _ in range(length):
                yield at, count
                at += 2 + 2 * count


def edited(stream: np.ndarray, stride: int) -> Iterator[np.ndarray]:
    """The stream with few outputs, and then with few rows of B, `stride` bytes apart, as well."""
    stream = stream.copy()
    for number, (at, count) in enumerate(rows(stream)):
        stream[at] = stream[at + 1 + 2 * count] = number % SAME_SUMS
    yield stream.copy()
    for at, count in rows(stream):
        stream[at + 1 : at + 1 + 2 * count : 2] = np.arange(count) % SAME_ROWS * stride
    yield stream


def equal(weight: np.ndarray, block: int, density: float) -> np.ndarray:
    """Weights with as many non-zeros in each row of each block of K."""
    random, result = np.random.default_rng(1), np.zeros_like(weight)
    for start in range(0, weight.shape[1], block):
        width = min(block, weight.shape[1] - start)
        for row in result[:, start : start + width, 0, 0]:
            row[random.choice(width, round(density * width), replace=False)] = 1
    return result


def steps(layer: Layer, row: SparseRow, density: float) -> dict[str, Callable[[], float]]:
    """What gives the seconds of a run, the layer as it is first, then with one cause less each."""
    target = NativeTarget("host", (AVX512,), None)  # type: ignore[arg-type]
    shape, weight = layer.shape(target), layer.weight(density, 0)
    kernel = row.kernel(shape, (), RELU)
    one = replace(row, depth=WHOLE).kernel(shape, (), RELU)
    same, whole = equal(weight, kernel.block * shape.taps, density), equal(weight, WHOLE, density)
    near, narrow = edited(kernel.pack(weight), 4 * shape.stride)
    cases = {
        "as it is": (kernel, kernel.pack(weight), weight),
        "weights in L2": (kernel, kernel.pack(weight), weight),
        "sums in L1": (kernel, near, weight),
        "B in L1": (kernel, narrow, weight),
        "equal rows": (kernel, [*edited(kernel.pack(same), 4 * shape.stride)][1], same),
        "K in one block": (one, [*edited(one.pack(whole), 4 * shape.stride)][1], whole),
    }
    found: dict[str, Callable[[], float]] = {}
    for name, (used, stream, values) in cases.items():
        flushed = 0 if found else host_caches().l2
        found[name] = runner(used, stream, flushed, np.count_nonzero(weight) / np.count_nonzero(values))
    return found


def runner(kernel: SparseConv, stream: np.ndarray, flushed: int, scale: float) -> Callable[[], float]:
    """Seconds of a run, times `scale`; all but the activations is out of an L2 of `flushed` bytes."""
    x, y = operands(kernel)
    timed = Timed(Jit([kernel], AVX512), kernel, [x, stream, y], Flusher(flushed))
    return lambda: timed.seconds(2) * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    for layer, row in LAYERS:
        runs = steps(layer, row, options.density)
        best = np.full(len(runs), np.inf)
        for _ in range(options.rounds):
            best = np.minimum(best, [run() for run in runs.values()])
        report(layer, list(runs), best, np.count_nonzero(layer.weight(options.density, 0)))


def report(layer: Layer, names: list[str], seconds: np.ndarray, stored: int) -> None:
    """A line for each cause: microseconds, and its share of the whole."""
    pixels = layer.height * layer.width
    registers, loads = (2 * stored * pixels / rate(kernel) for kernel in (Peak(), LoadingPeak()))
    padding, whole = -(-pixels // LINE) * LINE / pixels, seconds[0]
    lost = dict(zip(names[1:], seconds[:-1] - seconds[1:], strict=True))
    lost["offsets, values, loops"] = seconds[-1] - loads * padding
    lost["a load for each multiply-add"] = (loads - registers) * padding
    lost["padding"] = registers * (padding - 1)
    lost["useful multiply-adds"] = registers
    print(f"\n{layer}: {whole * 1e6:.0f} us")
    for name, time in lost.items():
        print(f"  {name:30} {time * 1e6:6.1f} us {time / whole:6.1%}", flush=True)


def rate(kernel: Peak) -> float:
    """FLOP/s of a kernel of multiply-adds."""
    x = aligned_copy(np.full(1024, 1e-3, np.float32))
    run = Jit([kernel], AVX512).prepared(kernel, [x])
    contender = Contender(kernel.name, lambda: run(0, kernel.chunks), 1, 1.0)
    alternate([contender], 9)
    return kernel.flops(AVX512) / contender.seconds


if __name__ == "__main__":
    main()
