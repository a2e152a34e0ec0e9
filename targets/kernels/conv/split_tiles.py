"""The code of f32 products from pieces of bf16 (see `split`) on AMX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import LINE
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.shape import Tile
from sparsec.targets.kernels.conv.split_sizes import CELL, DEPTH, OUTPUTS, PAIRS, RAW, STEP, STRIP, SplitSizes, Unit
from sparsec.targets.kernels.pairs import pieces

ORDER = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))  # pieces of weights and columns: each reuses one of the last
AHEAD = 8192  # bytes of weights that are asked for ahead, into the L2; 2048 and 32768, or into the L1: 0 to 10 % slower

Turn = Callable[[Index, int], None]
"""A share of other work between products: beside a step, its number, and a group of its products."""


@dataclass(frozen=True)
class OnTiles:
    """Writes the results of a unit."""

    b: Builder
    kernel: SplitSizes
    work: Unit

    def emit(self) -> None:
        """A block of K after the other, each over all outputs; of most layers there is one."""
        b, k, work = self.b, self.kernel, self.work
        beside = self._beside > 0
        now = [b.constant(0)]
        if beside:
            self._split(work.weights + b.as_index(work.low) * (k.steps * RAW), work.near)
        with b.loop(0, k.blocks, carry=now) as block:
            self._copy(block)
            with b.loop(work.low, work.high, carry=now) as outputs:
                place = block * k.tall + outputs
                weights, turn = work.near, None
                if k.stored:
                    weights = (work.weights + place * (k.steps * STEP)).view("i32")
                elif beside:
                    weights = work.near + now[0] * (k.steps * STEP)
                    turn = self._turn((block, outputs), 1 - now[0])
                else:
                    self._split(work.weights + place * (k.steps * RAW), work.near)
                self._block(weights, (block, outputs), turn)
                if beside:
                    now[0] = 1 - now[0]

    @property
    def _beside(self) -> int:
        """Strips beside whose products the next block of weights is split."""
        k = self.kernel
        return 0 if k.stored else k.together * (k.shape.target.stride // STRIP)

    def _turn(self, place: tuple[Index, Index], into: Value) -> Turn:
        """Splits a share of the weights that come next: a few rows for each group of products of each step."""
        b, k, work = self.b, self.kernel, self.work
        (block, outputs), rows = place, k.steps * OUTPUTS
        ahead = b.as_index(outputs + 1)
        after = b.select(ahead < work.high, ahead + block * k.tall, b.as_index(work.low + (block + 1) * k.tall))
        following = b.min(after, b.constant(k.blocks * k.tall - 1))
        source, target = work.weights + following * (k.steps * RAW), work.near + into * (k.steps * STEP)
        each, parts = -(-OUTPUTS // self._beside), len(ORDER)

        def turn(number: Index, part: int) -> None:
            first = number * each
            if OUTPUTS % self._beside:
                first = b.min(b.as_index(first), b.constant(rows - each))
            for i in range(part * each // parts, (part + 1) * each // parts):
                self._split_row(source, target, first + i)

        return turn

    def _split(self, source: Ref, target: Ref) -> None:
        b, k = self.b, self.kernel
        with b.loop(0, k.steps * OUTPUTS) as row:
            self._split_row(source, target, row)

    def _split_row(self, source: Ref, target: Ref, row: Index) -> None:
        """The weights of an output in a step."""
        b = self.b
        place = target + (row // OUTPUTS * STEP + row % OUTPUTS * PAIRS)
        low, high = (b.vload(source, row * DEPTH + side * PAIRS) for side in (0, 1))
        for number, piece in enumerate(pieces(b, low, high)):
            b.vstore(piece, place, number * (2 * CELL))
        for line in range(DEPTH // LINE):
            b.prefetch(source, row * DEPTH + line * LINE + AHEAD // 4, locality=2)

    def _copy(self, block: Index) -> None:
        """The pieces of a block of K of all columns."""
        b, k, work = self.b, self.kernel, self.work
        (whole, rest), size = divmod(k.shape.stride, STRIP), k.steps * STEP
        with b.loop(0, k.together) as panel:
            source = k.rows(b, work, panel, block)
            target = work.copy + panel * (k.strips * size)
            with b.loop(0, whole) as strip:
                self._copy_strip(source + strip * STRIP, target + strip * size, block, STRIP)
            if rest:
                self._copy_strip(source + whole * STRIP, target + whole * size, block, rest)

    def _copy_strip(self, source: Ref, target: Ref, block: Index, columns: int) -> None:
        """Whole steps of rows of B, and in the last block what there is beside them, and zeros."""
        b, k = self.b, self.kernel
        full, rest = divmod(k.shape.depth, DEPTH)
        stride, before = k.shape.stride, (k.blocks - 1) * k.steps
        count = min(k.steps, full) if before == 0 else b.min(b.constant(k.steps), full - block * k.steps)
        with b.loop(0, count) as step, b.loop(0, PAIRS) as row:
            low = source + (step * DEPTH + row * 2) * stride
            self._copy_pair((low, low + stride), target + (step * STEP + row * LINE), columns)
        missing = range(full - before, k.steps)
        if not missing:
            return
        with b.if_(block == k.blocks - 1):
            for step in missing:
                pairs, odd = divmod(rest, 2) if step == full - before else (0, 0)
                start, to = source + step * DEPTH * stride, target + step * STEP
                with b.loop(0, pairs) as row:
                    low = start + row * (2 * stride)
                    self._copy_pair((low, low + stride), to + row * LINE, columns)
                if odd:
                    self._copy_pair((start + pairs * 2 * stride, None), to + pairs * LINE, columns)
                with b.loop(pairs + odd, PAIRS) as row:
                    self._copy_pair((None, None), to + row * LINE, columns)

    def _copy_pair(self, sides: tuple[Ref | None, Ref | None], target: Ref, columns: int) -> None:
        """The pieces of two channels, of which there may be one or none."""
        b = self.b
        zero = b.constant(0.0, "f32", LINE)
        for tile, at in enumerate(range(0, columns, LINE)):
            low, high = (zero if side is None else b.vload(side, at) for side in sides)
            for number, piece in enumerate(pieces(b, low, high)):
                b.vstore(piece, target, (number * 2 + tile) * CELL)

    def _block(self, weights: Ref, place: tuple[Index, Index], turn: Turn | None) -> None:
        """The products of a block of K of 32 outputs, or what is left of them."""
        b, k = self.b, self.kernel
        full, rest = divmod(k.shape.outputs, OUTPUTS)
        if not full or not rest:
            self._strips(weights, place, rest or OUTPUTS, turn)
            return
        with b.if_(place[1] < full) as branch:
            self._strips(weights, place, OUTPUTS, turn)
        with branch.else_():
            self._strips(weights, place, rest, turn)

    def _strips(self, weights: Ref, place: tuple[Index, Index], outputs: int, turn: Turn | None) -> None:
        """All columns, a strip of 32 after the other."""
        b, k, work = self.b, self.kernel, self.work
        (block, first), (whole, rest) = place, divmod(k.shape.target.stride, STRIP)
        sums = work.sums + (first * (k.together * k.strips * OUTPUTS * STRIP) if k.blocks > 1 else 0)
        with b.loop(0, k.together) as panel:
            output = work.output(work.panel + panel)

            def strip(
                number: Index, columns: int, turn: Turn | None, panel: Index = panel, output: Output = output
            ) -> None:
                at = panel * k.strips + number
                to, cells = sums + at * (OUTPUTS * STRIP), (-(-outputs // amx.ROWS), columns // amx.PIXELS)
                self._products((weights, work.copy + at * (k.steps * STEP), to), (block, at), cells, turn)
                with b.if_(block == k.blocks - 1):
                    self._finish(output, to, (first * OUTPUTS, outputs), (number * STRIP, columns))

            with b.loop(0, whole) as number:
                strip(number, STRIP, turn)
            if rest:
                strip(whole, rest, None)

    def _products(
        self,
        operands: tuple[Ref, Ref, Ref],
        place: tuple[Index, Index],
        size: tuple[int, int],
        turn: Turn | None,
    ) -> None:
        """Adds the products of a strip to its sums, which are size[0] × size[1] tiles."""
        b, k = self.b, self.kernel
        tiles, (weights, copy, sums), (block, strip) = amx.Tiles(b), operands, place
        cells = [(row, at) for row in range(size[0]) for at in range(size[1])]
        places = [sums + (row * amx.ROWS * STRIP + at * amx.PIXELS) for row, at in cells]
        with b.if_(block == 0) as branch:
            for row, at in cells:
                tiles.zero(2 * row + at)
        if k.blocks > 1:
            with branch.else_():
                for (row, at), ref in zip(cells, places, strict=True):
                    tiles.load(2 * row + at, ref, 4 * STRIP)
        with b.loop(0, k.steps) as step:
            left, right, held = weights + step * STEP, copy + step * STEP, (-1, -1)
            for number, (w, x) in enumerate(ORDER):
                for row in range(size[0] if w != held[0] else 0):
                    tiles.load(4 + row, left + (w * 2 + row) * CELL, amx.ROW_BYTES)
                for at in range(size[1] if x != held[1] else 0):
                    tiles.load(6 + at, right + (x * 2 + at) * CELL, amx.ROW_BYTES)
                for row, at in cells:
                    tiles.multiply(2 * row + at, 4 + row, 6 + at)
                if turn:
                    turn(strip * k.steps + step, number)
                held = (w, x)
        for (row, at), ref in zip(cells, places, strict=True):
            tiles.store(2 * row + at, ref, 4 * STRIP)

    def _finish(self, output: Output, sums: Ref, rows: tuple[Index, int], columns: tuple[Index, int]) -> None:
        """The sums of rows[1] outputs from rows[0] on through the epilogue, columns[1] columns from columns[0] on."""
        b, k = self.b, self.kernel
        (first, outputs), (column, count), lanes = rows, columns, b.isa.lanes
        step = next(step for step in ((2, 1) if k.epilogue.is_long else (4, 2, 1)) if outputs % step == 0)
        with b.loop(0, outputs, step) as row:
            starts = [sums + (row + i) * STRIP for i in range(step)]
            values = [b.vload(start, at) for start in starts for at in range(0, count, lanes)]
            some = [first + row + i for i in range(step)]
            output.finish(values, Tile(0, count // lanes), some, column, k.blocks - 1)
