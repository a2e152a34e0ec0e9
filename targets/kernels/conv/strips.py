"""Products of bf16 on panels as they lie (1×1): a block of K of 32 outputs stays in L1 while all columns pass by.

The panel is copied once to pairs in strips of 32 columns, tile by tile in the order of reading. A block of K of 4 steps
is 8 KB of weights and as much of a strip, so tiles of both sides come from L1, and sums pass through 4 KB of scratch
between blocks: on a Xeon 2250 GFLOP/s, instead of 1000 to 1700 where both come from the L2. What is left is the way of
the weights from beyond the L2, 10 to 15 GB/s where a core multiplies besides: sparse weights lie there as masks and
stored pairs (`expanded`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.bf16 import OUTPUTS, STRIP, TILE, register_tile
from sparsec.targets.kernels.conv.grid import STEP, Grid, Padding
from sparsec.targets.kernels.conv.kernel import dealt
from sparsec.targets.kernels.conv.paired import PairedConv, Part
from sparsec.targets.kernels.conv.shape import Tile
from sparsec.targets.kernels.pairs import dot

DEPTH = 2 * STEP  # channels of a step
CELL = STEP * amx.PIXELS  # pairs of a tile of the copy


@dataclass(frozen=True)
class StripGrid(Grid):
    """The copy of a panel as [strips of 32 columns][steps of K][2 tiles][16 pairs][16 columns]."""

    @property
    def borrowed(self) -> bool:
        return False

    @property
    def columns(self) -> int:
        return self.shape.target.stride

    @property
    def strips(self) -> int:
        """Strips of a panel; the last one may have one tile."""
        return -(-self.columns // STRIP)

    @property
    def size(self) -> int:
        return self.strips * self.groups * 2 * CELL


@dataclass(frozen=True)
class Strips(Padding):
    """Writes the strips of a panel."""

    def clear(self, copy: Ref) -> None:
        """Nothing: all that is read is written."""

    def emit(self, source: Ref, copy: Ref, panel: Index) -> Ref:
        """Rounds the panel to pairs, or moves its pairs."""
        b, grid = self.b, self.grid
        assert isinstance(grid, StripGrid)
        source = source + panel * grid.shape.source.panel_size
        with b.loop(0, grid.groups) as step, b.loop(0, STEP) as row:
            sides = self._sides(source, step * STEP + row)
            target = copy + (step * (2 * CELL) + row * amx.PIXELS)
            whole, rest = divmod(grid.columns, STRIP)
            with b.loop(0, whole) as strip:
                self._cells(sides, target + strip * (grid.groups * 2 * CELL), strip * STRIP, STRIP)
            if rest:
                self._cells(sides, target + whole * (grid.groups * 2 * CELL), whole * STRIP, rest)
        return copy

    def _cells(self, sides: tuple[Ref | None, Ref | None], target: Ref, first: Index, columns: int) -> None:
        """A row of the tiles of one strip."""
        b, (low, high) = self.b, sides
        assert low is not None
        for at in range(0, columns, b.isa.lanes):
            cell, lane = divmod(at, amx.PIXELS)
            value = b.vload(low, first + at)
            joined = self._joined(value, None if high is None else b.vload(high, first + at))
            b.vstore(joined, target, cell * CELL + lane)


@dataclass
class Aside:
    """Other work between the tiles' products: a turn for each step of each of the first `strips`."""

    strips: int
    carried: list[Value]
    turn: Callable[[Index], None]


