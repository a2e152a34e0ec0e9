"""Dense linear layers: y[n, m] = Σ x[n, k] · w[m, k] with the weights in panels of 32 rows, [M / 32][K][32].

One panel width serves all ISAs of a target. Few tokens stream the weights once, at the speed of memory. Many tokens run
register tiles: a group of tokens stays in the second-level cache while the panels pass by, and where even that is too
much, K is walked in blocks, between which partial sums lie in y. So the weights are read once for each group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.gemm import (
    LINE,
    UNROLL,
    Ahead,
    Matrix,
    Rows,
    column_vectors,
    multiply,
    partial_sums,
    tile_rows,
    tile_vectors,
)
from sparsec.targets.kernels.linear.kernel import LinearKernel, far

PANEL = 32
GROUP = 128  # most tokens in a group
FAR = 1 << 17  # weights from which on the next panel is prefetched (512 KB)
NEXT = 16384  # bytes that one token asks ahead
DEPTH = 1024  # about how many elements of K are in a block: 128 tokens of it take 512 KB


@dataclass(frozen=True)
class LinearDense(LinearKernel):
    """Weights in panels, read by register tiles."""

    sparse = False
    weight_element: ClassVar[str] = "f32"

    @property
    def name(self) -> str:
        return f"gemv_f32_dense_n{PANEL}" if self.tokens == 1 else f"gemm_f32_dense_n{PANEL}"

    @property
    def layout(self) -> str:
        return f"panels{PANEL}"

    @property
    def chunks(self) -> int:
        return self.panels * self.groups

    @property
    def group(self) -> int:
        return self.panels if self.staged else 1

    @property
    def panels(self) -> int:
        """Panels of weights."""
        return -(-self.m // PANEL)

    @property
    def groups(self) -> int:
        """Groups of tokens."""
        return max(1, -(-self.tokens // GROUP))

    @property
    def group_tokens(self) -> int:
        """Tokens that pass by a panel together; all groups but the last have as many."""
        return -(-self.tokens // self.groups)

    @property
    def blocks(self) -> int:
        """Blocks of K; partial sums can only lie in a result of f32."""
        small = self.group_tokens * self.k <= GROUP * DEPTH or self.epilogue.result != "f32"
        return 1 if small else -(-self.k // DEPTH)

    @property
    def depth(self) -> int:
        """Elements of K in a block; the last may have fewer."""
        return -(-self.k // self.blocks)

    @property
    def row(self) -> int:
        """The distance of two tokens where the tiles read them.

        Rows that lie multiples of 2 KB apart fall into one or two sets of the first-level cache, which hold 8 or 12
        lines each: such tokens are copied apart.
        """
        return self.depth + 16 if self.tokens > 4 and self.k % 512 == 0 else self.k

    @property
    def staged(self) -> bool:
        """Whether the tiles read a copy of the tokens."""
        return self.row != self.k

    @property
    def scratch(self) -> int:
        return self.group_tokens * self.row * 4 if self.staged else 0

    def emit(self, b: Builder) -> None:
        elements = ["f32", self.weight_element, *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin // self.panels, (end + (self.panels - 1)) // self.panels) as group,
        ):
            first = group * self.panels
            span = b.max(begin, first) - first, b.min(end, first + self.panels) - first
            last = self.tokens - (self.groups - 1) * self.group_tokens
            work = _Work(b, self, x, w, extras, y, scratch.view("f32"), span)
            if self.groups == 1:
                work.group(0, last)
                return
            with b.if_(group < self.groups - 1) as branch:
                work.group(group * self.group_tokens, self.group_tokens)
            with branch.else_():
                work.group(b.constant(self.tokens - last), last)

    def pack(self, w: np.ndarray) -> np.ndarray:
        padded = np.zeros((self.panels * PANEL, self.k), np.float32)
        padded[: self.m] = w
        return np.ascontiguousarray(padded.reshape(self.panels, PANEL, self.k).transpose(0, 2, 1))

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        tiles = self.groups * -(-self.group_tokens // tile_rows(isa))
        vectors = self.panels * PANEL / isa.lanes
        return {
            "linear fma": self.tokens * self.k * vectors,
            "linear load": tiles * self.k * vectors,
            "linear far byte": self.groups * far(4 * self.m * self.k, caches),
        }


@dataclass(frozen=True)
class HalfWeights(LinearDense):
    """Weights in f16, which become f32 as they are loaded: half the bytes of layers that wait for memory."""

    weight_element: ClassVar[str] = "f16"

    @property
    def name(self) -> str:
        return f"{'gemv' if self.tokens == 1 else 'gemm'}_f16_dense_n{PANEL}"

    @property
    def layout(self) -> str:
        return f"half {super().layout}"

    def suits(self, isa: Isa) -> bool:
        return isa.half_arithmetic

    def pack(self, w: np.ndarray) -> np.ndarray:
        return super().pack(w).astype(np.float16)

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        """A load takes half the time where it waits for memory; else it and the conversion take half as long again."""
        events = super().events(isa, caches, w)
        waits = far(4 * self.m * self.k, caches) > 0
        nbytes = self.groups * far(2 * self.m * self.k, caches)
        return {**events, "linear load": (0.5 if waits else 1.5) * events["linear load"], "linear far byte": nbytes}


@dataclass(frozen=True)
class _Work:
    """Writes the code for the panels `span` and one group of tokens."""

    b: Builder
    kernel: LinearDense
    x: Ref
    w: Ref
    extras: list[Ref]
    y: Ref
    scratch: Ref
    span: tuple[Value, Value]

    def group(self, token: Index, count: int) -> None:
        """The `count` tokens from `token` on: the first block of K, those between, the last."""
        kernel = self.kernel
        last = kernel.blocks - 1
        if last:
            self._block(token, count, 0, kernel.depth, False)
            with self.b.loop(1, last) as block:
                self._block(token, count, block, kernel.depth, False)
        self._block(token, count, last, kernel.k - last * kernel.depth, True)

    def _block(self, token: Index, count: int, block: Index, depth: int, final: bool) -> None:
        b, kernel = self.b, self.kernel
        source = self.x + (token * kernel.k + block * kernel.depth)
        if kernel.staged:
            self._stage(source, count, depth)
            source = self.scratch
        first = isinstance(block, int) and block == 0
        part = _Part(source, self.w + block * (kernel.depth * PANEL), token, count, depth, first, final)
        with b.loop(*self.span) as panel:
            self._any_panel(part, panel)

    def _stage(self, source: Ref, count: int, depth: int) -> None:
        """Copies a block of the tokens to rows that fall into different sets of the cache."""
        b, kernel = self.b, self.kernel
        step = 4 * b.isa.lanes
        bulk = depth // step * step
        with b.loop(0, count) as token:
            row, target = source + token * kernel.k, self.scratch + token * kernel.row
            with b.loop(0, bulk, step) as at:
                for v, vector in enumerate([b.vload(row, at + v * b.isa.lanes) for v in range(4)]):
                    b.vstore(vector, target, at + v * b.isa.lanes)
            for at in range(bulk, depth, b.isa.lanes):
                b.vstore(b.vload(row, at, depth - at), target, at, depth - at)

    def _any_panel(self, part: _Part, panel: Index) -> None:
        """A whole panel, or the last one, which has fewer columns."""
        whole, rest = divmod(self.kernel.m, PANEL)
        if not rest:
            self._panel(part, panel, PANEL)
        elif not whole:
            self._panel(part, 0, rest)
        else:
            with self.b.if_(self.b.as_index(panel) < whole) as branch:
                self._panel(part, panel, PANEL)
            with branch.else_():
                self._panel(part, whole, rest)

    def _panel(self, part: _Part, panel: Index, width: int) -> None:
        b = self.b
        w = part.w + panel * (self.kernel.k * PANEL)

        def tile(row: Index, rows: int) -> None:
            step = tile_vectors(b.isa, rows, PANEL) * b.isa.lanes
            with b.loop(0, width // step * step, step) as at:
                self._tile(part, w + at, row, rows, at + panel * PANEL, step)
            if width % step:
                at = width // step * step
                self._tile(part, w + at, row, rows, panel * PANEL + at, width % step)

        Rows.of(part.count, tile_rows(b.isa)).visit(b, tile)

    def _tile(self, part: _Part, w: Ref, row: Index, rows: int, column: Index, width: int) -> None:
        """`rows` tokens from `row` of the group on, `width` columns from `column` on."""
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        counts = column_vectors(lanes, width)
        places = [(part.token + row + r, column + v * lanes, n) for r in range(rows) for v, n in enumerate(counts)]
        started = None
        if not part.first:
            started = [b.vload(self.y + token * kernel.m, at, n) for token, at, n in places]
        # The narrow tile at the end adds in the order of the others: equal columns have equal results, bit by bit.
        copies = partial_sums(rows, tile_vectors(b.isa, rows, PANEL))
        left = Matrix(part.x + row * kernel.row, kernel.row, 1)
        right = Matrix(w, PANEL, 1)
        ahead = self._ahead(part, w, row, rows)
        sums = multiply(b, left, right, rows, [None] * len(counts), part.depth, copies, started, ahead)
        for total, (token, at, n) in zip(sums, places, strict=True):
            if part.final:
                kernel.epilogue.store(b, total, self.extras, self.y, kernel.m, token, at, n)
            else:
                b.vstore(total, self.y + token * kernel.m, at, n)

    def _ahead(self, part: _Part, w: Ref, row: Index, rows: int) -> Ahead | None:
        """This tile's share of the next panel, so that the first tile there need not wait for memory.

        Measured on 64 × 1024 × 4096: 101 % of FMA peak, 81 % without. One token asks ahead in its own panel: weights of
        8 MB that a network has not read for 14 ms come at 15.5 GB/s, 13 without; two and four panels at a time read as
        fast. (On this machine one core reads 29.5 GB/s from the L3, 17 to 25 from DRAM.)
        """
        if self.kernel.m * self.kernel.k < FAR:
            return None
        if part.count == 1:
            return Ahead(w + NEXT // 4, UNROLL * PANEL // LINE)
        if part.count <= rows:
            return None
        lines = part.depth * PANEL // LINE
        share = w + (self.kernel.k * PANEL) + row * (lines // part.count * LINE)
        return Ahead(share, -(-UNROLL * PANEL // LINE * rows // part.count))


@dataclass(frozen=True)
class _Part:
    """A block of K for a group of tokens: where x and w begin, and whether it is the first and the last block."""

    x: Ref
    w: Ref
    token: Index
    count: int
    depth: int
    first: bool
    final: bool
