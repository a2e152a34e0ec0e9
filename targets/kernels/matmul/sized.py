"""`sp.matmul` of matrices whose sizes only the run knows.

b is always packed, in columns of 32 with zeros behind the last one, so that tiles are whole in columns; rows that whole
tiles leave are computed in tiles of 8, 4, 2 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.ir.dims import Dim, ceildiv
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.kernels.gemm import Matrix, multiply, tile_rows, tile_vectors
from sparsec.targets.kernels.matmul.kernel import GROUP, PANEL, Job, Matmul
from sparsec.targets.kernels.transpose import COLUMNS, block_rows, columns_of


@dataclass(frozen=True)
class SizedMatmul(Matmul):
    """`Matmul` with symbols among n, m and k."""

    @property
    def name(self) -> str:
        return f"{super().name}_sized"

    @property
    def _panels(self) -> Dim:
        return ceildiv(self.m, PANEL)

    @property
    def _groups(self) -> Dim:
        return ceildiv(self.n, GROUP)

    def _any_panel(self, b: Builder, job: Job, panel: Index) -> None:
        column = panel * PANEL
        width = b.as_index(self.m) - column
        with b.if_(width >= PANEL) as branch:
            self._any_group(b, job, column, PANEL)
        with branch.else_():
            self._any_group(b, job, column, width)

    def _any_group(self, b: Builder, job: Job, column: Index, width: Index) -> None:
        right = self._right(b, job, column, width)
        start = b.as_index(job.group * GROUP)
        stop, rows = b.min(start + GROUP, self.n), tile_rows(b.isa)
        whole = (stop - start) // rows * rows + start
        with b.loop(start, whole, rows) as row:
            self._tile(b, job, right, row, rows, column, width)
        half = 1 << (rows - 1).bit_length()
        while half > 1:
            half //= 2
            with b.if_(((stop - whole) & half) != 0):
                row = (stop - whole) // (2 * half) * (2 * half) + whole
                self._tile(b, job, right, row, half, column, width)

    def _tile(self, b: Builder, job: Job, right: Matrix, row: Index, rows: int, column: Index, width: Index) -> None:
        strides = (1, self.n) if self.transpose_a else (self.k, 1)
        left = Matrix(job.x + row * strides[0], *strides)
        vectors = tile_vectors(b.isa, rows, PANEL)
        for at in range(0, PANEL, vectors * b.isa.lanes):
            sums = multiply(b, left, Matrix(right.ref + at, PANEL, 1), rows, [None] * vectors, self.k)
            for i, total in enumerate(sums):
                r, v = divmod(i, vectors)
                before = at + v * b.isa.lanes
                count = None if isinstance(width, int) else width - before
                token = row + r + job.token
                self.epilogue.store(b, total, job.extras, job.y, self.m, token, column + before, count)

    def _right(self, b: Builder, job: Job, column: Index, width: Index) -> Matrix:
        if not isinstance(width, int):
            self._pack_some(b, job, column, width)
        elif self.transpose_b:
            self._pack_turned(b, job.w + column * self.k, job.scratch, width)
        else:
            self._pack(b, job.w + column, job.scratch, width)
        return Matrix(job.scratch, PANEL, 1)

    def _pack_turned(self, b: Builder, source: Ref, packed: Ref, width: int) -> None:
        whole = b.as_index(self.k) // COLUMNS * COLUMNS
        for first in range(0, width, block_rows(b)):
            with b.loop(0, whole, COLUMNS) as at:
                for i, column in enumerate(columns_of(b, source + first * self.k, at, self.k)):
                    b.vstore(column, packed + first, at * PANEL + i * PANEL)
        with b.loop(0, width) as line, b.loop(whole, self.k) as at:
            b.store(b.load(source + line * self.k, at), packed + line, at * PANEL)

    def _pack_some(self, b: Builder, job: Job, column: Index, width: Index) -> None:
        """The columns behind the last whole 32, one by one."""
        b.memset(job.scratch, 0, self.scratch)
        steps = (self.k, 1) if self.transpose_b else (1, self.m)
        with b.loop(0, self.k) as at, b.loop(0, width) as line:
            place = line * steps[0] + at * steps[1]
            b.store(b.load(job.w + column * steps[0], place), job.scratch + at * PANEL, line)
