"""AArch64 targets."""

from __future__ import annotations

from dataclasses import replace

from sparsec.targets.cost import shipped
from sparsec.targets.cpu import known
from sparsec.targets.isa import NEON, Precision, refine
from sparsec.targets.native import NativeTarget


def arm(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """NEON code for AArch64 Linux, tuned for `cpu`."""
    isa = refine(NEON, cpu, features)
    if cpu or features:
        isa = known(isa, text)
    return NativeTarget(text, (isa,), shipped(isa), precision)


def arm_macos(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """NEON code for macOS on Apple's own CPUs, an M1 or later."""
    macos = replace(NEON, triple="aarch64-apple-macosx11.0.0", cpu=cpu or "apple-m1")
    isa = known(refine(macos, "", features), text)
    return NativeTarget(text, (isa,), shipped(isa), precision)
