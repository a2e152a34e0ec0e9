"""Convolution kernels against the machine's peak, OpenVINO and MKL, and predicted against measured times.

    python benchmarks/kernels.py [--shapes peers|resnet50|mobilenet] [--isa avx512] [--all-rows] [--rounds 15]
    python benchmarks/kernels.py --sweep          cost model: errors of predictions, how often the choice is the fastest

One thread; pin it (taskset -c 1). All contenders of a shape alternate in one run; medians. Layers rotate through
several sets of weights, as in a network. Peers that are not installed are left out: openvino (chains of equal layers
with ReLU), mkl (CSR × dense, 1x1 only). Useful GFLOP/s count non-zeros and pixels, dense-equivalent ones what a dense
layer needs. A sweep takes the smallest times instead, of layers whose operands are in the caches already.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import f32

from sparsec.ir.scalar import region
from sparsec.targets.builder import Builder
from sparsec.targets.cost import calibrated
from sparsec.targets.isa import AVX512, ISAS, Isa
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.lowering import kernel_of, packing
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import DENSE, ROWS, SPARSE, Row
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.windows import Window
from sparsec.targets.native import NativeTarget

LAYERS = 8  # sets of weights in rotation, up to ROTATED bytes
ROTATED = 64 << 20


@dataclass(frozen=True)
class Peak(Kernel):
    """Multiply-adds on registers only."""

    @property
    def name(self) -> str:
        return "peak"

    @property
    def chunks(self) -> int:
        return 1 << 16

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32"]) as ((x,), _, begin, end):
            sums = [b.vload(x, i * b.isa.lanes) for i in range(12)]
            with b.loop(begin, end, carry=sums):
                sums[:] = [b.fma(sums[0] if i else total, total, total) for i, total in enumerate(sums)]
            for i, total in enumerate(sums):
                b.vstore(total, x, i * b.isa.lanes)

    def flops(self, isa: Isa) -> int:
        return self.chunks * 12 * 2 * isa.lanes


@dataclass(frozen=True)
class Layer:
    """A square convolution on `height` × `width` pixels of its input."""

    channels: int
    outputs: int
    height: int
    width: int
    taps: int = 1
    stride: int = 1
    groups: int = 1

    def shape(self, target: NativeTarget) -> ConvShape:
        pad = self.taps // 2
        size = [(x + 2 * pad - self.taps) // self.stride + 1 for x in (self.height, self.width)]
        source = _planes(target, self.channels, self.height, self.width)
        window = Window((self.taps, self.taps), (self.stride, self.stride), (1, 1), (pad, pad))
        return ConvShape(source, _planes(target, self.outputs, size[0], size[1]), window, self.groups)

    def weight(self, density: float, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        sizes = self.outputs, self.channels // self.groups, self.taps, self.taps
        values = random.standard_normal(sizes, dtype=np.float32) / np.sqrt(np.prod(sizes[1:])).astype(np.float32)
        return np.where(random.random(sizes) < density, values, np.float32(0))

    def __str__(self) -> str:
        window = f" {self.taps}x{self.taps}" + (f" s{self.stride}" if self.stride > 1 else "") if self.taps > 1 else ""
        window = window or (f" s{self.stride}" if self.stride > 1 else "")
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.channels}->{self.outputs}{window}{groups} @{self.height}x{self.width}"


def _planes(target: NativeTarget, channels: int, height: int, width: int) -> Planes:
    encoding = target.panel(height, width)
    if encoding is None:
        return Planes(1, channels, height, width, height, height * width)
    return Planes(1, channels, height, width, encoding.data.rows, encoding.data.stride)


# M, K, N of shared/peers.md as layers: 256,256,784; 512,512,196; 1024,1024,49; 768,768,128; 3072,768,128; 768,3072,128.
PEERS = (
    Layer(256, 256, 28, 28),
    Layer(512, 512, 14, 14),
    Layer(1024, 1024, 7, 7),
    Layer(768, 768, 8, 16),
    Layer(768, 3072, 8, 16),
    Layer(3072, 768, 8, 16),
)
RESNET50 = (
    Layer(3, 64, 224, 224, 7, 2),
    Layer(64, 64, 56, 56),
    Layer(64, 64, 56, 56, 3),
    Layer(64, 256, 56, 56),
    Layer(256, 64, 56, 56),
    Layer(128, 128, 56, 56, 3, 2),
    Layer(128, 128, 28, 28, 3),
    Layer(128, 512, 28, 28),
    Layer(512, 128, 28, 28),
    Layer(256, 512, 56, 56, 1, 2),
    Layer(256, 256, 14, 14, 3),
    Layer(256, 1024, 14, 14),
    Layer(1024, 256, 14, 14),
    Layer(512, 512, 7, 7, 3),
    Layer(512, 2048, 7, 7),
    Layer(2048, 512, 7, 7),
)
MOBILENET = (
    Layer(3, 32, 224, 224, 3, 2),
    Layer(32, 64, 112, 112),
    Layer(64, 128, 56, 56),
    Layer(128, 128, 56, 56),
    Layer(128, 256, 28, 28),
    Layer(256, 512, 14, 14),
    Layer(512, 512, 14, 14),
    Layer(512, 1024, 7, 7),
    Layer(1024, 1024, 7, 7),
)
SHAPES = {"peers": PEERS, "resnet50": RESNET50, "mobilenet": MOBILENET}
SWEEP = (
    *PEERS[:4],
    *RESNET50[2:],
    *MOBILENET[1:6],
    Layer(24, 144, 56, 56),
    Layer(160, 960, 7, 7),
    Layer(960, 320, 7, 7),
    Layer(16, 64, 20, 20, 3),
    Layer(64, 64, 20, 20, 3),
    Layer(240, 240, 28, 28, groups=3),
    Layer(96, 96, 17, 17),
)


@dataclass
class Contender:
    """Something to time: `run` computes the layer `count` times."""

    label: str
    run: Callable[[], object]
    count: int
    density: float
    seconds: float = 0.0


def alternate(contenders: Sequence[Contender], rounds: int) -> None:
    """Sets each contender's median seconds for one layer; they take turns.

    Seconds are CPU time, which on one thread is the wall time less what other processes took of the core.
    """
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, own in zip(contenders, times, strict=True):
            start = time.process_time()
            contender.run()
            own.append((time.process_time() - start) / contender.count)
    for contender, own in zip(contenders, times, strict=True):
        contender.seconds = statistics.median(own)


RELU = Body.of(region([f32], lambda x: x.max(0.0)))


def ours(layer: Layer, row: Row, density: float, target: NativeTarget, layers: int) -> Contender:
    """Our kernel of `row`, on rotating weights."""
    kernel = kernel_of(row, layer.shape(target), (), RELU)
    jit = Jit([kernel], target.isas[0])
    images = operands(kernel)
    calls = [prepared(jit, kernel, layer.weight(density, seed), *images) for seed in range(layers)]
    return Contender(row.name, lambda: [call(0, kernel.chunks) for call in calls], layers, density)


def operands(kernel: ConvKernel) -> list[np.ndarray]:
    """Source and target of a kernel."""
    random = np.random.default_rng(1)
    sizes = [planes.images * planes.image_size for planes in (kernel.shape.source, kernel.shape.target)]
    return [aligned_copy(random.standard_normal(size, dtype=np.float32)) for size in sizes]


def prepared(
    jit: Jit, kernel: ConvKernel, weight: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Callable[[int, int], None]:
    return jit.prepared(kernel, [x, aligned_copy(packing(kernel, "", weight).build()), y])


def openvino(layer: Layer, precision: str) -> Contender | None:
    """A chain of the layer (and, where its sizes differ, of the layer back), one thread."""
    try:
        import openvino as ov
        from openvino import opset13 as op
    except ImportError:
        return None
    if layer.stride != 1 or layer.groups != 1:
        return None
    x = y = op.parameter([1, layer.channels, layer.height, layer.width], np.float32)
    back = Layer(layer.outputs, layer.channels, layer.height, layer.width, layer.taps)
    for seed in range(LAYERS):
        pad = [layer.taps // 2] * 2
        weight = (back if seed % 2 and layer.channels != layer.outputs else layer).weight(1.0, seed)
        y = op.relu(op.convolution(y, op.constant(weight), [1, 1], pad, pad, [1, 1]))
    model = ov.Model([y], [x], "chain")  # pyright: ignore[reportGeneralTypeIssues]
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(model, "CPU", {**options, "ENABLE_CPU_PINNING": False})
    request = compiled.create_infer_request()
    image = np.random.default_rng(0).standard_normal((1, layer.channels, layer.height, layer.width), dtype=np.float32)
    request.set_input_tensor(ov.Tensor(image))
    return Contender(f"openvino {precision} (chain)", request.infer, LAYERS, 1.0)


class Mkl:
    """CSR × dense of Intel MKL, through its C interface; matrices are optimised before they are timed."""

    def __init__(self) -> None:
        found = [Path(sys.prefix) / "lib" / "libmkl_rt.so.3", Path(sys.prefix) / "lib" / "libmkl_rt.so.2"]
        path = next((str(p) for p in found if p.exists()), ctypes.util.find_library("mkl_rt"))
        if path is None:
            raise OSError("mkl is not installed")
        os.environ["MKL_NUM_THREADS"] = "1"
        self._library = ctypes.CDLL(path)
        self._keep: list[object] = []

    def contender(self, layer: Layer, density: float, layers: int) -> Contender:
        pixels = layer.height * layer.width
        x = aligned_copy(np.random.default_rng(1).standard_normal((layer.channels, pixels), dtype=np.float32))
        y = aligned_copy(np.zeros((layer.outputs, pixels), np.float32))
        general = (ctypes.c_int * 3)(20, 0, 0)  # SPARSE_MATRIX_TYPE_GENERAL
        handles = [self._matrix(layer.weight(density, seed)[:, :, 0, 0], general, pixels) for seed in range(layers)]
        struct = _Description(20, 0, 0)

        def run() -> None:
            for handle in handles:
                status = self._library.mkl_sparse_s_mm(
                    10, ctypes.c_float(1), handle, struct, 101, ctypes.c_void_p(x.ctypes.data), pixels, pixels,
                    ctypes.c_float(0), ctypes.c_void_p(y.ctypes.data), pixels,
                )  # fmt: skip
                assert status == 0, status

        return Contender("mkl csr", run, layers, density)

    def _matrix(self, weight: np.ndarray, general: object, pixels: int) -> ctypes.c_void_p:
        rows, columns = np.nonzero(weight)
        starts = np.searchsorted(rows, np.arange(len(weight) + 1)).astype(np.int32)
        columns, values = columns.astype(np.int32), weight[rows, columns].astype(np.float32)
        self._keep += [starts, columns, values]
        handle = ctypes.c_void_p()
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (starts[:-1], starts[1:], columns, values)]
        status = self._library.mkl_sparse_s_create_csr(ctypes.byref(handle), 0, *weight.shape, *pointers)
        assert status == 0, status
        self._library.mkl_sparse_set_mm_hint(handle, 10, _Description(20, 0, 0), 101, pixels, 1000)
        self._library.mkl_sparse_optimize(handle)
        return handle


class _Description(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int)]


def peak(isa: Isa) -> float:
    """FLOP/s of multiply-adds on registers."""
    kernel = Peak()
    run = Jit([kernel], isa).prepared(kernel, [aligned_copy(np.full(256, 1e-3, np.float32))])
    contender = Contender("peak", lambda: run(0, kernel.chunks), 1, 1.0)
    alternate([contender], 9)
    return kernel.flops(isa) / contender.seconds


def compare(layer: Layer, densities: Sequence[float], target: NativeTarget, rows: Sequence[Row], rounds: int) -> None:
    """Times every contender on one layer and prints a line each."""
    isa = target.isas[0]
    layers = max(1, min(LAYERS, ROTATED // layer.weight(1.0, 0).nbytes))
    contenders = [ours(layer, DENSE, 1.0, target, layers)]
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
    events = kernel_of(row, shape, (), RELU).events(target.isas[0], target.cost.caches, weight)
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
            guesses = np.array([predicted(row, shape, weight, target) for row in ROWS.values()])
            times = warm([ours(layer, row, density, target, 1) for row in ROWS.values()], rounds)
            choice, best = guesses.argmin(), times.argmin()
            errors += list(abs(guesses / times - 1))
            losses.append(times[choice] / times[best] - 1)
            agreed, kinds = agreed + (choice == best), kinds + ((choice == 0) == (best == 0))
            pairs = zip(ROWS, guesses * 1e3, times * 1e3, strict=True)
            cells = "  ".join(f"{row.split('_')[-1]} {guess:.3f}/{time:.3f}" for row, guess, time in pairs)
            print(f"{layer!s:28} {density:4.0%}  {cells}  loss {losses[-1]:.0%}", flush=True)
    print(f"median error {np.median(errors):.1%}, 90 % below {np.quantile(errors, 0.9):.1%}")
    print(f"dense or sparse as measured in {kinds} of {len(losses)}, the very row in {agreed}")
    print(f"slower than the fastest row by {np.mean(losses):.1%} on average, {max(losses):.0%} at worst")


def warm(contenders: Sequence[Contender], rounds: int) -> np.ndarray:
    """The smallest CPU time of each contender right after a run of itself; they take turns."""
    times = np.full(len(contenders), np.inf)
    for _ in range(rounds):
        for index, contender in enumerate(contenders):
            contender.run()
            for _ in range(3):
                start = time.process_time()
                contender.run()
                times[index] = min(times[index], time.process_time() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=SHAPES, default="peers")
    parser.add_argument("--isa", choices=ISAS, default=AVX512.name)
    parser.add_argument("--density", type=float, action="append", help="default: 0.3, 0.2, 0.1, 0.05")
    parser.add_argument("--all-rows", action="store_true", help="every sparse row, not the one that is predicted best")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    isa = ISAS[options.isa]
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
