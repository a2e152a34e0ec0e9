"""ARM without hardware: cycles of inner loops by llvm-mca, executed instructions of whole models by QEMU.

    python benchmarks/arm.py                  both
    python benchmarks/arm.py --only loops|models [--models mobilenet_v1 mobilenet_v2] [--precision f16]

The loops are those that the compiler makes for `--target arm:CPU`, taken from its assembly. Cycles for a non-zero
weigh the steps of four non-zeros and what is left over as they occur in random weights, in rows of 128 columns.

What XNNPACK's SpMM kernels need for a non-zero comes from its public sources (src/f32-spmm, aarch64), whose loops we
do not run but count: for a tile of V vectors, V multiply-adds by a value in all lanes, V/2 load pairs of the input, one
load of the value into all lanes (ld1r), one of the distance to the next input (ldrsw), one addition of it, and
counter and branch, which "x2" has once for two non-zeros. "pipelined" loads what the next non-zero needs behind the
multiply-adds of this one. Prefetches (one or two of the input, one of the weights, for each non-zero) are left out
here, in its favour. ARM64 runs 32x1 pipelined by default.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from instructions import Counts, available, count
from mca import Loop, cycles, loops
from models import model_of

from sparsec.ir import identity_region
from sparsec.ir.types import f32
from sparsec.targets.codegen import emit_assembly
from sparsec.targets.isa import NEON, refine
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.neon import TOGETHER, LaneDenseRow, QuadRow
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.windows.windows import Window

CPUS = ("cortex-a53", "cortex-a55", "cortex-a72", "cortex-a76", "neoverse-n1")
TILES = (16, 32, 52, 64)  # floats
DEPTH = 128  # columns of weights in a block
DENSITIES = (0.2, 0.1)
PEERS = ("plain", "x2", "pipelined")


@dataclass(frozen=True)
class Line:
    """What a kernel takes on each CPU: cycles for a non-zero, or for a weight, of a tile."""

    kernel: str
    tile: int
    cycles: tuple[float, ...]

    def __str__(self) -> str:
        vectors = self.tile / 4
        cells = " | ".join(f"{each:.2f} ({each / vectors:.2f})" for each in self.cycles)
        return f"| {self.kernel} | {self.tile} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("loops", "models"))
    parser.add_argument("--models", nargs="*", default=["mobilenet_v1", "mobilenet_v2", "resnet50"])
    parser.add_argument("--precision", choices=("f32", "f16"), default="f32", help="of the models")
    arguments = parser.parse_args()
    if arguments.only != "models":
        show_loops()
    if arguments.only != "loops":
        show_models(arguments.models, arguments.precision)


def show_loops() -> None:
    """Prints cycles for a non-zero, of a tile and in brackets of a vector of it."""
    print(f"\n| Kernel | tile | {' | '.join(CPUS)} |\n|---|---|{'---|' * len(CPUS)}")
    for tile in TILES:
        for density in DENSITIES:
            print(Line(f"sparsec, {1 - density:.0%} zeros", tile, tuple(sparse_cycles(c, tile, density) for c in CPUS)))
        for peer in PEERS if tile <= 32 else ():
            print(Line(f"XNNPACK {tile}x1 {peer}", tile, tuple(peer_cycles(c, tile // 4, peer) for c in CPUS)))
    print(Line("sparsec, dense: a weight", 12, tuple(12 / 4 * dense_cycles(c) for c in CPUS)), flush=True)


def sparse_cycles(cpu: str, tile: int, density: float) -> float:
    """Cycles for a non-zero of the sparse kernel, on average over rows of random weights."""
    several, one = sparse_loops(cpu, tile)
    counts = np.random.default_rng(0).binomial(DEPTH, density, 1000)
    steps, rest = counts // TOGETHER, counts % TOGETHER
    total = steps.sum() * several.cycles(cpu) + rest.sum() * one.cycles(cpu)
    return float(total / counts.sum())


@cache
def sparse_loops(cpu: str, tile: int) -> tuple[Loop, Loop]:
    """The loop over steps of several non-zeros, and that over those left over."""
    found = {loop.multiply_adds: loop for loop in loops(assembly(QuadRow(DEPTH, tile), cpu, tile))}
    return found[TOGETHER * tile // 4], found[tile // 4]


@cache
def dense_cycles(cpu: str) -> float:
    """Cycles for a multiply-add of a vector in the dense kernel's largest tile."""
    loop = max(loops(assembly(LaneDenseRow(DEPTH), cpu, 48)), key=lambda loop: loop.multiply_adds)
    return loop.cycles(cpu) / loop.multiply_adds


def assembly(row: Row, cpu: str, pixels: int) -> str:
    """What the compiler makes of a 1x1 convolution."""
    return emit_assembly([kernel(row, pixels)], refine(NEON, cpu))


def kernel(row: Row, pixels: int) -> ConvKernel:
    """A 1x1 convolution on one row of pixels."""
    planes = Planes(1, DEPTH, 1, pixels, 1, -(-pixels // LINE) * LINE)
    window = Window((1, 1), (1, 1), (1, 1), (0, 0))
    return row.kernel(ConvShape(planes, planes, window, 1), (), Body.of(identity_region([f32])))


def peer_cycles(cpu: str, vectors: int, kind: str) -> float:
    """Cycles for a non-zero of a loop with the instructions of XNNPACK's kernel."""
    adds = [f"fmla v{i}.4s, v{16 + i}.4s, v30.4s" for i in range(vectors)]
    pairs = [f"ldp q{16 + i}, q{17 + i}, [x1, #{16 * i}]" for i in range(0, vectors, 2)]
    distance, value, advance = "ldrsw x2, [x3], #4", "ld1r {v30.4s}, [x4], #4", "add x1, x1, x2"
    end = ["subs w5, w5, #1", "b.ne start"]
    if kind == "pipelined":
        return cycles((*adds, advance, distance, value, *pairs, *end), cpu)
    one = [distance, *pairs, advance, value, *adds]
    return cycles((*one, *end), cpu) if kind == "plain" else cycles((*one, *one, *end), cpu) / 2


def show_models(names: Sequence[str], precision: str) -> None:
    """Prints executed instructions, in millions, of models and of their kinds of kernels."""
    if not available():
        print("\nexecuted instructions need qemu-aarch64: apt install qemu-user")
        return
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            options = {"target": "arm+fp16" if precision == "f16" else "arm", "precision": precision}
            specs = name, f"{name}@0.9"  # both are written to one file
            runs = [count(model_of(spec, 1, Path(folder))[0], **options) for spec in specs]
        _show_counts(name, runs)


def _show_counts(name: str, runs: Sequence[Counts]) -> None:
    print(f"\n| {name} | dense | 90 % zeros | share |\n|---|---|---|---|")
    for kind in sorted({kind for run in runs for kind in run.kinds}):
        dense, sparse = (run.kinds[kind] / 1e6 for run in runs)
        print(f"| {kind} | {dense:.1f} | {sparse:.1f} | |")
    dense, sparse = (run.total for run in runs)
    print(f"| all | {dense / 1e6:.1f} | {sparse / 1e6:.1f} | {sparse / dense:.1%} |", flush=True)


if __name__ == "__main__":
    main()
