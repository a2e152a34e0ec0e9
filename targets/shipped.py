"""Costs of events for machines that are not at hand, in nanoseconds.

`sparsec calibrate --target x86 --print` prints the two tables of x86.

x86: medians of such calibrations on a Xeon of 2024 (3.4 GHz in AVX-512 code). ARM and WebAssembly have vectors of 4
lanes; theirs are scaled from AVX2 by clock and throughput: a Cortex-A76 at 2.2 GHz, and V8 on a server core, where a
multiply-add without relaxed SIMD is two instructions.
"""

from __future__ import annotations

from sparsec.targets.shipped_bf16 import BF16

AVX512 = {
    "block fma": 0.12,
    "block load": 0.124,
    "block value": 0.0946,
    "call": 3.36e+03,
    "copied row": 0.823,
    "copied slot": 1.27,
    "copy": 0.372,
    "dense fma": 0.169,
    "dense tile": 0,
    "elementary function": 1.98,
    "epilogue function": 5.94,
    "far byte": 0.00634,
    "far read byte": 0.0138,
    "far written byte": 0.0204,
    "linear far byte": 0.00128,
    "linear fma": 0,
    "linear load": 2.42,
    "map byte": 0.0128,
    "map byte from afar": 0.0234,
    "map byte to afar": 0.0147,
    "map op": 0,
    "map step": 2.89e+03,
    "near byte": 0.00347,
    "non-zero": 0.247,
    "sell gather": 2.66,
    "sell slice": 70.6,
    "sell step": 2.57,
    "shift": 1.18,
    "sparse far fma": 0.102,
    "sparse fma": 0.21,
    "sparse row": 0,
    "sparse sum": 0.836,
    "spmm fma": 0.249,
    "spmm non-zero": 0.217,
    "spmm row": 7.44,
    "spmm run": 0,
    "spmm sum": 1.43,
    "strided window tap": 0.254,
    "turned vector": 0.495,
    "window byte": 0.00469,
    "window byte from afar": 0.0241,
    "window byte to afar": 0,
    "window function": 4.84,
    "window step": 3.03e+03,
    "window tap": 0.236,
    "window vector": 0,
    "winograd column": 3.45,
    "winograd fma": 0.209,
    "winograd output": 0.87,
    "winograd square": 2.7,
    "winograd weight": 0.941,
}
AVX2 = {
    "block fma": 0.162,
    "block load": 0.0387,
    "block value": 0,
    "call": 2.58e+03,
    "copied row": 0.986,
    "copied slot": 0.732,
    "copy": 0.191,
    "dense fma": 0.145,
    "dense tile": 0,
    "elementary function": 2.7,
    "epilogue function": 8.77,
    "far byte": 0.0151,
    "far read byte": 0.0145,
    "far written byte": 0.016,
    "linear far byte": 0.00378,
    "linear fma": 0,
    "linear load": 1.02,
    "map byte": 0.0134,
    "map byte from afar": 0.0229,
    "map byte to afar": 0.014,
    "map op": 0,
    "map step": 2.72e+03,
    "near byte": 0.00313,
    "non-zero": 0.221,
    "sell gather": 2.58,
    "sell slice": 46.1,
    "sell step": 1.15,
    "shift": 0.665,
    "sparse far fma": 0.0437,
    "sparse fma": 0.165,
    "sparse row": 0,
    "sparse sum": 0.379,
    "spmm fma": 0.203,
    "spmm non-zero": 0.0209,
    "spmm row": 8.27,
    "spmm run": 0,
    "spmm sum": 0,
    "strided window tap": 0.297,
    "turned vector": 0.823,
    "window byte": 0.00072,
    "window byte from afar": 0.0207,
    "window byte to afar": 0,
    "window function": 4.46,
    "window step": 2.91e+03,
    "window tap": 0.19,
    "window vector": 0,
    "winograd column": 1.44,
    "winograd fma": 0.156,
    "winograd output": 0.649,
    "winograd square": 1.71,
    "winograd weight": 0.355,
}


def _scaled(costs: dict[str, float], all_events: float, multiply_adds: float) -> dict[str, float]:
    """`costs` on a core that takes longer for each event, and again longer for those that multiply and add."""
    return {name: cost * all_events * (multiply_adds if "fma" in name else 1) for name, cost in costs.items()}


_F32 = {
    "avx512-amx": AVX512,
    "avx512-bf16": AVX512,
    "avx512": AVX512,
    "avx2": AVX2,
    "neon": _scaled(AVX2, 1.5, 1),
    "wasm": _scaled(AVX2, 1.3, 2),
    "wasm-relaxed": _scaled(AVX2, 1.3, 1),
}
COSTS = {name: {**costs, **BF16[name]} for name, costs in _F32.items()}

__all__ = ["COSTS"]
