"""Dense linear layers of few tokens that skip the weights of zeros: y[n, m] = Σ x[n, k] · w[m, k] over x[n, k] ≠ 0.

The k at which a token is not zero are listed first; then only their weights are read, of which those of one k are a
contiguous run of a panel, [M / width][K][width]. A few runs at a time are added to the sums of the panel, which stay in
the first-level cache. After a ReLU 50 to 97 % of a layer's inputs are zeros ("The Lazy Neuron
Phenomenon", Li et al. 2023; ProSparse, Song et al. 2024), with thresholds 40 to 60 % under any activation (TEAL, Liu et
al. 2024; CHESS, He et al. 2024; R-Sparse, Zhang et al. 2025); Deja Vu (Liu et al. 2023) lays weights out so.

4096 × 16384 (DRAM) without zeros is read at 15.9 GB/s, by `LinearDense` at 15.0; with 90 % zeros at 14.0 in runs of
1024, 12.7 of 512, 10.4 of 256, 8.7 of 128. Two and eight runs at a time are up to 5 % slower than four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsec.bf16 import rounded
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.listing import list_lanes

WIDTHS = 256, 512, 1024  # outputs of a panel
# Bytes of weights up to which the next runs are prefetched. From the L3, 768 × 3072 without zeros takes 3 % longer than
# `LinearDense` so, 5 to 8 % without; from DRAM, 4096 × 16384 takes 12 to 16 % longer with 50 to 90 % zeros.
MOST_AHEAD = 128 << 20


@dataclass(frozen=True)
class LinearSkip(LinearKernel):
    """`width` is the most outputs in a panel: the weights that follow one another in memory.

    `nonzeros` is the share of elements of x that are not zero, as far as that is known: times are predicted by it.
    """

    width: int
    nonzeros: float = field(default=0.5, compare=False)

    sparse = False
    weight_element: ClassVar[str] = "f32"

    @property
    def name(self) -> str:
        return f"gemv_{self.weight_element}_skip_n{self.width}"

    @property
    def layout(self) -> str:
        return f"{self.weight_element} runs{self.width}"

    @property
    def weight_bytes(self) -> int:
        """Bytes of one weight."""
        return 4 if self.weight_element == "f32" else 2

    @property
    def chunks(self) -> int:
        return -(-self.m // self.width)

    @property
    def group(self) -> int:
        return self.chunks

    @property
    def rows(self) -> int:
        """Runs of weights that are added at a time."""
        return 4 if self.tokens == 1 else 2

    @property
    def sizes(self) -> dict[str, int]:
        return {"width": self.width}

    @property
    def reason(self) -> str:
        return f"skips the weights of inputs that are zero, {1 - self.nonzeros:.0%} expected"

    @property
    def listed(self) -> int:
        """Elements of the list of k: whole vectors and blocks of rows are stored and read ahead."""
        return -(-(self.k + LINE) // LINE) * LINE

    @property
    def scratch(self) -> int:
        return 4 * (self.listed + self.tokens * self.width)

    def emit(self, b: Builder) -> None:
        elements = ["f32", self.weight_element, *self.epilogue.elements, self.epilogue.result]
        with b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end):
            places = scratch.view("i32")
            work = _Work(b, self, x, w, extras, y, places, scratch.view("f32") + self.listed)
            count = work.list_nonzeros()
            with b.loop(begin, end) as panel:
                work.any_panel(panel, count)

    def pack(self, w: np.ndarray) -> np.ndarray:
        runs = [w[first : first + self.width] for first in range(0, self.m, self.width)]
        padded = [np.pad(run, ((0, -len(run) % LINE), (0, 0))) for run in runs]
        return np.concatenate([np.ascontiguousarray(run.T, np.float32).reshape(-1) for run in padded])

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        """Of the weights, as much is read as some token has no zero for. Listing those takes no time to speak of."""
        wanted = self.k * (1 - (1 - self.nonzeros) ** self.tokens)
        return {
            "skip call": 1,
            "skip run": wanted * self.chunks,
            "skip far byte": self.weight_bytes * wanted * self.m,
            "skip fma": (self.tokens - 1) * wanted * self.m / isa.lanes,  # one token's take no time beside the bytes
        }


@dataclass(frozen=True)
class SkipBf16(LinearSkip):
    """Weights rounded to bf16: half the bytes. Inputs and products are f32."""

    weight_element: ClassVar[str] = "bf16"

    def pack(self, w: np.ndarray) -> np.ndarray:
        return rounded(super().pack(w))


@dataclass(frozen=True)
class SkipHalf(LinearSkip):
    """Weights rounded to f16, where layers may be."""

    weight_element: ClassVar[str] = "f16"

    def suits(self, isa: Isa) -> bool:
        return isa.half_arithmetic

    def pack(self, w: np.ndarray) -> np.ndarray:
        return super().pack(w).astype(np.float16)


@dataclass(frozen=True)
class _Work:
    """Writes the code for one call."""

    b: Builder
    kernel: LinearSkip
    x: Ref
    w: Ref
    extras: list[Ref]
    y: Ref
    places: Ref
    sums: Ref

    def list_nonzeros(self) -> Value:
        """Lists the k at which a token is not zero (NaN is not), zeros behind them; gives how many there are."""
        b, k = self.b, self.kernel.k
        count = [b.constant(0)]
        lanes = b.isa.lanes
        bulk = k // lanes * lanes
        with b.loop(0, bulk, lanes, carry=count) as at:
            count[0] = self._list(at, None, count[0])
        if bulk < k:
            count[0] = self._list(bulk, k - bulk, count[0])
        for at in range(0, LINE, lanes):
            b.vstore(b.constant(0, "i32", lanes), self.places + count[0], at)
        return count[0]

    def _list(self, at: Index, valid: int | None, count: Value) -> Value:
        """Lists those of a vector of elements."""
        b, kernel = self.b, self.kernel
        vectors = [b.vload(self.x + token * kernel.k, at, valid) for token in range(kernel.tokens)]
        wanted = vectors[0] != 0.0
        for vector in vectors[1:]:
            wanted = wanted | (vector != 0.0)
        return list_lanes(b, wanted, at, self.places, count)

    def any_panel(self, panel: Index, count: Value) -> None:
        """A whole panel, or the last one, which may be narrower."""
        b, kernel = self.b, self.kernel
        whole, rest = divmod(kernel.m, kernel.width)
        if not rest:
            self._panel(panel, kernel.width, count)
        elif not whole:
            self._panel(0, rest, count)
        else:
            with b.if_(b.as_index(panel) < whole) as branch:
                self._panel(panel, kernel.width, count)
            with branch.else_():
                self._panel(whole, rest, count)

    def _panel(self, panel: Index, width: int, count: Value) -> None:
        b, kernel = self.b, self.kernel
        run = -(-width // LINE) * LINE
        w = self.w + panel * (kernel.k * kernel.width)
        for token in range(kernel.tokens):
            b.memset(self.sums + token * kernel.width, 0, 4 * run)
        bulk = count // kernel.rows * kernel.rows
        with b.loop(0, bulk, kernel.rows) as at:
            self._add(w, at, kernel.rows, run)
        with b.loop(bulk, count) as at:
            self._add(w, at, 1, run)
        self._finish(panel * kernel.width, width)

    def _add(self, w: Ref, at: Index, rows: int, run: int) -> None:
        """Adds the products of `rows` listed k from `at` on to the sums."""
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        places = [self._place(at + i) for i in range(rows)]
        sources = [w + place * run for place in places]
        ahead = rows > 1 and kernel.weight_bytes * kernel.m * kernel.k <= MOST_AHEAD
        following = [w + self._place(at + rows + i) * run for i in range(rows)] if ahead else []
        factors = [
            [b.broadcast(b.load(self.x + token * kernel.k, p)) for p in places] for token in range(kernel.tokens)
        ]
        step = max(LINE, lanes)
        with b.loop(0, run, step) as column:
            for source in following:
                b.prefetch(source, column)
            for v in range(0, step, lanes):
                columns = [b.convert(b.vload(source, column + v), "f32") for source in sources]
                for token, values in enumerate(factors):
                    sums = self.sums + token * kernel.width
                    total = columns[0] * values[0]  # sums of few first: shorter chains, smaller errors
                    for value, vector in zip(values[1:], columns[1:], strict=True):
                        total = b.fma(vector, value, total)
                    b.vstore(b.vload(sums, column + v) + total, sums, column + v)

    def _place(self, at: Index) -> Value:
        return self.b.convert(self.b.load(self.places, at), "index")

    def _finish(self, first: Index, width: int) -> None:
        """The epilogue of a panel's sums."""
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        for token in range(kernel.tokens):
            sums = self.sums + token * kernel.width

            def store(at: Index, count: int | None, token: int = token, sums: Ref = sums) -> None:
                total = b.vload(sums, at)
                kernel.epilogue.store(b, total, self.extras, self.y, kernel.m, token, first + at, count)

            bulk = width // lanes * lanes
            with b.loop(0, bulk, lanes) as at:
                store(at, None)
            if bulk < width:
                store(bulk, width - bulk)
