"""Targets by the names that users give them."""

from __future__ import annotations

from sparsec.errors import TargetError, UsageError
from sparsec.targets.arm import arm, arm_macos
from sparsec.targets.isa import Precision
from sparsec.targets.native import NativeTarget
from sparsec.targets.variants import combined
from sparsec.targets.wasm import wasm
from sparsec.targets.x86 import host, x86

_MAKERS = {"host": host, "x86": x86, "arm": arm, "arm-macos": arm_macos, "wasm": wasm}

TARGETS = {
    "host": "the CPU of this machine, with a cost model measured on it",
    "x86": "x86-64 Linux: AVX-512 and AVX2 code in one library, chosen at run time; x86:CPU has one",
    "arm": "AArch64 with NEON: a .so for Linux, or a .o or .a for Android and bare metal",
    "arm-macos": "a .dylib, .o or .a for macOS on an M1 or later",
    "wasm": "a .wasm and the .js that runs it; 128-bit SIMD, relaxed SIMD where the engine has it",
    "wasm+relaxed-simd": "WebAssembly with relaxed SIMD alone",
    "wasm+threads": "WebAssembly for the workers of a cross-origin isolated page",
}


def parse_target(text: str, precision: Precision = "f32") -> NativeTarget:
    """The target that `name[:cpu][+feature...]` means, or several of them with commas, with kernels of `precision`.

    Raises UsageError, or TargetError where the target cannot be had.
    """
    if "," in text:
        return combined(text, [parse_target(part, precision) for part in text.split(",")], precision)
    head, *features = text.split("+")
    name, _, cpu = head.partition(":")
    if name == "cuda":
        raise TargetError("this version of sparsec has no cuda back end")
    if name not in _MAKERS:
        raise UsageError(f"no target called {name!r}: use one of {', '.join(_MAKERS)}")
    if precision == "f16" and not name.startswith("arm"):
        raise UsageError(f"--precision f16 is for arm+fp16, not for {text}")
    return _MAKERS[name](text, cpu, tuple(f"+{feature}" for feature in features), precision)


__all__ = ["TARGETS", "NativeTarget", "parse_target"]
