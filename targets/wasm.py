"""WebAssembly targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsec.errors import UsageError
from sparsec.target import Plan
from sparsec.targets import codegen, link_wasm, web
from sparsec.targets.cost import shipped
from sparsec.targets.isa import WASM, WASM_RELAXED, Precision, refine
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.link_wasm import Delivery
from sparsec.targets.native import TEXTS, NativeTarget

_FEATURES = {"+relaxed-simd", "+threads"}


class WasmTarget(NativeTarget):
    """Modules with code for one or more instruction sets over one set of weights, and the JavaScript that runs them.

    `delivery` is how weights reach the host, `shared` whether memory is shared between the workers of a team.
    """

    delivery = Delivery()
    shared = False

    def build(self, plan: Plan, kernels: Sequence[Kernel], weights: Path, output: Path, emit: str) -> None:
        if emit in TEXTS:
            super().build(plan, kernels, weights, output, emit)
            return
        extra = ("+atomics",) if plan.threads > 1 else ()
        isas = tuple(refine(isa, features=extra) for isa in self.isas)
        objects: Mapping[str, bytes] = {isa.name: codegen.emit_object(kernels, isa) for isa in isas}
        link_wasm.link(plan, objects, isas, weights, output, self.delivery)

    @property
    def default_emit(self) -> str:
        return "wasm"

    def check_emit(self, emit: str) -> None:
        if emit not in ("wasm", *TEXTS):
            raise UsageError(f"--emit {emit} is not for {self.name}: use {', '.join(('wasm', *TEXTS))}")
        if self.threads > 1 and not self.shared:
            name = self.name.replace("wasm", "wasm+threads", 1)
            raise UsageError(f"--threads {self.threads} needs memory that workers share: --target {name}")
        if self.threads == 1 and self.shared:
            raise UsageError(f"--target {self.name} needs --threads N, 2 or more: the most that will run the model")

    def check_output(self, output: Path, emit: str) -> None:
        if emit == "wasm":
            web.check_output(output)


def wasm(text: str, cpu: str, features: tuple[str, ...], precision: Precision) -> WasmTarget:
    """128-bit SIMD with relaxed SIMD where the engine has it, or relaxed SIMD alone; workers where asked."""
    if cpu or set(features) - _FEATURES:
        raise UsageError(f"{text!r}: WebAssembly has no CPUs, and of features only {' and '.join(sorted(_FEATURES))}")
    isas = (WASM_RELAXED,) if "+relaxed-simd" in features else (WASM_RELAXED, WASM)
    target = WasmTarget(text, isas, shipped(WASM_RELAXED), precision)
    target.shared = "+threads" in features
    return target
