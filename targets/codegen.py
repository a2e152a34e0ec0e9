"""From kernels to machine code: MLIR by the builder, MLIR's own lowerings, LLVM's optimiser and back ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import llvmlite.binding as llvm
from mlir.dialects import llvm as mlir_llvm
from mlir.passmanager import PassManager

from sparsec.targets.builder import Builder
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel


def build(kernels: Iterable[Kernel], isa: Isa) -> Builder:
    """All kernels in one MLIR module; equal ones once."""
    builder = Builder(isa)
    for kernel in {kernel.symbol: kernel for kernel in kernels}.values():
        builder.symbols = kernel.symbols
        kernel.emit(builder)
    return builder


def lower(builder: Builder) -> str:
    """LLVM IR as text. The builder's module is rewritten on the way and of no use afterwards."""
    with builder.context:
        PassManager.parse(_pipeline(builder.isa.index_bits)).run(builder.module.operation)
        text: str = mlir_llvm.translate_module_to_llvmir(builder.module.operation)  # type: ignore[attr-defined]
    return _mark_displacements(text) if builder.isa.wasm else text


def emit_mlir(kernels: Iterable[Kernel], isa: Isa) -> str:
    """The kernels in MLIR, as the builder wrote them."""
    builder = build(kernels, isa)
    with builder.context:
        return str(builder.module)


def emit_llvm(kernels: Iterable[Kernel], isa: Isa) -> str:
    """Optimised LLVM IR as text."""
    with optimised(kernels, isa) as (module, _):
        return str(module)


def emit_assembly(kernels: Iterable[Kernel], isa: Isa) -> str:
    """Assembly as text."""
    with optimised(kernels, isa) as (module, machine):
        return machine.emit_assembly(module)


def emit_object(kernels: Iterable[Kernel], isa: Isa) -> bytes:
    """An object file: ELF with position-independent code, or a relocatable wasm module."""
    with optimised(kernels, isa) as (module, machine):
        return machine.emit_object(module)


@contextmanager
def optimised(
    kernels: Iterable[Kernel], isa: Isa, jit: bool = False
) -> Iterator[tuple[llvm.ModuleRef, llvm.TargetMachine]]:
    """LLVM's optimised module and the machine to emit it with; their memory is freed at the end."""
    _initialise()
    target = llvm.Target.from_triple(isa.triple)
    reloc = "static" if isa.wasm else "pic"
    # Weights are reached by pointers, so that the small model does: GNU ld cannot link the large one's calls of memset
    # with a static glibc. Only code made in this process may lie far from libc.
    model = "jitdefault" if jit else "small"
    with target.create_target_machine(isa.cpu, isa.features, opt=3, reloc=reloc, codemodel=model, jit=jit) as machine:
        module = llvm.parse_assembly(lower(build(kernels, isa)), llvm.create_context())
        with module:
            module.triple, module.data_layout = isa.triple, str(machine.target_data)
            _optimise(module, machine)
            yield module, machine


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """LLVM's O3 pipeline, without its vectorisers and unroller: kernels are vector code, unrolled where that helps."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_interleaving = options.loop_unrolling = False
    with options, llvm.create_pass_builder(machine, options) as builder, builder.getModulePassManager() as passes:
        passes.run(module, builder)


def _mark_displacements(text: str) -> str:
    """Says that constant displacements do not wrap around: wasm folds them into loads and stores only then.

    Makes GEMM tiles 3 to 17 % faster in V8. MLIR's Python bindings cannot set these flags of llvm.getelementptr.
    """
    return re.sub(r"getelementptr (i8, ptr %\w+, i32 \d+)$", r"getelementptr inbounds nuw \1", text, flags=re.MULTILINE)


def _pipeline(index_bits: int) -> str:
    width = f"{{index-bitwidth={index_bits}}}"
    passes = (
        "convert-scf-to-cf",
        "convert-vector-to-llvm",
        "convert-math-to-llvm",
        f"convert-func-to-llvm{width}",
        f"convert-arith-to-llvm{width}",
        f"convert-cf-to-llvm{width}",
        "reconcile-unrealized-casts",
    )
    return f"builtin.module({','.join(passes)})"


@cache
def _initialise() -> None:
    # In the order in which kernels are written, as the back ends of x86 and ARM do anyway. That of wasm would save
    # registers of a stack machine, which engines do not have: tiles of 6 × 2 spilled, 36 GFLOP/s instead of 54 in V8.
    llvm.set_option("sparsec", "-pre-RA-sched=source")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


__all__ = ["build", "emit_assembly", "emit_llvm", "emit_mlir", "emit_object", "lower", "optimised"]
