"""Dense linear layers: y[n, m] = Σ x[n, k] · w[m, k] with the weights in panels of 32 rows, [M / 32][K][32].

One panel width serves all ISAs of a target. Few tokens stream the weights once, at the speed of memory; many tokens run
register tiles over a group of tokens that stays in the second-level cache while the panels pass by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.gemm import Matrix, Rows, column_vectors, multiply, partial_sums, tile_rows, tile_vectors
from sparsec.targets.kernels.linear_kernel import LinearKernel, far

PANEL = 32
TALLEST = 12  # rows of the tallest register tile of all ISAs: they share the groups
STAGED = 1 << 20  # bytes of tokens in a group: half of a second-level cache of 2 MB


@dataclass(frozen=True)
class LinearDense(LinearKernel):
    """Weights in panels, read by register tiles."""

    sparse = False

    @property
    def name(self) -> str:
        return f"gemv_f32_dense_n{PANEL}" if self.tokens == 1 else f"gemm_f32_dense_n{PANEL}"

    @property
    def layout(self) -> str:
        return f"panels{PANEL}"

    @property
    def chunks(self) -> int:
        return self._panels * self._groups

    @property
    def _panels(self) -> int:
        return -(-self.m // PANEL)

    @property
    def _groups(self) -> int:
        return max(1, -(-self.tokens // min(max(STAGED // (4 * max(self.k, 1) * TALLEST), 1) * TALLEST, 128)))

    @property
    def _group_tokens(self) -> int:
        """Tokens that pass by a panel together; all groups but the last have as many."""
        return -(-self.tokens // self._groups)

    @property
    def _row(self) -> int:
        """The distance of two tokens where the tiles read them.

        Rows that lie multiples of 2 KB apart fall into one or two sets of the first-level cache, which hold 8 or 12
        lines each: such tokens are copied apart.
        """
        return self.k + 16 if self.tokens > 4 and self.k % 512 == 0 else self.k

    @property
    def scratch(self) -> int:
        return self._group_tokens * self._row * 4 if self._row != self.k else 0

    def emit(self, b: Builder) -> None:
        elements = ["f32", "f32", *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin, end) as chunk,
        ):
            group, panel = (0, chunk) if self._groups == 1 else (chunk // self._panels, chunk % self._panels)
            if self.scratch:
                with b.if_((chunk == begin) | (b.as_index(panel) == 0)):
                    self._stage(b, x, scratch.view("f32"), group)
                x = scratch.view("f32")
            else:
                x = x + group * (self._group_tokens * self.k)
            self._any_panel(b, x, w, extras, y, group, panel)

    def _stage(self, b: Builder, x: Ref, staged: Ref, group: Index) -> None:
        """Copies the group's tokens to rows that fall into different sets of the cache."""
        lanes = b.isa.lanes
        first = group * self._group_tokens
        with (
            b.loop(0, self._tokens_of(b, group)) as token,
            b.loop(0, self.k, 4 * lanes) as at,  # k is a multiple of 512 here
        ):
            source, target = x + (token + first) * self.k, staged + token * self._row
            for vector in [b.vload(source, at + v * lanes) for v in range(4)]:
                b.vstore(vector, target, at)
                at = at + lanes

    def _tokens_of(self, b: Builder, group: Index) -> Index:
        if self._groups == 1:
            return self.tokens
        return b.min(b.constant(self.tokens) - group * self._group_tokens, b.constant(self._group_tokens))

    def _any_panel(self, b: Builder, x: Ref, w: Ref, extras: list[Ref], y: Ref, group: Index, panel: Index) -> None:
        """A whole panel, or the last one, which has fewer columns."""
        whole = self.m // PANEL
        if whole == self._panels:
            self._panel(b, x, w, extras, y, group, panel, PANEL)
        elif whole == 0:
            self._panel(b, x, w, extras, y, group, 0, self.m)
        else:
            with b.if_(panel < whole) as branch:
                self._panel(b, x, w, extras, y, group, panel, PANEL)
            with branch.else_():
                self._panel(b, x, w, extras, y, group, whole, self.m - whole * PANEL)

    def _panel(
        self, b: Builder, x: Ref, w: Ref, extras: list[Ref], y: Ref, group: Index, panel: Index, width: int
    ) -> None:
        w, first = w + panel * (self.k * PANEL), panel * PANEL
        base = group * self._group_tokens

        def columns(count: int, at: Index, size: int, token: Index) -> None:
            counts = column_vectors(b.isa.lanes, size)
            left = Matrix(x + token * self._row, self._row, 1)
            # The narrow tile at the end adds in the order of the others: equal columns have equal results, bit by bit.
            copies = partial_sums(count, tile_vectors(b.isa, count, PANEL))
            sums = multiply(b, left, Matrix(w + at, PANEL, 1), count, [None] * len(counts), self.k, copies=copies)
            for row, vectors in enumerate(sums):
                for v, (total, valid) in enumerate(zip(vectors, counts, strict=True)):
                    place = first + at + v * b.isa.lanes
                    self.epilogue.store(b, total, extras, y, self.m, token + row + base, place, valid)

        def tile(token: Index, count: int) -> None:
            step = tile_vectors(b.isa, count, PANEL) * b.isa.lanes
            with b.loop(0, width // step * step, step) as at:
                columns(count, at, step, token)
            if width % step:
                columns(count, width // step * step, width % step, token)

        most = tile_rows(b.isa)
        rows, last = (
            Rows.of(n, most) for n in (self._group_tokens, self.tokens - (self._groups - 1) * self._group_tokens)
        )
        if rows == last:
            rows.visit(b, tile)
            return
        with b.if_(b.as_index(group) < self._groups - 1) as branch:
            rows.visit(b, tile)
        with branch.else_():
            last.visit(b, tile)

    def pack(self, w: np.ndarray) -> np.ndarray:
        padded = np.zeros((self._panels * PANEL, self.k), np.float32)
        padded[: self.m] = w
        return np.ascontiguousarray(padded.reshape(self._panels, PANEL, self.k).transpose(0, 2, 1))

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        tiles = self._groups * -(-self._group_tokens // tile_rows(isa))
        vectors = self._panels * PANEL / isa.lanes
        return {
            "linear fma": self.tokens * self.k * vectors,
            "linear load": tiles * self.k * vectors,
            "linear far byte": self._groups * far(4 * self.m * self.k, caches),
        }
