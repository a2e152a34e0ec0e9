"""WebAssembly targets."""

from __future__ import annotations

from sparsec.errors import UsageError
from sparsec.targets.cost import shipped
from sparsec.targets.isa import WASM, WASM_RELAXED, Precision
from sparsec.targets.native import NativeTarget


def wasm(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """128-bit SIMD, with relaxed SIMD where asked."""
    if cpu or set(features) - {"+relaxed-simd"}:
        raise UsageError(f"{text!r}: WebAssembly has no CPUs, and of features only +relaxed-simd")
    isa = WASM_RELAXED if features else WASM
    return NativeTarget(text, (isa,), shipped(isa), precision)
