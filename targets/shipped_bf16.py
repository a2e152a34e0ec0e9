"""Costs of the events of bf16 kernels for machines that are not at hand, in nanoseconds.

AMX was measured on the Xeon of `shipped`. That one's vdpbf16ps takes two cycles, twice an FMA; the costs of avx512-bf16
are for the CPUs that have it and no AMX, AMD's from Zen 4 on, on which it is taken to be as fast as an FMA. Other ISAs
widen pairs, and multiply and add twice: costs scaled from those of their FMA.
"""

from __future__ import annotations

AMX = {
    "bf16 call": 0,
    "bf16 far byte": 0.0182,
    "bf16 far read byte": 0,
    "bf16 far written byte": 0.0293,
    "bf16 near byte": 0.00347,
    "bf16 pair": 0.1,
    "bf16 product": 10.6,
    "bf16 row": 4.13,
    "bf16 sum": 1.31,
    "linear bf16 dot": 0.3,
    "linear bf16 far byte": 0.0393,
    "linear bf16 product": 8.95,
    "linear bf16 sum": 0.885,
    "linear bf16 token": 3.08,
}


def _without_tiles(product: float, dot: float) -> dict[str, float]:
    """The costs where a product of tiles, 16 × 16 × 32, is made of vectors."""
    return {**AMX, "bf16 product": product, "linear bf16 dot": dot, "linear bf16 product": 0}


BF16 = {
    "avx512-amx": AMX,
    "avx512-bf16": _without_tiles(43, 0.17),
    "avx512": _without_tiles(110, 0.4),
    "avx2": _without_tiles(210, 0.4),
    "neon": _without_tiles(630, 0.6),
    "wasm": _without_tiles(1100, 1.1),
    "wasm-relaxed": _without_tiles(550, 0.55),
}

__all__ = ["BF16"]
