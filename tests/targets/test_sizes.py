"""Sizes that a kernel gets when it runs: expressions over symbols, in loops, offsets and comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernels

from sparsec.ir.dims import Dim, ceildiv, evaluate, floordiv, symbol
from sparsec.targets import codegen
from sparsec.targets.builder import Builder
from sparsec.targets.isa import AVX2
from sparsec.targets.kernels.base import Kernel

S, T = symbol("s"), symbol("t")
DIMS: tuple[Dim, ...] = (5, S, T - S, 3 * S * T + 1, S // 8, (S - 40) // 16, (S - 40) // 7, ceildiv(S, 3) * T, 9 // S)
DIMS += (S * T // (T + 1), S % 6, floordiv(-S, 128))


@dataclass(frozen=True)
class Evaluate(Kernel):
    """Writes its sizes, then the sum of all indices below the last symbol."""

    dims: tuple[Dim, ...]

    @property
    def name(self) -> str:
        return "evaluate"

    @property
    def chunks(self) -> int:
        return 1

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["i64"]) as ((y,), _, _, _):
            for place, dim in enumerate(self.dims):
                b.store(b.convert(dim, "i64"), y, place)
            total = [b.constant(0)]
            with b.loop(0, S, carry=total) as i:
                total[0] = total[0] + i * T + (T - i)
            b.store(b.convert(total[0], "i64"), y + S, len(self.dims))


@every_isa
def test_sizes_of_a_run(isa):
    kernel = Evaluate(DIMS)
    assert kernel.symbols == ("s", "t")
    sizes = [(1, 1), (7, 3), (40, 17), (129, 2)]
    runs = [(kernel, [np.zeros(len(DIMS) + s + 1, np.int64), np.array([s, t])]) for s, t in sizes]
    for (s, t), (got, _) in zip(sizes, run_kernels(runs, isa), strict=True):
        assert list(got[: len(DIMS)]) == [evaluate(dim, {"s": s, "t": t}) for dim in DIMS]
        assert got[len(DIMS) + s] == sum(i * t + t - i for i in range(s))


def test_a_kernel_without_symbols_takes_no_sizes():
    kernel = Evaluate((5,))
    assert kernel.symbols == ()
    with pytest.raises(ValueError, match="no size called"):
        codegen.emit_mlir([kernel], AVX2)
