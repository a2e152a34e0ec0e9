"""AArch64 targets."""

from __future__ import annotations

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
