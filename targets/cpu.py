"""Which bits of a CPU an ISA's code relies on, for the check that an artifact makes before it runs.

The compiler itself is asked: clang defines a macro for each feature that code for a CPU may use.
"""

from __future__ import annotations

import os
import re

from sparsec.errors import SparsecError, UsageError
from sparsec.targets.isa import Isa
from sparsec.targets.tools import zig, zig_target

WORDS = 9

# Word and bit of the feature behind each macro. The words are those of read_cpu in runtime/cpu.c: on x86 cpuid 1 ecx,
# edx, 7.0 ebx, ecx, edx, 7.1 eax, edx, 0x80000001 ecx, and XCR0.
_X86 = {
    "__SSE3__": (0, 1 << 0),
    "__SSSE3__": (0, 1 << 9),
    "__FMA__": (0, 1 << 12),
    "__SSE4_1__": (0, 1 << 19),
    "__SSE4_2__": (0, 1 << 20),
    "__MOVBE__": (0, 1 << 22),
    "__POPCNT__": (0, 1 << 23),
    "__AES__": (0, 1 << 25),
    "__AVX__": (0, 1 << 28),
    "__F16C__": (0, 1 << 29),
    "__BMI__": (2, 1 << 3),
    "__AVX2__": (2, 1 << 5),
    "__BMI2__": (2, 1 << 8),
    "__AVX512F__": (2, 1 << 16),
    "__AVX512DQ__": (2, 1 << 17),
    "__AVX512IFMA__": (2, 1 << 21),
    "__AVX512CD__": (2, 1 << 28),
    "__AVX512BW__": (2, 1 << 30),
    "__AVX512VL__": (2, 1 << 31),
    "__AVX512VBMI__": (3, 1 << 1),
    "__AVX512VBMI2__": (3, 1 << 6),
    "__GFNI__": (3, 1 << 8),
    "__VAES__": (3, 1 << 9),
    "__VPCLMULQDQ__": (3, 1 << 10),
    "__AVX512VNNI__": (3, 1 << 11),
    "__AVX512BITALG__": (3, 1 << 12),
    "__AVX512VPOPCNTDQ__": (3, 1 << 14),
    "__AVX512VP2INTERSECT__": (4, 1 << 8),
    "__AMX_BF16__": (4, 1 << 22),
    "__AVX512FP16__": (4, 1 << 23),
    "__AMX_TILE__": (4, 1 << 24),
    "__AMX_INT8__": (4, 1 << 25),
    "__AVXVNNI__": (5, 1 << 4),
    "__AVX512BF16__": (5, 1 << 5),
    "__AVXIFMA__": (5, 1 << 23),
    "__AVXVNNIINT8__": (6, 1 << 4),
    "__AVXVNNIINT16__": (6, 1 << 10),
    "__LZCNT__": (7, 1 << 5),
}

# Registers that the operating system must save (XCR0) for code with these features.
_X86_STATE = {"__AVX__": 0x6, "__AVX512F__": 0xE6, "__AMX_TILE__": 0x60000}

# On Linux for ARM: HWCAP and HWCAP2.
_ARM = {
    "__ARM_FEATURE_ATOMICS": (0, 1 << 8),
    "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC": (0, 1 << 10),
    "__ARM_FEATURE_DOTPROD": (0, 1 << 20),
    "__ARM_FEATURE_SVE": (0, 1 << 22),
    "__ARM_FEATURE_SVE2": (1, 1 << 1),
    "__ARM_FEATURE_MATMUL_INT8": (1, 1 << 13),
    "__ARM_FEATURE_BF16": (1, 1 << 14),
}


def needs(isa: Isa) -> tuple[int, ...]:
    """The CPU feature words that code for `isa` needs, in the order of runtime/cpu.c; 0 for wasm: engines check."""
    words = [0] * WORDS
    if isa.wasm:
        return tuple(words)
    defined = macros(isa)
    for macro, (word, bits) in (_X86 if isa.x86 else _ARM).items():
        words[word] |= bits if macro in defined else 0
    for macro, bits in _X86_STATE.items() if isa.x86 else ():
        words[-1] |= bits if macro in defined else 0
    return tuple(words)


def macros(isa: Isa) -> set[str]:
    """The macros that clang predefines for the CPU and features of `isa`, in about 30 ms."""
    cpu = _zig_name(isa.cpu) + "".join(f[0] + _zig_name(f[1:]) for f in isa.features.split(",") if f)
    text = zig("cc", "-target", zig_target(isa), f"-mcpu={cpu}", "-dM", "-E", "-xc", os.devnull)
    return {line.split()[1] for line in text.splitlines() if line.startswith("#define ")}


def known(isa: Isa, text: str) -> Isa:
    """`isa`; raises UsageError where the compiler does not know the CPU or a feature that the target `text` names."""
    try:
        macros(isa)
    except SparsecError:
        raise UsageError(f"{text!r}: LLVM does not know this CPU, or one of these features, for {isa.triple}") from None
    return isa


def _zig_name(name: str) -> str:
    """LLVM's name of a CPU or a feature in zig's spelling."""
    return re.sub(r"[-.]", "_", name)
