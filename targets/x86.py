"""x86-64 targets."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm

from sparsec.errors import TargetError, UsageError
from sparsec.targets.cost import calibrated, shipped
from sparsec.targets.cpu import known, macros
from sparsec.targets.isa import AVX2, AVX512, AVX512_AMX, BF16_ISAS, Isa, Precision, host_isas, refine
from sparsec.targets.native import NativeTarget


def x86(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """Code for every x86-64 with AVX2, or with a CPU the one kind that it runs, tuned for it."""
    isas = _isas(precision) if not cpu else (_isa_of(text, cpu, precision),)
    if cpu or features:
        isas = tuple(known(refine(isa, cpu, features), text) for isa in isas)
    cost = calibrated(isas[0]) if isas[0] in host_isas(precision) else shipped(isas[0])
    return NativeTarget(text, isas, cost, precision)


def host(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> NativeTarget:
    """The best code for this machine; artifacts run on others with AVX2 too."""
    if cpu or features:
        raise UsageError(f"host is this machine as it is: use x86:{cpu or 'CPU'} for another, not {text!r}")
    isas = host_isas(precision)
    if not isas:
        raise TargetError(f"no code for this machine ({llvm.get_process_triple()}): name a target, such as arm or wasm")
    return NativeTarget(text, isas, calibrated(isas[0]), precision)


def _isas(precision: Precision) -> tuple[Isa, ...]:
    """All that x86 artifacts carry code for, best first."""
    return (*(BF16_ISAS.values() if precision == "bf16" else ()), AVX512, AVX2)


def _isa_of(text: str, cpu: str, precision: Precision) -> Isa:
    """The first of our ISAs whose code `cpu` runs, as the compiler knows it."""
    has = macros(known(replace(AVX2, cpu=cpu, features=""), text))
    found = next((isa for isa in (AVX512_AMX, *_isas(precision)) if has >= macros(isa)), None)
    if found is None:
        raise TargetError(f"{cpu} has no AVX2 and FMA, which sparsec's x86 code needs")
    return found
