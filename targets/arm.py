"""AArch64 targets."""

from __future__ import annotations

from dataclasses import replace

from sparsec.errors import UsageError
from sparsec.targets.cost import shipped
from sparsec.targets.cpu import known
from sparsec.targets.isa import NEON, Isa, Precision, refine
from sparsec.targets.native import NativeTarget


def arm(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """NEON code for AArch64 Linux, tuned for `cpu`."""
    isa = refine(NEON, cpu, _spelled(features))
    if cpu or features:
        isa = known(isa, text)
    return NativeTarget(text, (_checked(isa, text, precision),), shipped(isa), precision)


def arm_macos(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """NEON code for macOS on Apple's own CPUs, an M1 or later."""
    if cpu and not cpu.startswith("apple-"):
        raise UsageError(f"{text}: Macs have CPUs of Apple, as apple-m1")
    macos = replace(NEON, triple="aarch64-apple-macosx11.0.0", cpu=cpu or "apple-m1")
    isa = known(refine(macos, "", _spelled(features)), text)
    return NativeTarget(text, (_checked(isa, text, precision),), shipped(isa), precision)


def _spelled(features: tuple[str, ...]) -> tuple[str, ...]:
    """`features` as LLVM calls them: arithmetic in half precision, ARM's fp16, is its fullfp16."""
    return tuple("+fullfp16" if feature == "+fp16" else feature for feature in features)


def _checked(isa: Isa, text: str, precision: Precision) -> Isa:
    """`isa`; raises UsageError where products of f16 are allowed, but not the instructions for them."""
    if precision == "f16" and not isa.half_arithmetic:
        raise UsageError(f"--precision f16 needs arithmetic on f16: use {text}+fp16")
    return isa
