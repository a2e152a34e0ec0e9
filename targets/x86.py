"""x86-64 targets."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm

from sparsec.errors import TargetError, UsageError
from sparsec.targets.cost import calibrated, shipped
from sparsec.targets.cpu import known, macros
from sparsec.targets.isa import AVX2, AVX512, Isa, host_isas, refine
from sparsec.targets.native import NativeTarget


def x86(text: str, cpu: str, features: tuple[str, ...]) -> NativeTarget:
    """Both AVX-512 and AVX2 code, or with a CPU the one that it runs, tuned for it."""
    isas = (AVX512, AVX2) if not cpu else (_isa_of(text, cpu),)
    if cpu or features:
        isas = tuple(known(refine(isa, cpu, features), text) for isa in isas)
    return NativeTarget(text, isas, calibrated(isas[0]) if isas[0] in host_isas() else shipped(isas[0]))


def host(text: str, cpu: str, features: tuple[str, ...]) -> NativeTarget:
    """The best code for this machine; artifacts run on others with AVX2 too."""
    if cpu or features:
        raise UsageError(f"host is this machine as it is: use x86:{cpu or 'CPU'} for another, not {text!r}")
    isas = host_isas()
    if not isas:
        raise TargetError(f"no code for this machine ({llvm.get_process_triple()}): name a target, such as arm or wasm")
    return NativeTarget(text, isas, calibrated(isas[0]))


def _isa_of(text: str, cpu: str) -> Isa:
    """AVX-512 where `cpu` has all that our code needs of it, as the compiler knows it."""
    has = macros(known(replace(AVX2, cpu=cpu, features=""), text))
    if not has >= macros(AVX2):
        raise TargetError(f"{cpu} has no AVX2 and FMA, which sparsec's x86 code needs")
    return AVX512 if has >= macros(AVX512) else AVX2
