"""Linear layers of one token whose results are multiplied by factors that are often zero: only the others are computed.

So runs the up-projection of a gated feed-forward, relu(x · G) ⊙ (x · U), once the gate is known (Deja Vu, Liu et al.
2023; ProSparse, Song et al. 2024). The factors of a chunk of outputs come from the epilogue's operands. Outputs whose
factor is not zero are listed, and the dot products of x with their weights, rows of [M][K], are taken. All others have
the sum 0 when the epilogue runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.listing import list_lanes
from sparsec.targets.kernels.region import Body

CHUNK = 64  # outputs
ROWS = 4  # of weights that are multiplied at a time


@dataclass(frozen=True)
class LinearGated(LinearKernel):
    """`factor` computes the factors from what the epilogue is given; `nonzeros` of them are expected not to be zero."""

    factor: Body
    nonzeros: float = field(default=0.5, compare=False)

    sparse = False

    @property
    def name(self) -> str:
        return "gemv_f32_gated"

    @property
    def layout(self) -> str:
        return "rows"

    @property
    def chunks(self) -> int:
        return -(-self.m // CHUNK)

    @property
    def scratch(self) -> int:
        return 4 * (CHUNK + LINE + CHUNK)

    @property
    def reason(self) -> str:
        return f"skips outputs that the gate makes zero, {1 - self.nonzeros:.0%} expected"

    def pack(self, w: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(w, np.float32)

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        wanted = self.m * self.nonzeros
        moved = {"skip run": wanted, "skip far byte": 4 * wanted * self.k}
        return {"skip call": 1, "gated chunk": self.chunks, **moved}

    def emit(self, b: Builder) -> None:
        elements = ["f32", "f32", *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin, end) as chunk,
        ):
            places = scratch.view("i32")
            work = _Work(b, self, x, w, extras, y, places, scratch.view("f32") + (CHUNK + LINE))
            whole, rest = divmod(self.m, CHUNK)
            if not rest:
                work.chunk(chunk * CHUNK, CHUNK)
            elif not whole:
                work.chunk(0, rest)
            else:
                with b.if_(chunk < whole) as branch:
                    work.chunk(chunk * CHUNK, CHUNK)
                with branch.else_():
                    work.chunk(b.constant(whole * CHUNK), rest)


@dataclass(frozen=True)
class _Work:
    """Writes the code for one chunk of outputs."""

    b: Builder
    kernel: LinearGated
    x: Ref
    w: Ref
    extras: list[Ref]
    y: Ref
    places: Ref
    sums: Ref

    def chunk(self, first: Index, width: int) -> None:
        """The `width` outputs from `first` on."""
        b, lanes = self.b, self.b.isa.lanes
        count = self._list(first, width)
        for at in range(0, CHUNK, lanes):
            b.vstore(b.constant(0.0, "f32", lanes), self.sums, at)
        w = self.w + first * self.kernel.k
        bulk = count // ROWS * ROWS
        with b.loop(0, bulk, ROWS) as at:
            self._multiply(w, at, ROWS)
        with b.loop(bulk, count) as at:
            self._multiply(w, at, 1)
        for at in range(0, width, lanes):
            valid = width - at if width - at < lanes else None
            total = b.vload(self.sums, at)
            self.kernel.epilogue.store(b, total, self.extras, self.y, self.kernel.m, 0, first + at, valid)

    def _list(self, first: Index, width: int) -> Value:
        """Lists the outputs whose factor is not zero (NaN is not); gives how many there are."""
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        count = b.constant(0)
        for at in range(0, width, lanes):
            valid = width - at if width - at < lanes else None
            extras = kernel.epilogue.load(b, self.extras, 0, first + at, valid, lanes)
            (factor,) = kernel.factor.emit(b, [b.constant(0.0, "f32", lanes), *extras])
            wanted = factor != 0.0
            if valid is not None:
                wanted = wanted & b.mask(valid, lanes)
            count = list_lanes(b, wanted, at, self.places, count)
        for at in range(0, LINE, lanes):  # behind the list, the first rows of the next chunk: for the prefetches
            b.vstore(b.iota("i32") + (CHUNK + at), self.places + count, at)
        return count

    def _multiply(self, w: Ref, at: Index, count: int) -> None:
        """The dot products of x with `count` listed rows."""
        b, k, lanes = self.b, self.kernel.k, self.b.isa.lanes
        places = [self._place(at + i) for i in range(count)]
        rows = [w + place * k for place in places]
        following = [w + self._place(at + count + i) * k for i in range(count)]
        totals = [b.constant(0.0, "f32", lanes)] * (2 * len(rows))
        bulk = k // (2 * lanes) * (2 * lanes)
        with b.loop(0, bulk, 2 * lanes, carry=totals) as at:
            for row in following:
                for line in range(0, 2 * lanes, LINE):
                    b.prefetch(row, at + line)
            for half in range(2):
                x = b.vload(self.x, at + half * lanes)
                for i, row in enumerate(rows):
                    slot = 2 * i + half
                    totals[slot] = b.fma(b.vload(row, at + half * lanes), x, totals[slot])
        for at in range(bulk, k, lanes):
            x = b.vload(self.x, at, k - at)
            for i, row in enumerate(rows):
                totals[2 * i] = b.fma(b.vload(row, at, k - at), x, totals[2 * i])
        for i, place in enumerate(places):
            b.store(b.reduce("add", totals[2 * i] + totals[2 * i + 1]), self.sums, place)

    def _place(self, at: Index) -> Value:
        return self.b.convert(self.b.load(self.places, at), "index")