@dataclass(frozen=True)
class StripConv(PairedConv):
    """A 1×1 convolution over strips; how weights lie and come to L1 is what its kinds differ in."""

    @property
    def grid(self) -> StripGrid:
        return StripGrid(self.shape)

    @property
    def steps(self) -> int:
        """Steps along K in a block; the last block may have fewer."""
        return self.block // DEPTH

    @property
    @abstractmethod
    def expanded(self) -> int:
        """Pairs of scratch for a block of weights."""

    @property
    def scratch(self) -> int:
        return super().scratch + 4 * (self.grid.strips * OUTPUTS * STRIP + self.expanded)

    def padding(self, b: Builder) -> Strips:
        return Strips(b, self.grid)

    def prepared(self, b: Builder, scratch: Ref) -> AbstractContextManager[None]:
        return amx.within(b, scratch)

    @abstractmethod
    def begin(self, b: Builder, part: Part, block: Index) -> Value:
        """Where the weights of a block of outputs begin."""

    @abstractmethod
    def weights_of(self, b: Builder, part: Part, place: Value, depth: Index) -> tuple[Ref, Value]:
        """The next `depth` steps of weights, from `place` on, as tiles; and where those after them begin."""

    def blocks_of(self, b: Builder, part: Part) -> tuple[Index, Index]:
        """The range of the blocks of outputs in the parts [part.low, part.high)."""
        total = self.shape.outputs // OUTPUTS
        return dealt(part.low, total, self.splits), dealt(part.high, total, self.splits)

    def compute(self, b: Builder, part: Part) -> None:
        with b.loop(*self.blocks_of(b, part)) as outputs:
            place = [self.begin(b, part, outputs)]
            with b.loop(0, self.blocks, carry=place) as block:
                depth = self._channels(b, block) // DEPTH
                weights, place[0] = self.weights_of(b, part, place[0], depth)
                self._all_strips(b, part, weights, block, depth)
            self._finish(b, part, outputs)

    def _all_strips(
        self, b: Builder, part: Part, weights: Ref, block: Index, depth: Index, aside: Aside | None = None
    ) -> None:
        """Adds the products of a block of K to the sums of all columns; `aside` has its turns in the first strips."""
        whole, rest = divmod(self.grid.columns, STRIP)
        first = aside.strips if aside else 0
        if aside:
            with b.loop(0, first, carry=aside.carried) as strip:
                self._strip(b, part, weights, (strip, block, depth), STRIP, aside)
        with b.loop(first, whole) as strip:
            self._strip(b, part, weights, (strip, block, depth), STRIP)
        if rest:
            self._strip(b, part, weights, (whole, block, depth), rest)

    def _strip(
        self,
        b: Builder,
        part: Part,
        weights: Ref,
        place: tuple[Index, Index, Index],
        columns: int,
        aside: Aside | None = None,
    ) -> None:
        strip, block, depth = place
        sums = part.sums + strip * (OUTPUTS * STRIP)
        copy = part.copy + (strip * (self.grid.groups * 2 * CELL) + block * (self.steps * 2 * CELL))
        if b.isa.tiles:
            self._with_tiles(b, (weights, copy, sums), place, columns // amx.PIXELS, aside)
        else:
            self._with_vectors(b, (weights, copy, sums), (block, depth), columns)

    def _with_tiles(
        self,
        b: Builder,
        operands: tuple[Ref, Ref, Ref],
        place: tuple[Index, Index, Index],
        width: int,
        aside: Aside | None,
    ) -> None:
        """AMX: 2 × `width` tiles of sums, loaded from scratch but for the first block."""
        tiles, (weights, copy, sums), (strip, block, depth) = amx.Tiles(b), operands, place
        cells = [(row, at) for row in range(2) for at in range(width)]
        places = [sums + (row * amx.ROWS * STRIP + at * amx.PIXELS) for row, at in cells]
        with b.if_(block == 0) as branch:
            for row, at in cells:
                tiles.zero(2 * row + at)
        if self.blocks > 1:
            with branch.else_():
                for (row, at), place_ in zip(cells, places, strict=True):
                    tiles.load(2 * row + at, place_, 4 * STRIP)
        with b.loop(0, depth, carry=aside.carried if aside else None) as step:
            left, right = weights + step * (2 * TILE), copy + step * (2 * CELL)
            for row in range(2):
                tiles.load(4 + row, left + row * TILE, amx.ROW_BYTES)
            for at in range(width):
                tiles.load(6 + at, right + at * CELL, amx.ROW_BYTES)
            for row, at in cells:
                tiles.multiply(2 * row + at, 4 + row, 6 + at)
            if aside:
                aside.turn(strip * self.steps + step)
        for (row, at), place_ in zip(cells, places, strict=True):
            tiles.store(2 * row + at, place_, 4 * STRIP)

    def _with_vectors(
        self, b: Builder, operands: tuple[Ref, Ref, Ref], place: tuple[Index, Index], columns: int
    ) -> None:
        """Without AMX: register tiles of a few rows and vectors."""
        (weights, copy, sums), (block, depth), lanes = operands, place, b.isa.lanes
        rows, most = register_tile(b.isa)
        starts = range(0, columns, lanes)
        with b.loop(0, OUTPUTS, rows) as row:
            for first in range(0, len(starts), most):
                some = starts[first : first + most]
                places = [(sums + (row + i) * STRIP, at) for i in range(rows) for at in some]
                values = [b.constant(0.0, "f32", lanes)] * len(places)
                with b.if_(block != 0, carry=values):
                    values[:] = [b.vload(ref, at) for ref, at in places]
                with b.loop(0, depth, carry=values) as step, b.loop(0, STEP, carry=values) as pair:
                    left = weights + (step * (2 * TILE) + row * STEP)
                    right = copy + (step * (2 * CELL) + pair * amx.PIXELS)
                    vectors = [b.vload(right, at // amx.PIXELS * CELL + at % amx.PIXELS) for at in some]
                    for i in range(rows):
                        weight = b.broadcast(b.load(left, pair + i * STEP))
                        for v, vector in enumerate(vectors):
                            index = i * len(some) + v
                            values[index] = dot(b, weight, vector, values[index])
                for value, (ref, at) in zip(values, places, strict=True):
                    b.vstore(value, ref, at)

    def _finish(self, b: Builder, part: Part, outputs: Index) -> None:
        """All columns of a block of outputs through the epilogue."""
        whole, rest = divmod(self.grid.columns, STRIP)
        with b.loop(0, whole) as strip:
            self._finish_strip(b, part, outputs, strip, STRIP)
        if rest:
            self._finish_strip(b, part, outputs, whole, rest)

    def _finish_strip(self, b: Builder, part: Part, outputs: Index, strip: Index, columns: int) -> None:
        lanes = b.isa.lanes
        step = 2 if self.epilogue.is_long and not part.output.revised else 4
        with b.loop(0, OUTPUTS, step) as row:
            rows = [row + outputs * OUTPUTS + i for i in range(step)]
            starts = [part.sums + (strip * (OUTPUTS * STRIP) + (row + i) * STRIP) for i in range(step)]
            values = [b.vload(start, at) for start in starts for at in range(0, columns, lanes)]
            part.output.finish(values, Tile(0, columns // lanes), rows, strip * STRIP, self.blocks - 1)

    def events_of(self, isa: Isa, caches: Caches, stream: float) -> dict[str, float]:
        """What all kinds do: products, sums between blocks, and `stream` bytes of weights."""
        shape, grid, panels = self.shape, self.grid, self.shape.panels
        traffic = self.traffic(caches, stream)
        functions = traffic.pop("epilogue function")
        tiles = panels * -(-shape.outputs // amx.ROWS) * (grid.columns // amx.PIXELS)
        return {
            "strip product": tiles * grid.groups,
            "strip sum": tiles * self.blocks,
            "bf16 sum": panels * shape.outputs * -(-shape.target.stride // isa.lanes),
            **self.copy_events(isa),
            **{f"bf16 {name}": count for name, count in traffic.items()},
            **({"epilogue function": functions} if functions else {}),
        }
