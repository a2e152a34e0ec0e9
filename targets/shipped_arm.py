"""Costs of events on ARM CPUs, none of which was at hand.

What the inner loops take is from llvm-mca's models of the CPUs' pipelines: `python benchmarks/arm_costs.py` prints
`CYCLES`. So the choice between dense and sparse rests on the number of load and multiply units. All else is scaled from
AVX2 on a Xeon: by how long a core takes for mixed code, and bytes from beyond the L2 by what one core reads from memory
on common boards (Raspberry Pi 3, 4 and 5, Graviton 2, Mac mini), as others report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

XEON_BANDWIDTH = 29.5  # GB/s that a core of the machine of AVX2's table reads


@dataclass(frozen=True)
class ArmCpu:
    """`slower` is how many times as long as on the Xeon's core mixed code takes; `bandwidth` is GB/s of one core."""

    ghz: float
    slower: float
    bandwidth: float
    l1: int
    l2: int


CPUS = {
    "cortex-a53": ArmCpu(1.4, 6.0, 2.0, 32 << 10, 512 << 10),
    "cortex-a72": ArmCpu(1.5, 3.5, 4.0, 32 << 10, 1024 << 10),
    "cortex-a76": ArmCpu(2.4, 1.6, 10.0, 64 << 10, 512 << 10),
    "neoverse-n1": ArmCpu(2.5, 1.5, 14.0, 64 << 10, 1024 << 10),
    "apple-m1": ArmCpu(3.2, 0.9, 55.0, 128 << 10, 4096 << 10),
}
DEFAULT = "cortex-a76"
SIMILAR = {
    "cortex-a35": "cortex-a53",
    "cortex-a55": "cortex-a53",
    "cortex-a57": "cortex-a72",
    "cortex-a73": "cortex-a72",
    "neoverse-v1": "neoverse-n1",
    "neoverse-n2": "neoverse-n1",
    "neoverse-v2": "neoverse-n1",
}

CYCLES: Mapping[str, Mapping[str, float]] = {
    "cortex-a53": {
        "block fma": 0.0435,
        "block load": 3.5,
        "block value": 2.31,
        "dense fma": 0.959,
        "non-zero": 5.22,
        "sparse fma": 2.97,
        "spmm fma": 2.97,
        "spmm non-zero": 5.22,
        "strided window tap": 4.72,
        "window tap": 1.57,
    },
    "cortex-a72": {
        "block fma": 0.991,
        "block load": 0.0248,
        "block value": 0.034,
        "dense fma": 1,
        "non-zero": 1.22,
        "sparse fma": 1.03,
        "spmm fma": 1.03,
        "spmm non-zero": 1.22,
        "strided window tap": 2.01,
        "window tap": 1.14,
    },
    "cortex-a76": {
        "block fma": 0.166,
        "block load": 1.2,
        "block value": 0.639,
        "dense fma": 0.501,
        "non-zero": 1.56,
        "sparse fma": 0.835,
        "spmm fma": 0.835,
        "spmm non-zero": 1.56,
        "strided window tap": 1.63,
        "window tap": 0.971,
    },
    "neoverse-n1": {
        "block fma": 0.166,
        "block load": 1.2,
        "block value": 0.639,
        "dense fma": 0.501,
        "non-zero": 1.56,
        "sparse fma": 0.835,
        "spmm fma": 0.835,
        "spmm non-zero": 1.56,
        "strided window tap": 1.63,
        "window tap": 0.971,
    },
    "apple-m1": {
        "block fma": 0.295,
        "block load": 0.0897,
        "block value": 0.0692,
        "dense fma": 0.334,
        "non-zero": 0.786,
        "sparse fma": 0.327,
        "spmm fma": 0.327,
        "spmm non-zero": 0.786,
        "strided window tap": 0.66,
        "window tap": 0.382,
    },
}


def cpu_named(name: str) -> str:
    """The CPU of the table that stands for `name`, as LLVM calls it."""
    if name.startswith("apple-"):
        return "apple-m1"
    return name if name in CPUS else SIMILAR.get(name, DEFAULT)


def costs(name: str, avx2: Mapping[str, float]) -> dict[str, float]:
    """Nanoseconds of all events on a CPU of the table; `avx2` are those of the Xeon."""
    cpu, cycles = CPUS[name], CYCLES[name]
    dense = cycles["dense fma"] / cpu.ghz / avx2["dense fma"]  # times as long as on the Xeon
    found = {event: cost * (dense if "fma" in event else cpu.slower) for event, cost in avx2.items()}
    found |= {event: cost * _far(cpu) for event, cost in avx2.items() if "far" in event and "fma" not in event}
    found["linear fma"] = cycles["dense fma"] / cpu.ghz
    return found | {event: cost / cpu.ghz for event, cost in cycles.items()}


def _far(cpu: ArmCpu) -> float:
    return XEON_BANDWIDTH / cpu.bandwidth


__all__ = ["CPUS", "CYCLES", "DEFAULT", "ArmCpu", "costs", "cpu_named"]
