"""Costs of events for machines that are not at hand, in nanoseconds.

`sparsec calibrate --target x86 --print` prints the two tables of x86.

x86: medians of such calibrations on a Xeon of 2024 (3.4 GHz in AVX-512 code). WebAssembly has vectors of 4 lanes; its
costs are scaled from AVX2 by clock and throughput of V8 on a server core, where a multiply-add without relaxed SIMD is
two instructions. For ARM see `shipped_arm`.
"""

from __future__ import annotations

from sparsec.targets import shipped_arm
from sparsec.targets.shipped_bf16 import BF16

AVX512 = {
    "block fma": 0.116,
    "block load": 0.134,
    "block value": 0.114,
    "brought vector": 0.006,
    "call": 3530,
    "copied row": 1.22,
    "copied slot": 1.23,
    "copy": 0.262,
    "dense fma": 0.174,
    "dense tile": 0,
    "elementary function": 2.17,
    "epilogue function": 4.96,
    "far byte": 0.0103,
    "far read byte": 0.0101,
    "far written byte": 0.0173,
    "linear far byte": 0.00455,
    "linear fma": 0,
    "linear load": 2.38,
    "map byte": 0.0131,
    "map byte from afar": 0.0227,
    "map byte to afar": 0.0152,
    "map op": 0,
    "map step": 2520,
    "near byte": 0.00388,
    "non-zero": 0.371,
    "sell gather": 2.67,
    "sell slice": 57.5,
    "sell step": 2.62,
    "shift": 1.02,
    "sparse far fma": 0.0985,
    "sparse fma": 0.189,
    "sparse row": 0,
    "sparse sum": 0.738,
    "spmm fma": 0.251,
    "spmm non-zero": 0.161,
    "spmm row": 6.33,
    "spmm run": 0,
    "spmm sum": 1.88,
    "strided fma": 0.221,
    "strided point": 1.57,
    "strided sum": 0,
    "strided window tap": 0.254,
    "turned vector": 0.352,
    "window byte": 0.00551,
    "window byte from afar": 0.0228,
    "window byte to afar": 0,
    "window function": 4.68,
    "window step": 3840,
    "window tap": 0.206,
    "window vector": 0,
    "winograd column": 3.53,
    "winograd fma": 0.194,
    "winograd output": 1.92,
    "winograd square": 2.29,
    "winograd weight": 0.938,
}
AVX2 = {
    "block fma": 0.16,
    "block load": 0,
    "block value": 0.0194,
    "brought vector": 0,
    "call": 2490,
    "copied row": 0.47,
    "copied slot": 0.643,
    "copy": 0.277,
    "dense fma": 0.146,
    "dense tile": 0,
    "elementary function": 2.57,
    "epilogue function": 8.07,
    "far byte": 0.0123,
    "far read byte": 0.00892,
    "far written byte": 0.0153,
    "linear far byte": 0.00679,
    "linear fma": 0,
    "linear load": 1.02,
    "map byte": 0.0168,
    "map byte from afar": 0.0132,
    "map byte to afar": 0.0228,
    "map op": 0,
    "map step": 2440,
    "near byte": 0.00409,
    "non-zero": 0.297,
    "sell gather": 2.63,
    "sell slice": 37.8,
    "sell step": 1.23,
    "shift": 0.571,
    "sparse far fma": 0.0517,
    "sparse fma": 0.154,
    "sparse row": 0,
    "sparse sum": 0.373,
    "spmm fma": 0.201,
    "spmm non-zero": 0.108,
    "spmm row": 7.37,
    "spmm run": 0,
    "spmm sum": 0.191,
    "strided fma": 0.304,
    "strided point": 0.719,
    "strided sum": 2.62,
    "strided window tap": 0.314,
    "turned vector": 0.753,
    "window byte": 0.000418,
    "window byte from afar": 0.0187,
    "window byte to afar": 0,
    "window function": 4.47,
    "window step": 2900,
    "window tap": 0.189,
    "window vector": 0,
    "winograd column": 1.41,
    "winograd fma": 0.163,
    "winograd output": 0.834,
    "winograd square": 1.5,
    "winograd weight": 0.353,
}


def _scaled(costs: dict[str, float], all_events: float, multiply_adds: float) -> dict[str, float]:
    """`costs` on a core that takes longer for each event, and again longer for those that multiply and add."""
    return {name: cost * all_events * (multiply_adds if "fma" in name else 1) for name, cost in costs.items()}


_F32 = {
    "avx512-amx": AVX512,
    "avx512-bf16": AVX512,
    "avx512": AVX512,
    "avx2": AVX2,
    "neon": shipped_arm.costs(shipped_arm.DEFAULT, AVX2),
    "wasm": _scaled(AVX2, 1.3, 2),
    "wasm-relaxed": _scaled(AVX2, 1.3, 1),
}
COSTS = {name: {**costs, **BF16[name]} for name, costs in _F32.items()}
ARM_COSTS = {name: {**shipped_arm.costs(name, AVX2), **BF16["neon"]} for name in shipped_arm.CPUS}

__all__ = ["ARM_COSTS", "COSTS"]
