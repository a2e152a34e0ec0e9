"""Costs of events for machines that are not at hand, in nanoseconds.

`sparsec calibrate --target x86 --print` prints the two tables of x86.

x86: medians of such calibrations on a Xeon of 2024 (3.4 GHz in AVX-512 code). ARM and WebAssembly have vectors of 4
lanes; theirs are scaled from AVX2 by clock and throughput: a Cortex-A76 at 2.2 GHz, and V8 on a server core, where a
multiply-add without relaxed SIMD is two instructions.
"""

from __future__ import annotations

AVX512 = {
    "block fma": 0.081,
    "block load": 0.167,
    "block value": 0.171,
    "call": 3.76e+03,
    "copied row": 0.909,
    "copied slot": 1.21,
    "copy": 0.298,
    "dense fma": 0.166,
    "dense tile": 0,
    "elementary function": 1.69,
    "far byte": 0.00695,
    "far read byte": 0.013,
    "far written byte": 0.0197,
    "linear far byte": 0.00039,
    "linear fma": 0,
    "linear load": 2.37,
    "map byte": 0.0125,
    "map byte from afar": 0.0239,
    "map byte to afar": 0.0129,
    "map op": 0,
    "map step": 2.53e+03,
    "near byte": 0.00201,
    "non-zero": 0.261,
    "plane": 0,
    "sell gather": 2.71,
    "sell slice": 67.6,
    "sell step": 1.97,
    "shift": 1.12,
    "sparse far fma": 0.0963,
    "sparse fma": 0.197,
    "sparse row": 0,
    "sparse sum": 0.786,
    "spmm fma": 0.266,
    "spmm non-zero": 0.0472,
    "spmm row": 7.36,
    "spmm run": 0,
    "spmm sum": 1.46,
    "strided window tap": 0.236,
    "turned vector": 0.37,
    "window byte": 0.00495,
    "window byte from afar": 0.0241,
    "window byte to afar": 0,
    "window step": 2.41e+03,
    "window tap": 0.201,
    "window vector": 0,
    "winograd fma": 0.239,
    "winograd input": 2.62,
    "winograd output": 0.537,
    "winograd weight": 0.376,
}
AVX2 = {
    "block fma": 0.163,
    "block load": 0.0161,
    "block value": 0,
    "call": 2.43e+03,
    "copied row": 0.61,
    "copied slot": 0.781,
    "copy": 0.245,
    "dense fma": 0.141,
    "dense tile": 0,
    "elementary function": 2.62,
    "far byte": 0.0126,
    "far read byte": 0.0115,
    "far written byte": 0.0145,
    "linear far byte": 0.00402,
    "linear fma": 0,
    "linear load": 1.02,
    "map byte": 0.0129,
    "map byte from afar": 0.0232,
    "map byte to afar": 0.014,
    "map op": 0,
    "map step": 2.46e+03,
    "near byte": 0.00311,
    "non-zero": 0.123,
    "plane": 0.346,
    "sell gather": 2.72,
    "sell slice": 44.5,
    "sell step": 0.737,
    "shift": 0.594,
    "sparse far fma": 0.0598,
    "sparse fma": 0.165,
    "sparse row": 0,
    "sparse sum": 0.404,
    "spmm fma": 0.2,
    "spmm non-zero": 0,
    "spmm row": 7.88,
    "spmm run": 0,
    "spmm sum": 0.00301,
    "strided window tap": 0.276,
    "turned vector": 0.908,
    "window byte": 0.0032,
    "window byte from afar": 0.0164,
    "window byte to afar": 0,
    "window step": 2.78e+03,
    "window tap": 0.167,
    "window vector": 0,
    "winograd fma": 0.15,
    "winograd input": 1.48,
    "winograd output": 0.65,
    "winograd weight": 0.37,
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
