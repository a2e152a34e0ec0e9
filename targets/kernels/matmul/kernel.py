"""`sp.matmul` of two activations (or of a constant left side): batched products in register tiles.

    y[.., n, m] = Σ a[.., n, k] · b[.., k, m]

A panel of 32 columns of b is packed in scratch, [K][32], where its rows are not contiguous or far apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.epilogue import Epilogue
from sparsec.targets.kernels.gemm import Matrix, Rows, column_vectors, multiply, tile_rows, tile_vectors
from sparsec.targets.kernels.space import Space, dot, unravel
from sparsec.targets.kernels.transpose import COLUMNS, block_rows, columns_of

PANEL = 32
GROUP = 240  # rows that share a packing of b; a multiple of all tile heights
NEAR = 64  # floats between rows of b that are close enough to be read in place


@dataclass(frozen=True)
class Matmul(Kernel):
    """Arguments: a, b, the epilogue's extras, y. `batch` has the strides of a and of b.

    n, m and k are ints; `SizedMatmul` takes symbols as well.
    """

    batch: Space
    n: Any
    m: Any
    k: Any
    transpose_a: bool
    transpose_b: bool
    epilogue: Epilogue

    @property
    def name(self) -> str:
        return f"matmul_f32_n{PANEL}{'_ta' if self.transpose_a else ''}{'_tb' if self.transpose_b else ''}"

    @property
    def chunks(self) -> Dim:
        return prod(self.batch.sizes) * self._panels * self._groups

    @property
    def scratch(self) -> Dim:
        return self.k * PANEL * 4

    @property
    def _panels(self) -> Any:
        return -(-self.m // PANEL)

    @property
    def _groups(self) -> Any:
        return max(1, -(-self.n // GROUP))

    def emit(self, b: Builder) -> None:
        elements = ["f32", "f32", *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin, end) as chunk,
        ):
            sizes = (*self.batch.sizes, self._groups, self._panels)
            *batch, group, panel = unravel(b, chunk, sizes)
            x, w = (ref + dot(batch, strides) for ref, strides in zip((x, w), self.batch.strides, strict=True))
            flat = chunk // (self._groups * self._panels) if batch else 0
            job = Job(x, w, extras, y, scratch.view("f32"), flat * self.n, group)
            self._any_panel(b, job, panel)

    def _any_panel(self, b: Builder, job: Job, panel: Index) -> None:
        whole, rest = divmod(self.m, PANEL)
        if not rest:
            self._any_group(b, job, panel * PANEL, PANEL)
        elif not whole:
            self._any_group(b, job, 0, rest)
        else:
            with b.if_(b.as_index(panel) < whole) as branch:
                self._any_group(b, job, panel * PANEL, PANEL)
            with branch.else_():
                self._any_group(b, job, whole * PANEL, rest)

    def _any_group(self, b: Builder, job: Job, column: Index, width: Any) -> None:
        """The rows of a group times `width` columns from `column` on."""
        right = self._right(b, job, column, width)
        most = tile_rows(b.isa)
        last = self.n - (self._groups - 1) * GROUP
        if self._groups == 1:
            Rows.of(last, most).visit(b, lambda row, count: self._tile(b, job, right, row, count, column, width))
            return
        with b.if_(b.as_index(job.group) < self._groups - 1) as branch:
            start = job.group * GROUP
            tile = lambda row, count: self._tile(b, job, right, row + start, count, column, width)  # noqa: E731
            Rows.of(GROUP, most).visit(b, tile)
        with branch.else_():
            start = (self._groups - 1) * GROUP
            tile = lambda row, count: self._tile(b, job, right, row + start, count, column, width)  # noqa: E731
            Rows.of(last, most).visit(b, tile)

    def _tile(self, b: Builder, job: Job, right: Matrix, row: Index, rows: int, column: Index, width: Any) -> None:
        strides = (1, self.n) if self.transpose_a else (self.k, 1)
        left = Matrix(job.x + row * strides[0], *strides)
        step = tile_vectors(b.isa, rows, PANEL) * b.isa.lanes
        for at in range(0, width, step):
            counts = column_vectors(b.isa.lanes, min(step, width - at))
            loads = counts if right.row != PANEL else [None] * len(counts)
            part = Matrix(right.ref + at, right.row, 1)
            for i, total in enumerate(multiply(b, left, part, rows, loads, self.k)):
                r, v = divmod(i, len(counts))
                token, place = row + r + job.token, column + (at + v * b.isa.lanes)
                self.epilogue.store(b, total, job.extras, job.y, self.m, token, place, counts[v])

    def _right(self, b: Builder, job: Job, column: Index, width: Any) -> Matrix:
        """The columns of b, in place or packed."""
        tails = bool(width % b.isa.lanes)
        if not self.transpose_b and (self.m <= NEAR or self.n < PANEL) and (b.isa.masked_memory or not tails):
            return Matrix(job.w + column, self.m, 1)
        if self.transpose_b:
            self._pack_turned(b, job.w + column * self.k, job.scratch, width)
        else:
            self._pack(b, job.w + column, job.scratch, width)
        return Matrix(job.scratch, PANEL, 1)

    def _pack(self, b: Builder, source: Ref, packed: Ref, width: int) -> None:
        lanes = b.isa.lanes
        with b.loop(0, self.k) as row:
            for v, count in enumerate(column_vectors(lanes, width)):
                b.vstore(b.vload(source, row * self.m + v * lanes, count), packed, row * PANEL + v * lanes)

    def _pack_turned(self, b: Builder, source: Ref, packed: Ref, width: int) -> None:
        """Blocks that are turned in registers; columns beyond `width` become zero."""
        rows = block_rows(b)
        for first in range(0, -(-width // b.isa.lanes) * b.isa.lanes, rows):
            have = max(0, min(rows, width - first))
            with b.loop(0, self.k // COLUMNS * COLUMNS, COLUMNS) as at:
                self._turn(b, source + first * self.k, packed + first, at, have, COLUMNS)
            if rest := self.k % COLUMNS:
                self._turn(b, source + first * self.k, packed + first, self.k - rest, have, rest)

    def _turn(self, b: Builder, source: Ref, packed: Ref, at: Index, have: int, count: int) -> None:
        for i, column in enumerate(columns_of(b, source, at, self.k, have, count)):
            b.vstore(column, packed, at * PANEL + i * PANEL)


@dataclass(frozen=True)
class Job:
    """What a chunk works on: references at its batch, the first token of the batch, the group of rows."""

    x: Ref
    w: Ref
    extras: list[Ref]
    y: Ref
    scratch: Ref
    token: Index
    group: Index
