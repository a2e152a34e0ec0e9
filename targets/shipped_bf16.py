"""Costs of kernels of bf16, and of f32 on tiles of bf16, for machines that are not at hand: nanoseconds of each event.

AMX was measured on the Xeon of `shipped`. That one's vdpbf16ps takes two cycles, twice an FMA; the costs of avx512-bf16
are for the CPUs that have it and no AMX, AMD's from Zen 4 on, on which it is taken to be as fast as an FMA. Other ISAs
widen pairs, and multiply and add twice: costs scaled from those of their FMA.
"""

from __future__ import annotations

AMX = {
    "bf16 call": 1490,
    "bf16 far byte": 0.0329,
    "bf16 far read byte": 0.0398,
    "bf16 far written byte": 0,
    "bf16 near byte": 0.00496,
    "bf16 pair": 0,
    "bf16 pixel": 0.873,
    "bf16 pixel line": 0.205,
    "bf16 pixel product": 6.35,
    "bf16 pixel strip": 503,
    "bf16 product": 8.28,
    "bf16 row": 4.43,
    "bf16 sum": 1.63,
    "expanded pixel row": 0,
    "expanded row": 0,
    "linear bf16 dot": 0.3,
    "linear bf16 far byte": 0.0393,
    "linear bf16 product": 8.95,
    "linear bf16 sum": 0.885,
    "linear bf16 token": 3.08,
    "pair": 0,
    "pair dot": 0.668,
    "pair row": 0,
    "pair sum": 0.111,
    "split call": 7190,
    "split copied row": 0,
    "split copy": 0.917,
    "split far byte": 0.0188,
    "split far read byte": 0,
    "split far written byte": 0.0198,
    "split near byte": 0,
    "split pair": 9.18,
    "split product": 37.1,
    "split row": 1.85,
    "split sum": 0.453,
    "strip product": 8.7,
    "strip sum": 2.9,
}


def _without_tiles(product: float, dot: float, pair: float) -> dict[str, float]:
    """The costs where a product of tiles, 16 × 16 × 32, is made of vectors; `pair` is a dot product that loads one."""
    products = dict.fromkeys(("bf16 product", "bf16 pixel product", "strip product"), product) | {
        "linear bf16 product": 0
    }
    return {**AMX, **products, "linear bf16 dot": dot, "pair dot": pair}


BF16 = {
    "avx512-amx": AMX,
    "avx512-bf16": _without_tiles(43, 0.17, 0.2),
    "avx512": _without_tiles(110, 0.4, 0.5),
    "avx2": _without_tiles(210, 0.4, 0.4),
    "neon": _without_tiles(630, 0.6, 0.6),
    "wasm": _without_tiles(1100, 1.1, 1.1),
    "wasm-relaxed": _without_tiles(550, 0.55, 0.55),
}

__all__ = ["BF16"]
