"""The code of `split` on ISAs without tiles: multiply-adds of f32."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.shape import Tile, tiles
from sparsec.targets.kernels.conv.split_sizes import CELL, DEPTH, OUTPUTS, PAIRS, RAW, STEP, SplitSizes, Unit
from sparsec.targets.kernels.pairs import PIECES, joined


@dataclass(frozen=True)
class OnVectors:
    """Writes the results of a unit."""

    b: Builder
    kernel: SplitSizes
    work: Unit

    def emit(self) -> None:
        """Without AMX: register tiles of a few outputs and vectors, over all of K."""
        b, k, work = self.b, self.kernel, self.work
        full, rest = divmod(k.shape.outputs, OUTPUTS)
        with b.loop(0, k.together) as panel:
            output = work.output(work.panel + panel)
            rows = k.rows(b, work, panel)
            with b.loop(work.low, work.high) as block:
                weights = self._joined(block)
                if not full or not rest:
                    self._register_tiles(output, rows, weights, block * OUTPUTS, rest or OUTPUTS)
                else:
                    with b.if_(block < full) as branch:
                        self._register_tiles(output, rows, weights, block * OUTPUTS, OUTPUTS)
                    with branch.else_():
                        self._register_tiles(output, rows, weights, block * OUTPUTS, rest)

    def _joined(self, outputs: Index) -> Ref:
        """Where the weights of 32 outputs begin; those of pieces are joined in scratch."""
        b, k, work = self.b, self.kernel, self.work
        if not k.stored:
            return work.weights + outputs * (k.steps * RAW)
        lanes, target = b.isa.lanes, work.near.view("f32")
        source = (work.weights + outputs * (k.steps * STEP)).view("i32")
        with b.loop(0, k.steps) as step, b.loop(0, OUTPUTS) as row, b.loop(0, PAIRS, lanes) as at:
            place = source + (step * STEP + row * PAIRS)
            sides = joined(b, [b.vload(place, at + number * (2 * CELL)) for number in range(PIECES)])
            for side, value in enumerate(sides):
                b.vstore(value, target, (step * OUTPUTS + row) * DEPTH + side * PAIRS + at)
        return target

    def _register_tiles(self, output: Output, rows: Ref, weights: Ref, first: Index, outputs: int) -> None:
        b, k = self.b, self.kernel
        lanes, (height, most) = b.isa.lanes, {32: (8, 3), 16: (4, 2)}.get(b.isa.registers, (4, 1))
        for tile in tiles(k.shape.columns(b.isa), lanes, most):
            with b.loop(0, tile.repeats) as repeat:
                column = repeat * (tile.vectors * lanes) + tile.start

                def compute(row: Index, count: int, tile: Tile = tile, column: Index = column) -> None:
                    sums = self._sums(rows + column, weights + row * DEPTH, count, tile.vectors)
                    some = [first + row + i for i in range(count)]
                    output.finish(sums, tile, some, column, k.blocks - 1)

                with b.loop(0, outputs // height * height, height) as row:
                    compute(row, height)
                if outputs % height:
                    compute(outputs // height * height, outputs % height)

    def _sums(self, rows: Ref, weights: Ref, count: int, vectors: int) -> list[Value]:
        """`count` outputs in a few vectors of columns. Rows of channels that there are not are not read."""
        b, k = self.b, self.kernel
        sums = [b.constant(0.0, "f32", b.isa.lanes)] * (count * vectors)
        full, rest = divmod(k.shape.depth, DEPTH)
        apart = k.tall * k.steps * RAW  # from one block of K to the next

        def row(number: Index, step: Ref, place: Index) -> None:
            """Adds the products of a row of B; `place` is where its weights lie in the rows of their step."""
            columns = [b.vload(rows, number * k.shape.stride + v * b.isa.lanes) for v in range(vectors)]
            for i in range(count):
                weight = b.broadcast(b.load(step, place + i * DEPTH))
                for v, x in enumerate(columns):
                    sums[i * vectors + v] = b.fma(weight, x, sums[i * vectors + v])

        for block in range(k.blocks):
            begin = block * k.steps
            whole = max(0, min(k.steps, full - begin))
            with b.loop(0, whole, carry=sums) as step, b.loop(0, PAIRS, carry=sums) as pair:
                for side in (0, 1):
                    start = weights + (step * RAW + block * apart)
                    row((step + begin) * DEPTH + pair * 2 + side, start, pair + side * PAIRS)
        last = weights + (full // k.steps * apart + full % k.steps * RAW)
        for place in range(rest):
            row(full * DEPTH + place, last, place // 2 + place % 2 * PAIRS)
        return sums
