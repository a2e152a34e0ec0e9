"""Dense linear layers of bf16: y[n, m] = Σ x[n, k] · w[m, k], products of pairs along K summed in f32.

The weights lie in panels of 32 rows, [M / 32][K / 2][32][2]: a row of pairs for vdpbf16ps, and at every 16 outputs and
16 pairs a tile for AMX. Tokens are rounded to bf16 once. Few tokens stream half the bytes that f32 would: a classifier
of 1000 × 2048 beyond the L2 takes 0.5 of the time. From `TILED` tokens on AMX multiplies tiles of 16 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.bf16 import rounded
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.gemm import Rows
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.pairs import consecutive, dot

PANEL, STEP = 32, 16  # outputs of a panel; pairs of a step along K
TILED = 4  # tokens from which on a product of tiles beats vectors
MOST_BYTES = 2 << 20  # of rounded tokens, which should stay in the L2


@dataclass(frozen=True)
class LinearBf16(LinearKernel):
    """Weights of bf16 in panels, zeros where there is no output or no k."""

    sparse = False

    @property
    def name(self) -> str:
        return f"gemv_bf16_dense_n{PANEL}" if self.tokens == 1 else f"gemm_bf16_dense_n{PANEL}"

    @property
    def layout(self) -> str:
        return f"bf16panels{PANEL}"

    @property
    def chunks(self) -> int:
        return -(-self.m // PANEL)

    @property
    def steps(self) -> int:
        """Steps along K, of 16 pairs."""
        return -(-self.k // (2 * STEP))

    @property
    def row(self) -> int:
        """Pairs from one rounded token to the next: an odd number of lines."""
        return (self.steps + 1 - self.steps % 2) * STEP

    @property
    def fits(self) -> bool:
        """Whether the rounded tokens are few enough to stay in the L2."""
        return 4 * self.tokens * self.row <= MOST_BYTES

    @property
    def scratch(self) -> int:
        tokens = -(-self.tokens // amx.ROWS) * amx.ROWS
        return amx.CONFIG_BYTES + 4 * tokens * self.row + 4 * 2 * amx.ROWS * PANEL

    def emit(self, b: Builder) -> None:
        elements = ["f32", "i32", *self.epilogue.elements, self.epilogue.result]
        with b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end):
            tokens = (scratch + amx.CONFIG_BYTES).view("i32")
            sums = (tokens + -(-self.tokens // amx.ROWS) * amx.ROWS * self.row).view("f32")
            self._round(b, x, tokens)
            with amx.within(b, scratch), b.loop(begin, end) as panel:
                weights = w + panel * (self.steps * STEP * PANEL)
                if b.isa.tiles and self.tokens >= TILED:
                    self._with_tiles(b, tokens, weights, sums, (extras, y, panel))
                else:
                    self._with_vectors(b, tokens, weights, (extras, y, panel))

    def pack(self, w: np.ndarray) -> np.ndarray:
        padded = np.zeros((self.chunks * PANEL, self.steps * 2 * STEP), np.uint16)
        padded[: self.m, : self.k] = rounded(w)
        panels = padded.view(np.int32).reshape(self.chunks, PANEL, self.steps * STEP)
        return np.ascontiguousarray(panels.transpose(0, 2, 1))

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        tiled = isa.tiles and self.tokens >= TILED
        products = -(-self.tokens // amx.ROWS) * 2 * self.steps if tiled else 0
        dots = 0 if tiled else self.tokens * self.steps * STEP * PANEL / isa.lanes
        return {
            "linear bf16 product": self.chunks * products,
            "linear bf16 dot": self.chunks * dots,
            "linear bf16 sum": self.chunks * self.tokens * PANEL / isa.lanes,
            "linear bf16 token": self.tokens * self.steps,
            "linear bf16 far byte": 2 * self.m * self.k,
        }

    def _round(self, b: Builder, x: Ref, tokens: Ref) -> None:
        """All tokens as pairs, zeros behind the last k."""
        lanes = b.isa.lanes
        full = self.k // (2 * lanes) * lanes
        zero = b.constant(0.0, "f32", lanes)
        with b.loop(0, self.tokens) as token:
            source, target = x + token * self.k, tokens + token * self.row
            with b.loop(0, full, lanes) as at:
                pairs = consecutive(b, b.vload(source, at * 2), b.vload(source + lanes, at * 2))
                b.vstore(pairs, target, at)
            for at in range(full, self.steps * STEP, lanes):
                left = [self.k - 2 * at, self.k - 2 * at - lanes]
                parts = [b.vload(source, self.k - n, n) if n > 0 else zero for n in left]
                b.vstore(consecutive(b, parts[0], parts[1]), target, at)

    def _with_vectors(self, b: Builder, tokens: Ref, weights: Ref, result: tuple[list[Ref], Ref, Index]) -> None:
        """A panel by dot products of pairs: few rows of tokens at a time."""
        most = register_rows(b.isa)

        def tile(row: Index, rows: int) -> None:
            vectors = register_vectors(b.isa, rows)
            with b.loop(0, PANEL, vectors * b.isa.lanes) as at:
                sums = self._dots(b, tokens + row * self.row, weights + at, rows, vectors)
                for index, total in enumerate(sums):
                    i, v = divmod(index, vectors)
                    self._finish(b, total, result, row + i, at + v * b.isa.lanes)

        Rows.of(self.tokens, most).visit(b, tile)

    def _dots(self, b: Builder, tokens: Ref, weights: Ref, rows: int, vectors: int) -> list[Value]:
        lanes, size = b.isa.lanes, rows * vectors
        copies = 4 if size <= 2 else 2 if size <= 4 else 1
        sums = [b.constant(0.0, "f32", lanes)] * (size * copies)
        with b.loop(0, self.steps * STEP, copies, carry=sums) as at:
            for copy in range(copies):
                columns = [b.vload(weights, (at + copy) * PANEL + v * lanes) for v in range(vectors)]
                for row in range(rows):
                    token = b.broadcast(b.load(tokens + row * self.row, at + copy))
                    for v, column in enumerate(columns):
                        place = copy * size + row * vectors + v
                        sums[place] = dot(b, token, column, sums[place])
        for copy in range(1, copies):
            sums[:size] = [x + y for x, y in zip(sums[:size], sums[copy * size :], strict=False)]
        return sums[:size]

    def _with_tiles(
        self, b: Builder, tokens: Ref, weights: Ref, sums: Ref, result: tuple[list[Ref], Ref, Index]
    ) -> None:
        """A panel by AMX: 32 or 16 tokens at a time."""
        whole, rest = divmod(self.tokens, 2 * amx.ROWS)
        with b.loop(0, whole) as block:
            self._tile(b, tokens, weights, sums, block * (2 * amx.ROWS), 2 * amx.ROWS, result)
        if rest:
            self._tile(b, tokens, weights, sums, whole * 2 * amx.ROWS, rest, result)

    def _tile(
        self,
        b: Builder,
        tokens: Ref,
        weights: Ref,
        sums: Ref,
        first: Index,
        count: int,
        result: tuple[list[Ref], Ref, Index],
    ) -> None:
        tiles, height = amx.Tiles(b), -(-count // amx.ROWS)
        cells = [(row, at) for row in range(height) for at in range(2)]
        left = tokens + first * self.row
        for row, at in cells:
            tiles.zero(2 * row + at)
        with b.loop(0, self.steps) as step:
            for row in range(height):
                tiles.load(4 + row, left + (step * STEP + row * amx.ROWS * self.row), 4 * self.row)
            for at in range(2):
                tiles.load(6 + at, weights + (step * (STEP * PANEL) + at * amx.PIXELS), 4 * PANEL)
            for row, at in cells:
                tiles.multiply(2 * row + at, 4 + row, 6 + at)
        for row, at in cells:
            tiles.store(2 * row + at, sums + (row * amx.ROWS * PANEL + at * amx.PIXELS), 4 * PANEL)
        with b.loop(0, count) as row:
            for at in range(0, PANEL, b.isa.lanes):
                self._finish(b, b.vload(sums, row * PANEL + at), result, first + row, at)

    def _finish(self, b: Builder, total: Value, result: tuple[list[Ref], Ref, Index], token: Index, at: Index) -> None:
        """The epilogue of a vector of outputs from `at` of a panel on, those that there are."""
        extras, y, panel = result
        column = panel * PANEL + at
        last = -(-self.m // b.isa.lanes) * b.isa.lanes
        if self.m % PANEL == 0:
            self.epilogue.store(b, total, extras, y, self.m, token, column, None)
        elif self.m % b.isa.lanes == 0:
            with b.if_(column < last):
                self.epilogue.store(b, total, extras, y, self.m, token, column, None)
        else:
            with b.if_(column < last - b.isa.lanes) as branch:
                self.epilogue.store(b, total, extras, y, self.m, token, column, None)
            with branch.else_(), b.if_(column < last):
                self.epilogue.store(b, total, extras, y, self.m, token, column, self.m % b.isa.lanes)


def register_rows(isa: Isa) -> int:
    """Tokens of a register tile."""
    return {32: 6 if isa.lanes == 16 else 4, 16: 4}.get(isa.registers, 2)


def register_vectors(isa: Isa, rows: int) -> int:
    """Vectors of outputs of a register tile of `rows` tokens: sums, and six registers for operands and halves."""
    vectors = 1
    while 2 * vectors * rows <= isa.registers - 6 and 2 * vectors * isa.lanes <= PANEL:
        vectors *= 2
    return vectors
