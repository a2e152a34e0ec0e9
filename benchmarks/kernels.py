"""Convolution kernels against the machine's peak, OpenVINO and MKL, and predicted against measured times.

    python benchmarks/kernels.py [--shapes peers|resnet50|mobilenet|tokens|lengths] [--isa avx512-amx] [--all-rows]
    python benchmarks/kernels.py --sweep          cost model: errors of predictions, how often the choice is the fastest

One thread; pin it (taskset -c 1). All contenders of a shape alternate in one run; medians. Layers rotate through
several sets of weights, as in a network. Peers that are not installed are left out: openvino (chains of equal layers
with ReLU), mkl (CSR × dense, 1x1 only). Useful GFLOP/s count non-zeros and pixels, dense-equivalent ones what a dense
layer needs. A sweep takes the smallest times instead, of layers whose operands are in the caches already.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from layers import SHAPES, SWEEP, Layer
from machine import peak
from peers import LAYERS, Contender, Mkl, alternate, openvino, warm
from xdsl.dialects.builtin import f32

from sparsec.ir.scalar import region
from sparsec.targets.cost import calibrated
from sparsec.targets.isa import AVX512, AVX512_TILES, ISAS
from sparsec.targets.jit import Jit, aligned, aligned_copy
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import AMX_ROWS, DENSE, ROWS, SPARSE, WINOGRAD
from sparsec.targets.kernels.region import Body
from sparsec.targets.native import NativeTarget

ROTATED = 64 << 20  # most bytes of weights in rotation


RELU = Body.of(region([f32], lambda x: x.max(0.0)))


def ours(layer: Layer, row: Row, density: float, target: NativeTarget, layers: int) -> Contender:
    """Our kernel of `row`, on rotating weights."""
    kernel = row.kernel(layer.shape(target), (), RELU)
    jit = Jit([kernel], target.isas[0])
    images = operands(kernel)
    scratch = aligned(kernel.scratch)
    calls = [prepared(jit, kernel, layer.weight(density, seed), *images, scratch) for seed in range(layers)]
    return Contender(row.name, lambda: [call(0, kernel.chunks) for call in calls], layers, density)


def operands(kernel: ConvKernel) -> list[np.ndarray]:
    """Source and target of a kernel."""
    random = np.random.default_rng(1)
    sizes = [planes.images * planes.image_size for planes in (kernel.shape.source, kernel.shape.target)]
    return [aligned_copy(random.standard_normal(size, dtype=np.float32)) for size in sizes]


def prepared(
    jit: Jit, kernel: ConvKernel, weight: np.ndarray, x: np.ndarray, y: np.ndarray, scratch: np.ndarray | None = None
) -> Callable[[int, int], None]:
    return jit.prepared(kernel, [x, aligned_copy(kernel.pack(weight)), y], scratch)


def compare(layer: Layer, densities: Sequence[float], target: NativeTarget, rows: Sequence[Row], rounds: int) -> None:
    """Times every contender on one layer and prints a line each."""
    isa = target.isas[0]
    layers = max(1, min(LAYERS, ROTATED // layer.weight(1.0, 0).nbytes))
    dense = [r for r in (DENSE, *WINOGRAD, *AMX_ROWS.values()) if r.fits(layer.shape(target)) and r.suits(isa)]
    contenders = [ours(layer, row, 1.0, target, layers) for row in dense]
    contenders += [c for c in (openvino(layer, "f32"), openvino(layer, "bf16")) if c]
    for density in densities:
        chosen = rows or [_cheapest(layer, density, target)]
        contenders += [ours(layer, row, density, target, layers) for row in chosen]
        if layer.taps == layer.stride == layer.groups == 1:
            contenders += _mkl(layer, density, layers)
    alternate(contenders, rounds)
    top = peak(isa)
    print(f"\n{layer}  (peak {top / 1e9:.0f} GFLOP/s)")
    shape = layer.shape(target).target
    flops = 2 * layer.outputs * (layer.channels // layer.groups) * layer.taps**2 * shape.height * shape.width
    for contender in contenders:
        useful, equal = flops * contender.density / contender.seconds, flops / contender.seconds
        ratio = contenders[0].seconds / contender.seconds
        what = f"{contender.label:26} {contender.density:4.0%} {contender.seconds * 1e3:8.3f} ms"
        speed = f"useful {useful / 1e9:5.0f} GFLOP/s = {useful / top:4.0%} of peak, dense-equivalent {equal / 1e9:5.0f}"
        print(f"  {what}  {speed}, {ratio:5.2f}x our dense", flush=True)


def _cheapest(layer: Layer, density: float, target: NativeTarget) -> Row:
    weight, shape = layer.weight(density, 0), layer.shape(target)
    return min(SPARSE, key=lambda row: predicted(row, shape, weight, target))


def predicted(row: Row, shape: ConvShape, weight: np.ndarray, target: NativeTarget) -> float:
    """Seconds by the target's cost model."""
    events = row.kernel(shape, (), RELU).events(target.isas[0], target.cost.caches, weight)
    return target.cost.seconds(events)


def _mkl(layer: Layer, density: float, layers: int) -> list[Contender]:
    try:
        return [Mkl().contender(layer, density, layers)]
    except OSError:
        return []


def sweep(target: NativeTarget, densities: Sequence[float], rounds: int) -> None:
    """Predicted against measured times of every row; whether the predicted choice is the measured one."""
    errors, losses = [], []
    agreed = kinds = 0
    for layer in SWEEP:
        for density in densities:
            weight, shape = layer.weight(density, 0), layer.shape(target)
            rows = [row for row in ROWS.values() if row.fits(shape)]
            guesses = np.array([predicted(row, shape, weight, target) for row in rows])
            times = warm([ours(layer, row, density, target, 1) for row in rows], rounds)
            choice, best = guesses.argmin(), times.argmin()
            errors += list(abs(guesses / times - 1))
            losses.append(times[choice] / times[best] - 1)
            agreed, kinds = agreed + (choice == best), kinds + (rows[choice].sparse == rows[best].sparse)
            pairs = zip((row.name for row in rows), guesses * 1e3, times * 1e3, strict=True)
            cells = "  ".join(f"{row.split('_')[-1]} {guess:.3f}/{time:.3f}" for row, guess, time in pairs)
            print(f"{layer!s:28} {density:4.0%}  {cells}  loss {losses[-1]:.0%}", flush=True)
    print(f"median error {np.median(errors):.1%}, 90 % below {np.quantile(errors, 0.9):.1%}")
    print(f"dense or sparse as measured in {kinds} of {len(losses)}, the very row in {agreed}")
    print(f"slower than the fastest row by {np.mean(losses):.1%} on average, {max(losses):.0%} at worst")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=SHAPES, default="peers")
    isas = {AVX512_TILES.name: AVX512_TILES, **ISAS}
    parser.add_argument("--isa", choices=isas, default=AVX512.name)
    parser.add_argument("--density", type=float, action="append", help="default: 0.3, 0.2, 0.1, 0.05")
    parser.add_argument("--all-rows", action="store_true", help="every sparse row, not the one that is predicted best")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    isa = isas[options.isa]
    target = NativeTarget("host", (isa,), calibrated(isa))
    if options.sweep:
        sweep(target, options.density or (0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1, 0.05), options.rounds)
        return
    for layer in SHAPES[options.shapes]:
        compare(
            layer, options.density or (0.3, 0.2, 0.1, 0.05), target, SPARSE if options.all_rows else (), options.rounds
        )


if __name__ == "__main__":
    main()
