"""What the machine can do at most, on one core: multiply-adds a second, and bytes a second from L2 and from beyond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from peers import Contender, alternate

from sparsec.targets.builder import Builder
from sparsec.targets.isa import Isa
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel

NEAR, FAR = 1 << 19, 24 << 20  # bytes that stay in the L2, and that do not


@dataclass(frozen=True)
class Peak(Kernel):
    """Multiply-adds on registers only."""

    @property
    def name(self) -> str:
        return "peak"

    @property
    def chunks(self) -> int:
        return 1 << 16

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32"]) as ((x,), _, begin, end):
            sums = [b.vload(x, i * b.isa.lanes) for i in range(12)]
            with b.loop(begin, end, carry=sums):
                sums[:] = [b.fma(sums[0] if i else total, total, total) for i, total in enumerate(sums)]
            for i, total in enumerate(sums):
                b.vstore(total, x, i * b.isa.lanes)

    def flops(self, isa: Isa) -> int:
        return self.chunks * 12 * 2 * isa.lanes


@dataclass(frozen=True)
class Read(Kernel):
    """Reads `chunks` KB once."""

    kilobytes: int

    @property
    def name(self) -> str:
        return "read"

    @property
    def chunks(self) -> int:
        return self.kilobytes

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32", "f32"]) as ((x, y), _, begin, end):
            sums = [b.vload(y, i * b.isa.lanes) for i in range(8)]
            with b.loop(begin * 256, end * 256, 8 * b.isa.lanes, carry=sums) as at:
                sums[:] = [b.max(b.vload(x, at + i * b.isa.lanes), total) for i, total in enumerate(sums)]
            for i, total in enumerate(sums):
                b.vstore(total, y, i * b.isa.lanes)


def peak(isa: Isa) -> float:
    """FLOP/s of multiply-adds on registers."""
    kernel = Peak()
    run = Jit([kernel], isa).prepared(kernel, [aligned_copy(np.full(256, 1e-3, np.float32))])
    contender = Contender("peak", lambda: run(0, kernel.chunks), 1, 1.0)
    alternate([contender], 9)
    return kernel.flops(isa) / contender.seconds


def bandwidth(isa: Isa, nbytes: int) -> float:
    """Bytes a second of reading `nbytes` again and again."""
    kernel = Read(nbytes >> 10)
    x, y = np.ones(nbytes // 4, np.float32), np.zeros(256, np.float32)
    run = Jit([kernel], isa).prepared(kernel, [aligned_copy(x), aligned_copy(y)])
    contender = Contender("read", lambda: run(0, kernel.chunks), 1, 1.0)
    alternate([contender], 9)
    return nbytes / contender.seconds
