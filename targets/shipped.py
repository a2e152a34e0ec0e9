"""Costs of events for machines that are not at hand, in nanoseconds, as `sparsec calibrate --target x86 --print` prints them.

x86: medians of such calibrations on a Xeon of 2024 (3.4 GHz in AVX-512 code). ARM and WebAssembly have vectors of 4
lanes; theirs are scaled from AVX2 by clock and throughput: a Cortex-A76 at 2.2 GHz, and V8 on a server core, where a
multiply-add without relaxed SIMD is two instructions.
"""

from __future__ import annotations

AVX512 = {
    "call": 3.13e+03,
    "copied row": 1.49,
    "copy": 0.238,
    "dense fma": 0.175,
    "dense tile": 0,
    "elementary function": 2.04,
    "far byte": 0.00296,
    "far read byte": 0.0142,
    "far written byte": 0.02,
    "linear far byte": 0.00213,
    "linear fma": 0,
    "linear load": 2.43,
    "map op": 0,
    "moved byte": 0.0138,
    "moved far byte": 0.0141,
    "near byte": 0.00332,
    "non-zero": 0.405,
    "sell gather": 2.71,
    "sell slice": 70.8,
    "sell step": 2.25,
    "shift": 1.13,
    "sparse far fma": 0.0814,
    "sparse fma": 0.2,
    "sparse row": 0,
    "sparse sum": 0.704,
    "spmm fma": 0.265,
    "spmm non-zero": 0.0885,
    "spmm row": 7.71,
    "spmm run": 0,
    "spmm sum": 1.45,
    "step": 2.68e+03,
    "strided window tap": 0.0474,
    "turned vector": 0.374,
    "window row": 0,
    "window tap": 0.131,
}
AVX2 = {
    "call": 2.6e+03,
    "copied row": 1.06,
    "copy": 0.196,
    "dense fma": 0.146,
    "dense tile": 0,
    "elementary function": 2.77,
    "far byte": 0.00394,
    "far read byte": 0.0141,
    "far written byte": 0.0161,
    "linear far byte": 0.00826,
    "linear fma": 0,
    "linear load": 1.02,
    "map op": 0,
    "moved byte": 0.0135,
    "moved far byte": 0.0145,
    "near byte": 0.00265,
    "non-zero": 0.166,
    "sell gather": 2.58,
    "sell slice": 41.8,
    "sell step": 1.13,
    "shift": 0.59,
    "sparse far fma": 0.0464,
    "sparse fma": 0.171,
    "sparse row": 0,
    "sparse sum": 0.385,
    "spmm fma": 0.207,
    "spmm non-zero": 0,
    "spmm row": 7.96,
    "spmm run": 0,
    "spmm sum": 0.0272,
    "step": 2.6e+03,
    "strided window tap": 0.0897,
    "turned vector": 0.845,
    "window row": 0,
    "window tap": 0.0987,
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
