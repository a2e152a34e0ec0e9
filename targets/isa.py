"""Descriptions of instruction sets. Kernels are written once over an `Isa`; a CPU or a feature refines it as data."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import llvmlite.binding as llvm

LINE_BYTES = 64  # in a line of the caches
LINE = LINE_BYTES // 4  # floats; panels are padded to whole lines


@dataclass(frozen=True)
class Isa:
    """One instruction set for which kernels are generated.

    `lanes` is the number of f32 values in a vector, `registers` how many vectors a kernel may keep alive.
    `masked_memory` and `gather` say whether such loads are instructions, `masked_arithmetic` whether any instruction
    can leave lanes alone for free, `fma` whether a multiply-add is one (fused for sure but on relaxed wasm), `half`
    whether f16 ↔ f32 is one. `bf16_dot` says whether products of bf16 pairs are added to f32 sums by one instruction,
    `tiles` whether there are Intel's AMX tiles of bf16. `index_bits` is the width of addresses. `base` is another ISA
    of the same artifact, if any, whose code runs all kernels but those on tiles.
    """

    name: str
    triple: str
    cpu: str
    features: str
    lanes: int
    registers: int
    masked_memory: bool = False
    masked_arithmetic: bool = False
    gather: bool = False
    fma: bool = True
    half: bool = True
    bf16_dot: bool = False
    tiles: bool = False
    index_bits: int = 64
    base: str = ""

    @property
    def suffix(self) -> str:
        """What the symbols of this ISA end in, as in `gemm_1f2e3d__wasm_relaxed`."""
        return f"__{self.name.replace('-', '_')}"

    def suffix_of(self, symbol: str) -> str:
        """The suffix of the code that runs the kernel `symbol` here."""
        return ISAS[self.base].suffix if self.base and not on_tiles(symbol) else self.suffix

    @property
    def x86(self) -> bool:
        """Whether this is an x86-64 instruction set."""
        return self.triple.startswith("x86_64")

    @property
    def wasm(self) -> bool:
        """Whether this is WebAssembly."""
        return self.triple.startswith("wasm")

    @property
    def macos(self) -> bool:
        """Whether this is code for macOS."""
        return "-macosx" in self.triple

    @property
    def system(self) -> str:
        """The operating system of shared libraries, as Python's `platform.system` names it; none for wasm."""
        return "" if self.wasm else "Darwin" if self.macos else "Linux"

    @property
    def lane_operands(self) -> bool:
        """Whether a multiply-add can take one lane of a vector for all lanes."""
        return self.triple.startswith("aarch64")

    @property
    def half_arithmetic(self) -> bool:
        """Whether there is arithmetic on vectors of f16."""
        return "+fullfp16" in self.features.split(",")

    @property
    def relaxed(self) -> bool:
        """Whether this is WebAssembly with relaxed SIMD."""
        return self.wasm and self.fma


_LINUX_X86 = "x86_64-unknown-linux-gnu"
_WASM_FEATURES = "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext,+mutable-globals"

AVX512 = Isa(
    "avx512",
    _LINUX_X86,
    "x86-64-v4",
    "-prefer-256-bit",
    16,
    32,
    masked_memory=True,
    masked_arithmetic=True,
    gather=True,
)
AVX2 = Isa("avx2", _LINUX_X86, "x86-64-v3", "", 8, 16, masked_memory=True, gather=True)
NEON = Isa("neon", "aarch64-unknown-linux-gnu", "generic", "+neon", 4, 32)
# Of the 16 xmm registers of x86, V8 and SpiderMonkey keep the last to themselves.
WASM = Isa("wasm", "wasm32-unknown-unknown", "generic", _WASM_FEATURES, 4, 15, fma=False, half=False, index_bits=32)
WASM_RELAXED = replace(WASM, name="wasm-relaxed", features=f"{_WASM_FEATURES},+relaxed-simd", fma=True)

# Refinements of AVX-512, all of whose code runs on them.
AVX512_BF16 = replace(AVX512, name="avx512-bf16", features=f"{AVX512.features},+avx512bf16", bf16_dot=True)
AVX512_AMX = replace(AVX512_BF16, name="avx512-amx", features=f"{AVX512_BF16.features},+amx-tile,+amx-bf16", tiles=True)

# What artifacts of f32 precision carry for kernels that compute f32 on tiles.
AVX512_TILES = replace(AVX512_AMX, base=AVX512.name)

ISAS = {isa.name: isa for isa in (AVX512, AVX2, NEON, WASM, WASM_RELAXED)}

BF16_ISAS = {isa.name: isa for isa in (AVX512_AMX, AVX512_BF16)}

Precision = Literal["f32", "bf16", "f16"]
"""What products may be rounded to: f32, as the model says, or bf16 or f16 where faster. Sums of many are f32."""

# The features that x86-64-v4 and x86-64-v3 add and that kernels use.
_AVX2_NEEDS = {"avx2", "fma", "f16c", "bmi2", "lzcnt", "movbe"}
_AVX512_NEEDS = {*_AVX2_NEEDS, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


_BF16_NEEDS = {*_AVX512_NEEDS, "avx512bf16"}
_AMX_NEEDS = {*_BF16_NEEDS, "amx-tile", "amx-bf16"}


def on_tiles(symbol: str) -> bool:
    """Whether the kernel `symbol` of f32 precision uses tiles where there are any."""
    return "_amx_" in symbol


def refine(isa: Isa, cpu: str = "", features: tuple[str, ...] = ()) -> Isa:
    """`isa` tuned for `cpu` and with LLVM's target `features` added, each spelled `+name` or `-name`."""
    joined = ",".join(filter(None, (isa.features, *features)))
    return replace(isa, cpu=cpu or isa.cpu, features=joined)


def host_isas(precision: Precision = "f32") -> tuple[Isa, ...]:
    """The x86 instruction sets that this machine runs at `precision`, best first; empty on other machines."""
    if not llvm.get_process_triple().startswith("x86_64"):
        return ()
    features = {name for name, present in llvm.get_host_cpu_features().items() if present}
    needs = ((AVX512, _AVX512_NEEDS), (AVX2, _AVX2_NEEDS))
    if precision == "bf16":
        needs = ((AVX512_AMX, _AMX_NEEDS), (AVX512_BF16, _BF16_NEEDS), *needs)
    elif precision == "f32":
        needs = ((AVX512_TILES, _AMX_NEEDS), *needs)
    found = tuple(isa for isa, needed in needs if needed <= features)
    return found if not found or not found[0].tiles or tiles_allowed() else found[1:]


@cache
def tiles_allowed() -> bool:
    """Asks Linux for the tile registers of AMX, once for this process, as code that uses them needs it."""
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0
