"""Sparse linear layers of several tokens, y[n, m] = Σ x[n, k] · w[m, k]: each non-zero times a vector of tokens.

Tokens are taken in panels. For one panel, K is walked in blocks: the block of x is turned to [k][tokens] in scratch,
where it stays in the first-level cache, and each row of weights adds its non-zeros' products to its sums, [m][tokens].
At the end the sums are turned back and pass the epilogue. The weight stream is that of sparse convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.conv.shape import tiles
from sparsec.targets.kernels.conv.stream import accumulate, pack_stream, walk
from sparsec.targets.kernels.linear.kernel import LinearKernel, far
from sparsec.targets.kernels.transpose import COLUMNS, block_rows, columns_of

CHUNKS = 16  # wanted where tokens are few
LEAST = 64  # rows of weights in a part, so that runs of equal length stay long


@dataclass(frozen=True)
class LinearSpmm(LinearKernel):
    """`width` is the most tokens in a panel, `depth` the elements of K in a block."""

    width: int
    depth: int
    together: ClassVar[int] = 1  # non-zeros that are one step of the loop

    @property
    def name(self) -> str:
        return f"spmm_f32_csr_t{self.width}k{self.depth}"

    @property
    def sizes(self) -> dict[str, int]:
        return {"width": self.width, "depth": self.depth}

    @property
    def panels(self) -> int:
        """Panels of tokens."""
        return max(1, -(-self.tokens // self.width))

    @property
    def stride(self) -> int:
        """Tokens from one row of a turned block or of the sums to the next."""
        return -(-max(1, -(-self.tokens // self.panels)) // LINE) * LINE

    @property
    def parts(self) -> int:
        """Parts of the rows of weights, which are chunks of their own."""
        parts = max(1, min(-(-CHUNKS // self.panels), self.m // LEAST))
        return -(-self.m // -(-self.m // parts)) if self.m else 1

    @property
    def blocks(self) -> int:
        """Blocks of K."""
        return -(-self.k // self.depth)

    @property
    def chunks(self) -> int:
        return self.panels * self.parts

    @property
    def group(self) -> int:
        return self.parts

    @property
    def scratch(self) -> int:
        return (self.depth + -(-self.m // LINE) * LINE) * self.stride * 4  # sums are turned 16 rows at a time

    @property
    def layout(self) -> str:
        kind = "csr" if self.together == 1 else f"csr1x{self.together}"
        return f"{kind}_t{self.stride}k{self.depth}p{self.parts}"

    def suits(self, isa: Isa) -> bool:
        return not isa.lane_operands

    def pack(self, w: np.ndarray) -> np.ndarray:
        return pack_stream(w, 1, 1, 4 * self.stride * np.arange(self.depth), self.parts, self.together)

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        counts = np.add.reduceat(w != 0, np.arange(0, self.k, self.depth), axis=1, dtype=np.int32)
        each = -(-self.m // self.parts)
        parts = [counts[first : first + each] for first in range(0, self.m, each)]
        runs = sum(len(np.unique(column)) for part in parts for column in part.T)
        vectors = sum(-(-min(self.stride, self.tokens - at) // LINE) for at in range(0, self.tokens, self.stride))
        vectors *= LINE // isa.lanes
        strips = self.panels * -(-self.stride // (isa.lanes * self._most(isa)))
        return {
            "spmm fma": float(counts.sum()) * vectors,
            "spmm non-zero": float(counts.sum()) * strips,
            "spmm sum": counts.size * vectors,
            "spmm row": counts.size * strips,
            "spmm run": runs * strips,
            "turned vector": vectors * (self.k + self.m),
            "linear far byte": self.panels * far(8.0 * counts.sum() + 4 * counts.size, caches),
        }

    def _most(self, isa: Isa) -> int:
        """Vectors of a tile: besides the sums, a value and (but on x86) a row of x need registers."""
        return isa.registers - (2 if isa.x86 else 4)

    def emit(self, b: Builder) -> None:
        elements = ["f32", "i32", *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin // self.parts, (end + (self.parts - 1)) // self.parts) as panel,
        ):
            first = panel * self.parts
            span = b.max(begin, first) - first, b.min(end, first + self.parts) - first
            turned = scratch.view("f32")
            work = _Work(b, self, x, w, extras, y, turned, turned + self.depth * self.stride, span)
            last = self.tokens - (self.panels - 1) * self.stride
            if self.panels == 1:
                work.panel(0, last)
                return
            with b.if_(panel < self.panels - 1) as branch:
                work.panel(panel * self.stride, self.stride)
            with branch.else_():
                work.panel(b.constant((self.panels - 1) * self.stride), last)


@dataclass(frozen=True)
class QuadSpmm(LinearSpmm):
    """`LinearSpmm` in steps of four non-zeros, as ARM likes it."""

    together: ClassVar[int] = 4

    @property
    def name(self) -> str:
        return f"spmm_f32_quads_t{self.width}k{self.depth}"

    def suits(self, isa: Isa) -> bool:
        return isa.lane_operands


@dataclass(frozen=True)
class _Work:
    """Writes the code for the parts `span` of one panel of tokens."""

    b: Builder
    kernel: LinearSpmm
    x: Ref
    w: Ref
    extras: list[Ref]
    y: Ref
    turned: Ref
    sums: Ref
    span: tuple[Value, Value]

    def panel(self, token: Index, count: int) -> None:
        """The `count` tokens from `token` on."""
        b, kernel = self.b, self.kernel
        low, high = self._rows(*self.span)
        b.memset(self.sums + low * kernel.stride, 0, (high - low) * (kernel.stride * 4))
        whole, rest = divmod(kernel.k, kernel.depth)
        with b.loop(0, whole) as block:
            self._block(token, count, block, kernel.depth)
        if rest:
            self._block(token, count, whole, rest)
        self._finish(token, count, low, high)

    def _rows(self, low: Value, high: Value) -> tuple[Value, Value]:
        """The rows of weights of the parts [low, high)."""
        each = -(-self.kernel.m // self.kernel.parts)
        most = self.b.constant(self.kernel.m)
        return self.b.min(low * each, most), self.b.min(high * each, most)

    def _block(self, token: Index, count: int, block: Index, depth: int) -> None:
        b, kernel = self.b, self.kernel
        self._turn(self.x + token * kernel.k + block * kernel.depth, count, depth)
        for tile in tiles(-(-count // LINE) * LINE, b.isa.lanes, kernel._most(b.isa)):
            with b.loop(0, tile.repeats) as repeat, b.loop(*self.span) as part:
                column = repeat * (tile.vectors * b.isa.lanes) + tile.start
                place = b.convert(b.load(self.w, block * kernel.parts + part), "index")
                visit = partial(self._row, column=column, vectors=tile.vectors)
                walk(b, (self.w.view("i8") + place).view("i32"), 1, visit)

    def _turn(self, source: Ref, count: int, depth: int) -> None:
        """Brings a block of x from [tokens][depth] to [depth][tokens]; tokens that do not exist become zero."""
        b, kernel = self.b, self.kernel
        height = block_rows(b)

        def columns(at: Index, row: Index, rows: int, wanted: int) -> None:
            for first in range(0, LINE, height):
                block = columns_of(b, source + (row + first) * kernel.k, at, kernel.k, rows - first, wanted)
                for i, vector in enumerate(block):
                    b.vstore(vector, self.turned + (row + first), (at + i) * kernel.stride)

        def strip(row: Index, rows: int) -> None:
            with b.loop(0, depth // COLUMNS * COLUMNS, COLUMNS) as at:
                columns(at, row, rows, COLUMNS)
            if depth % COLUMNS:
                columns(depth // COLUMNS * COLUMNS, row, rows, depth % COLUMNS)

        whole = count // LINE * LINE
        with b.loop(0, whole, LINE) as row:
            strip(row, LINE)
        if whole < count:
            strip(whole, count - whole)

    def _row(self, row: Ref, count: Value, column: Index, vectors: int) -> None:
        b, lanes = self.b, self.b.isa.lanes
        target = self.sums + (b.convert(b.load(row), "index") * self.kernel.stride + column)
        sums = [b.vload(target, v * lanes) for v in range(vectors)]
        operand, offsets = (self.turned + column).view("i8"), [v * lanes for v in range(vectors)]
        accumulate(b, row, 1, count, operand, offsets, sums, together=self.kernel.together)
        for v, total in enumerate(sums):
            b.vstore(total, target, v * lanes)

    def _finish(self, token: Index, count: int, low: Value, high: Value) -> None:
        """Turns the sums of the rows [low, high) and stores them."""
        b, kernel = self.b, self.kernel
        bulk = low + (high - low) // LINE * LINE
        with b.loop(low, bulk, LINE) as row:
            self._columns(token, count, row, None)
        if kernel.m % LINE or -(-kernel.m // kernel.parts) % LINE:
            with b.if_(bulk < high):
                self._columns(token, count, bulk, high - bulk)

    def _columns(self, token: Index, count: int, row: Index, valid: Value | None) -> None:
        """16 columns of y, whole lines, for all tokens of the panel; `valid` columns exist."""
        b, kernel, height = self.b, self.kernel, block_rows(self.b)

        def block(at: Index, wanted: int, first: int) -> None:
            sums = self.sums + (row + first) * kernel.stride
            for i, total in enumerate(columns_of(b, sums, at, kernel.stride, None, wanted)):
                rest = None if valid is None else b.max(valid - first, 0)
                kernel.epilogue.store(b, total, self.extras, self.y, kernel.m, token + at + i, row + first, rest)

        def visit(at: Index, wanted: int) -> None:
            for first in range(0, LINE, height):
                block(at, wanted, first)

        with b.loop(0, count // COLUMNS * COLUMNS, COLUMNS) as at:
            visit(at, COLUMNS)
        if count % COLUMNS:
            visit(count // COLUMNS * COLUMNS, count % COLUMNS)
