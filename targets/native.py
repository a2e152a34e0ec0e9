"""CPU targets: which kernels run an op, in which layout, and how the code becomes an artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation, SSAValue

from sparsec.chains import Walk
from sparsec.errors import SparsecError, UsageError
from sparsec.ir import Contraction, Panel, PanelAttr, node_name, type_of
from sparsec.ir.dims import Dim, NotFixed, Sym, fixed
from sparsec.ir.ops import KERNEL
from sparsec.ir.ranges import bounds, fixed_at, highest, symbols_of, typical
from sparsec.target import Cache, Candidate, Plan, Target
from sparsec.targets import codegen
from sparsec.targets.cost import CostModel, moved
from sparsec.targets.isa import LINE, Isa, Precision
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call, Sizes
from sparsec.targets.kernels.images import by_images
from sparsec.targets.kernels.table import Family, candidates_of, family_of, takes_pairs, takes_parts, ways_of
from sparsec.targets.kernels.ways import Way
from sparsec.targets.link import emits, link
from sparsec.targets.measured import Measured
from sparsec.weights import WeightStore

TOKENS = {"f32": 64, "bf16": 128, "f16": 64}  # in a panel, where only a run tells how many there are
TEXTS = {"mlir": codegen.emit_mlir, "llvm": codegen.emit_llvm, "asm": codegen.emit_assembly}


class NativeTarget(Target):
    """A CPU with one or more instruction sets, best first, that share layouts and weights.

    `measured` are times of kernels that go before the predictions of `cost`; `threads` is how many will run a model.
    """

    def __init__(self, name: str, isas: Sequence[Isa], cost: CostModel, precision: Precision = "f32"):
        self.name, self.isas, self.cost, self.precision = name, tuple(isas), cost, precision
        self.measured: Measured | None = None
        self.threads = 1

    def panel(self, height: Dim, width: int) -> PanelAttr | None:
        if isinstance(height, Sym):
            return self._panel_of_tokens(height) if width == 1 else None
        if height * width == 1:
            return None
        rows = min(range(1, height + 1), key=lambda rows: self._panel_cost(rows, height, width))
        return PanelAttr(Panel(rows, _stride(rows, width)))

    def _panel_of_tokens(self, tokens: Dim) -> PanelAttr:
        """Rows of a symbolic number: as many as are best for many tokens, or fewer where there are never as many.

        Of few tokens a kernel reads the first lines of channels, which 256 bytes apart share a quarter of the sets of
        L1: a line more between them makes encoders 20 % (dense) and 6 % (sparse) faster at 8 to 16 tokens.
        """
        rows = min(TOKENS[self.precision], _stride(1, bounds(tokens, self.ranges)[1]))
        return PanelAttr(Panel(rows, rows + LINE if rows % (4 * LINE) == 0 else rows))

    def _panel_cost(self, rows: int, height: int, width: int) -> float:
        """Padding, times what each non-zero costs beyond its multiply-adds.

        A non-zero takes one broadcast and one offset load for `vectors` multiply-adds; beyond 7 vectors (or 15, which
        leave no registers) shorter blocks of K cost what wider panels gain: 3x3 at 56 × 56 is 5 to 25 % slower with 14.
        Threads that share one panel split its channels, and then each reads what all others wrote: on two cores, 1x1 at
        14 × 14 is 1.2 times faster in two panels, though these have 8 % more padding.
        Tokens (images of width 1) have no neighbours to read, so that panels may be as wide as one tile of registers: 4
        vectors are 3 to 9 % faster than 8, with dense weights (181 GFLOP/s for 172) and with 10 % non-zeros alike. AMX
        takes 10 to 20 % longer with them.
        """
        stride = _stride(rows, width)
        vectors = stride / 16
        narrow = width == 1 and self.precision != "bf16"
        enough = 4 if narrow else 7
        padding = -(-height // rows) * stride / (height * width)
        shared = 1.2 if self.threads > 1 and rows == height else 1.0
        beyond = 1.05 if narrow and vectors > enough else 1.0
        too_wide = vectors > 15 and rows > 1
        return float("inf") if too_wide else padding * (1 + 1.5 / min(vectors, enough)) * shared * beyond

    def takes_panels(self, op: Operation) -> bool:
        with self._chosen_at(op):
            family = family_of(op)
            return family is not None and family.takes_panels(op)

    @property
    def channels(self) -> int:
        """Kernels of bf16 take channels in pairs, AMX's tiles 32: with 63 a whole MobileNet began in f32."""
        return 32 if self.precision == "bf16" else 1

    def takes_pairs(self, op: Operation, values: Collection[SSAValue]) -> bool:
        with self._chosen_at(op):
            return self.precision == "bf16" and takes_pairs(op, values)

    def takes_parts(self, op: Operation) -> bool:
        with self._chosen_at(op):
            return self.precision == "f32" and takes_parts(op)

    def mask_tile(self, op: Operation) -> tuple[int, int] | None:
        asked = getattr(family_of(op), "mask_tile", None)
        return asked(op) if asked is not None else None

    def candidates(self, op: Operation, weights: WeightStore) -> Sequence[Candidate]:
        with self._chosen_at(op):
            found = candidates_of(op, weights, self)
        return [one for one in found if self._runs(op, weights, one)] if symbols_of(op) else found

    def _runs(self, op: Operation, weights: WeightStore, candidate: Candidate) -> bool:
        """Whether a kernel that was found for typical sizes runs with all."""
        before = op.attributes.get(KERNEL)
        if isinstance(op, Contraction):
            op.attributes[KERNEL] = StringAttr(candidate.row)
        try:
            return bool(self.lower(op, weights))
        except NotFixed:
            return False
        finally:
            op.attributes.pop(KERNEL, None)
            if before is not None:
                op.attributes[KERNEL] = before

    def _chosen_at(self, op: Operation) -> AbstractContextManager[None]:
        """Within it the sizes are typical ones; none is 1 that may be more, for which other kernels are made."""
        sizes = typical(self.ranges)
        dims = (dim for value in (*op.operands, *op.results) for dim in type_of(value).shape if isinstance(dim, Sym))
        return fixed_at(op, highest(self.ranges) if any(fixed(dim, sizes) == 1 for dim in dims) else sizes)

    def _family(self, op: Operation) -> Family | None:
        with self._chosen_at(op):
            return family_of(op)

    def ways(self, op: Operation, weights: WeightStore) -> Sequence[Way]:
        """The kernels between which tuning can choose for `op`; none where there is but one."""
        return ways_of(op, weights, self)

    def predicted(self, kernel: Kernel, read: int, written: int) -> float:
        """Seconds of a kernel that nobody chose, by its work and by the bytes of its arguments."""
        return self.cost.seconds({**kernel.work(self.isas[0]), **moved(kernel.moves, read, written, self.cost.caches)})

    def lower(self, op: Operation, weights: WeightStore) -> Sequence[Call]:
        """The kernel calls that compute `op`, whose layouts and kernel are chosen.

        Raises NotFixed where the sizes are symbolic and the kernel takes numbers only.
        """
        family = self._family(op)
        if family is None:
            raise SparsecError(f"{self.name} has no kernel for {op.name} ({node_name(op)})")
        if not symbols_of(op):
            return family.lower(op, weights)
        calls = by_images(op, family, weights, self.ranges) or family.lower(op, weights)
        return [_sized(call) for call in calls]

    @property
    def cache(self) -> Cache:
        return Cache(self.cost.caches.l2, self.cost.seconds({"far read byte": 0.5, "far written byte": 0.5}))

    def images(self, op: Operation, weights: WeightStore) -> Dim | None:
        family = self._family(op) if symbols_of(op) else None
        calls = by_images(op, family, weights, self.ranges) if family else []
        return calls[0].images if calls else None

    def walk(self, op: Operation, weights: WeightStore) -> Walk | None:
        family = family_of(op)
        calls = family.lower(op, weights) if family else []
        return calls[0].kernel.walk if len(calls) == 1 else None

    def splits_by(self, op: Operation, weights: WeightStore, images: int) -> bool:
        family = family_of(op)
        return family is not None and all(call.kernel.splits_by(images) for call in family.lower(op, weights))

    def overwrites(self, op: Operation, weights: WeightStore) -> Sequence[SSAValue]:
        calls = self.lower(op, weights) if family_of(op) else ()
        if len(calls) != 1:
            return ()
        arguments = [calls[0].arguments[index] for index in calls[0].kernel.overwrites]
        return [x for x in arguments if isinstance(x, SSAValue)]

    def build(self, plan: Plan, kernels: Sequence[Kernel], weights: Path, output: Path, emit: str) -> None:
        if emit in TEXTS:
            output.write_text(TEXTS[emit](kernels, self.isas[0]))
            return
        code = self.code(kernels)
        objects: Mapping[str, bytes] = {isa.name: codegen.emit_object(own, isa) for isa, own in code.items()}
        link(plan, objects, tuple(code), weights, output, emit)

    def code(self, kernels: Sequence[Kernel]) -> dict[Isa, list[Kernel]]:
        """The ISAs of an artifact with these kernels, best first, each with those that it does not run as its base."""
        code = {isa: [kernel for kernel in kernels if isa.suffix_of(kernel.symbol) == isa.suffix] for isa in self.isas}
        return {isa: own for isa, own in code.items() if own or not isa.base}

    @property
    def default_emit(self) -> str:
        return emits(self.isas[0])[0]

    def check_emit(self, emit: str) -> None:
        """Raises UsageError for an output that the target cannot make."""
        allowed = (*emits(self.isas[0]), *TEXTS)
        if emit not in allowed:
            raise UsageError(f"--emit {emit} is not for {self.name}: use {', '.join(allowed)}")

    def check_output(self, output: Path, emit: str) -> None:
        """Raises UsageError where what is written beside `output` has no place there."""


def _sized(call: Call) -> Call:
    """The call with the sizes that its kernel reads."""
    names = call.kernel.symbols
    given = any(isinstance(argument, Sizes) for argument in call.arguments)
    return call if given or not names else replace(call, arguments=(*call.arguments, Sizes(names)))


def _stride(rows: int, width: int) -> int:
    """Floats in a channel of a panel: whole 64-byte lines, so that each channel starts on one."""
    return -(-rows * width // 16) * 16
