"""Cycles of the events of the cost model on ARM CPUs, from llvm-mca's figures for the kernels' inner loops.

    python benchmarks/arm_costs.py            prints the table CYCLES of targets/shipped_arm.py

Each event is fitted to the loops in which it occurs, with tiles of several sizes. Cortex-A76 is that of Neoverse N1,
which descends from it, where LLVM takes Cortex-A57; Cortex-A53 is that of A55, for llvm-mca lets A53 wait where it does
not (see mca.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from arm import DEPTH, dense_cycles, kernel, sparse_cycles
from mca import Loop, loops

from sparsec.ir import identity_region
from sparsec.ir.types import f32
from sparsec.targets.calibration import fit
from sparsec.targets.codegen import emit_assembly
from sparsec.targets.isa import NEON, refine
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.conv.sparse import SparseRow
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.windows.depthwise import Depthwise
from sparsec.targets.kernels.windows.windows import Window

MODELS = {
    "cortex-a53": "cortex-a55",
    "cortex-a72": "cortex-a72",
    "cortex-a76": "neoverse-n1",
    "neoverse-n1": "neoverse-n1",
    "apple-m1": "apple-m1",
}
VECTORS = (4, 8, 12, 16)


def main() -> None:
    print("CYCLES = {")
    for name, cpu in MODELS.items():
        print(f'    "{name}": {{')
        for event, cycles in sorted(measured(cpu).items()):
            print(f'        "{event}": {cycles:.3g},')
        print("    },")
    print("}")


def measured(cpu: str) -> dict[str, float]:
    """Cycles of each event that a loop shows."""
    return {
        "dense fma": dense_cycles(cpu),
        "window tap": window_cycles(cpu, 1),
        "strided window tap": window_cycles(cpu, 2),
        **rows(cpu),
        **blocks(cpu),
    }


def rows(cpu: str) -> dict[str, float]:
    """Of sparse rows, in all layers: a multiply-add of a vector, and what a non-zero takes besides."""
    times = [sparse_cycles(cpu, 4 * vectors, 0.1) for vectors in VECTORS]
    found = _fitted(("sparse fma", "non-zero"), [(vectors, 1) for vectors in VECTORS], times)
    return {**found, "spmm fma": found["sparse fma"], "spmm non-zero": found["non-zero"]}


def blocks(cpu: str) -> dict[str, float]:
    """Of blocks of outputs: a multiply-add, a vector of B, a value."""
    counts, times = [], []
    for height, vectors in ((2, 4), (2, 8), (2, 12), (4, 2), (4, 4), (4, 6)):
        loop = _largest(kernel(SparseRow(DEPTH, 4 * vectors, height), 4 * vectors), cpu)
        counts.append((loop.multiply_adds, loop.multiply_adds // height, height))
        times.append(loop.cycles(cpu))
    return _fitted(("block fma", "block load", "block value"), counts, times)


def window_cycles(cpu: str, stride: int) -> float:
    """Cycles for a vector and a tap of a depthwise 3 × 3 window on 28 × 28 pixels."""
    source, target = (Planes(1, 64, size, size, 4, -(-4 * size // 16) * 16) for size in (28 * stride, 28))
    window = Window((3, 3), (stride, stride), (1, 1), (1, 1) if stride == 1 else (0, 0))
    found = _loops(Depthwise(source, target, window, "f32", (), Body.of(identity_region([f32])), None), cpu)
    return sum(loop.cycles(cpu) for loop in found) / sum(loop.multiply_adds for loop in found)


def _fitted(names: Sequence[str], counts: Sequence[Sequence[float]], times: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, fit(np.array(counts, float), np.array(times)).tolist(), strict=True))


def _largest(kernel: Kernel, cpu: str) -> Loop:
    """The loop of a kernel with the most multiply-adds."""
    return max(_loops(kernel, cpu), key=lambda loop: loop.multiply_adds)


def _loops(kernel: Kernel, cpu: str) -> list[Loop]:
    return list(loops(emit_assembly([kernel], refine(NEON, cpu))))


if __name__ == "__main__":
    main()
