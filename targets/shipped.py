"""Costs of events for machines that are not at hand, in nanoseconds, as `calibrate` gives them.

x86: medians of three calibrations on a Xeon of 2024 (3.4 GHz in AVX-512 code). ARM and WebAssembly have vectors of 4
lanes; theirs are scaled from AVX2 by clock and throughput: a Cortex-A76 at 2.2 GHz, and V8 on a server core, where a
multiply-add without relaxed SIMD is two instructions.
"""

from __future__ import annotations

AVX512 = {
    "copied row": 2.52,
    "copy": 0.106,
    "dense fma": 0.175,
    "dense tile": 8.63,
    "far byte": 0.0185,
    "non-zero": 0.595,
    "shift": 0.95,
    "sparse far fma": 0.0715,
    "sparse fma": 0.155,
    "sparse row": 0,
    "sparse sum": 0.964,
    "linear far byte": 0.0186,
    "linear fma": 0.114,
    "linear load": 0.652,
    "sell gather": 2.75,
    "sell slice": 28.4,
    "sell step": 0,
    "spmm fma": 0.284,
    "spmm non-zero": 0,
    "spmm row": 5.84,
    "spmm run": 0,
    "spmm sum": 1.8,
    "turned vector": 0,
}
AVX2 = {
    "copied row": 2.22,
    "copy": 0.0938,
    "dense fma": 0.148,
    "dense tile": 1.77,
    "far byte": 0.0179,
    "non-zero": 0.402,
    "shift": 0.5,
    "sparse far fma": 0.0402,
    "sparse fma": 0.15,
    "sparse row": 0.483,
    "sparse sum": 0.436,
    "linear far byte": 0.0199,
    "linear fma": 0.103,
    "linear load": 0.304,
    "sell gather": 2.76,
    "sell slice": 33.6,
    "sell step": 0,
    "spmm fma": 0.193,
    "spmm non-zero": 0,
    "spmm row": 4.12,
    "spmm run": 0,
    "spmm sum": 0.614,
    "turned vector": 0.462,
}


def _scaled(costs: dict[str, float], all_events: float, multiply_adds: float) -> dict[str, float]:
    """`costs` on a core that takes longer for each event, and again longer for those that multiply and add."""
    return {name: cost * all_events * (multiply_adds if "fma" in name else 1) for name, cost in costs.items()}


COSTS = {
    "avx512": AVX512,
    "avx2": AVX2,
    "neon": _scaled(AVX2, 1.5, 1),
    "wasm": _scaled(AVX2, 1.3, 2),
    "wasm-relaxed": _scaled(AVX2, 1.3, 1),
}

__all__ = ["COSTS"]
