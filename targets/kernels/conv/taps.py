"""Sparse weights of a window whose taps read shared copies of image rows (see `copies`).

A tile is a few image rows of the result. For each block of input channels its copies are written to L1, and the stream
of weights adds its products to the tile's sums, which lie in scratch, slots of pixels like the copies, until the last
block takes them through the epilogue to the result. On 14 × 14 pixels a slot has 16 floats, so 14 vectors stand for
12.25; against that, a block holds 190 rows of B where im2col has room for 63, and the sums pass L2 a third as often:
3x3, 256 channels, 10 % non-zeros: 0.25 ms instead of 0.32.

Slower: all 14 rows as one tile of 14 vectors (4 %), two or three rows of weights side by side (1 to 4 %).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from sparsec.chains import Walk
from sparsec.formats import k_blocked
from sparsec.ir import Format
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.copies import Copies, Copying
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import TOGETHER, Output, Work
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile
from sparsec.targets.kernels.conv.sparse import LEAST, kind, most_vectors, parts, product_events, stream_bytes
from sparsec.targets.kernels.conv.stream import accumulate, ask_ahead, outputs_of, pack_stream, walk
from sparsec.targets.kernels.region import Body


@dataclass(frozen=True)
class Piece:
    """A vector of a tile: `at` floats into its slots; `count` pixels of it, in `lanes`, go `target` floats into it."""

    at: int
    target: int
    lanes: tuple[int, ...]


@dataclass(frozen=True)
class Strip(Tile):
    """Vectors of a tile that pass through the registers together."""

    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class TapsConv(ConvKernel):
    """`rows` image rows are a tile, `columns` floats at most pass through the registers at once."""

    rows: int
    columns: int
    height: int
    weight_element: ClassVar[str] = "i32"
    together: ClassVar[int] = 1  # non-zeros that are one step of the loop

    @property
    def copies(self) -> Copies:
        """Where the copies of a tile lie."""
        return Copies(self.shape, self.rows)

    @property
    def tiles(self) -> int:
        """Tiles of a panel."""
        return self.shape.target.rows // self.rows

    @property
    def chunks(self) -> int:
        return self.shape.panels * self.tiles * self.splits

    @property
    def walk(self) -> Walk:
        """The copies of a tile may hold rows behind those that its windows need."""
        stride = self.shape.window.strides[0]
        last = max(rows.first + (rows.count - 1) * stride for rows in self.copies.classes.values())
        walk = self.shape.walk(self.shape.target.rows, self.tiles * self.splits)
        return replace(walk, reach=last + 1 - (self.rows - 1) * stride)

    @property
    def layout(self) -> str:
        window = self.shape.window
        copies = f"{self.rows}x{self.copies.pitch}:{window}"
        kind = f"taps{self.height}" if self.together == 1 else f"taps{self.height}x{self.together}"
        return f"{kind}:g{self.shape.groups}:{self.block}:{copies}:{self.splits}"

    @property
    def scratch(self) -> int:
        sums = self.shape.outputs * self.copies.columns if self.blocks > 1 else 0
        return 4 * (self._packed + sums)

    @property
    def _packed(self) -> int:
        """Floats of the copies of a block, whole lines."""
        return -(-self.block * self.copies.channel // 16) * 16

    def pack(self, weight: np.ndarray) -> np.ndarray:
        places = self.copies.places(self.block)
        return pack_stream(weight, self.height, self.shape.groups, places, self.splits, self.together)

    def pieces(self, lanes: int) -> list[Piece]:
        """The vectors of a tile that hold pixels."""
        pitch, width = self.copies.pitch, self.shape.target.width
        found = []
        for at in range(0, self.copies.columns, lanes):
            spots = [divmod(at + lane, pitch) for lane in range(lanes)]
            held = [lane for lane, (row, column) in enumerate(spots) if row < self.rows and column < width]
            if held:
                row, column = spots[held[0]]
                found.append(Piece(at, row * width + column, tuple(held)))
        return found

    def strips(self, isa: Isa) -> list[list[Piece]]:
        """The vectors of a tile as they pass through the registers."""
        pieces = self.pieces(isa.lanes)
        count = -(-len(pieces) // most_vectors(isa, self.columns, self.height))
        return [list(part) for part in np.array_split(np.array(pieces, object), count)]

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), scratch, begin, end):
            packed = scratch.view("f32")
            copying = Copying(b, self.copies)
            if not copying.masked:
                b.memset(scratch, 0, 4 * self._packed)
            with self._panels(b, begin, end) as (unit, *parts), self._groups(b, *parts) as (group, low, high):
                panel, tile = (unit, 0) if self.tiles == 1 else (unit // self.tiles, unit % self.tiles)
                image, panel = divide(panel, self.shape.target.panels, self.shape.target.images)
                output = TapsOutput(b, self, extras, target, image, panel, group)
                output.place(packed + self._packed, tile * (self.rows * self.shape.target.width))
                with b.loop(0, self.blocks) as block:
                    channels = self._channels(b, block)
                    channel = group * self.shape.channels + block * self.block
                    rows = source + (self.shape.source.image(image) + channel * self.shape.source.stride)
                    copying.emit(rows, packed, panel * self.shape.target.rows + tile * self.rows, channels)
                    self.multiply(b, Work(packed, weights, output, group, block, 0, low, high))

    def multiply(self, b: Builder, work: Work) -> None:
        parts = self.splits if self.shape.groups == 1 else 1
        head = (work.group * self.blocks + work.block) * parts
        for strip in self.strips(b.isa):
            with b.loop(work.low, work.high) as part:
                place = b.convert(b.load(work.weights, head + part), "index")
                stream = (work.weights.view("i8") + place).view("i32")
                walk(b, stream, self.height, partial(self._row, b, work, strip))

    def _row(self, b: Builder, work: Work, strip: Sequence[Piece], row: Ref, count: Value) -> None:
        """All non-zeros of one row in a block of K."""
        assert isinstance(work.output, TapsOutput)
        outputs = outputs_of(b, row, self.height)
        sums = work.output.start(strip, outputs, work.block)
        ask_ahead(b, row, self.height, count)
        operand, offsets = work.rows.view("i8"), [piece.at for piece in strip]
        accumulate(b, row, self.height, count, operand, offsets, sums, together=self.together)
        for i, output in reversed(list(enumerate(outputs))):
            work.output.stop(sums[i * len(strip) :][: len(strip)], strip, output, work.block)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        units, strips = self.shape.panels * self.tiles, self.strips(isa)
        vectors, groups = units * sum(map(len, strips)), self.shape.groups
        return {
            **product_events(weight, self.height, groups, self.blocks, vectors, units * len(strips), 0.0),
            "copied slot": units * self.shape.source.channels * self.copies.vectors(isa.lanes),
            **self.traffic(caches, stream_bytes(weight, self.height, groups, self.blocks)),
        }


class TapsOutput(Output):
    """A panel of results, of which one tile is computed, and the tile's sums in scratch."""

    _sums: Ref
    _column: Index

    def place(self, sums: Ref, column: Index) -> None:
        """Says where the sums of the tile lie, and at which pixel of the panel it begins."""
        self._sums, self._column = sums, column

    def start(self, strip: Sequence[Piece], outputs: Sequence[Index], block: Index) -> list[Value]:
        """The sums before a block, output by output."""
        b = self.b
        sums = [b.constant(0.0, "f32", b.isa.lanes)] * (len(outputs) * len(strip))
        if self.kernel.blocks > 1:
            with b.if_(block != 0, carry=sums):
                sums[:] = [b.vload(self._sums, self._at(output, piece)) for output in outputs for piece in strip]
        return sums

    def stop(self, sums: Sequence[Value], strip: Sequence[Piece], output: Index, block: Index) -> None:
        """Stores the sums of an output after a block, through the epilogue to the result after the last one."""
        if self.kernel.blocks == 1:
            self._conclude_strip(sums, strip, output)
            return
        with self.b.if_(block == self.kernel.blocks - 1) as branch:
            self._conclude_strip(sums, strip, output)
        with branch.else_():
            for value, piece in zip(sums, strip, strict=True):
                self.b.vstore(value, self._sums, self._at(output, piece))

    def _at(self, output: Index, piece: Piece) -> Index:
        assert isinstance(self.kernel, TapsConv)
        return output * self.kernel.copies.columns + piece.at

    def _conclude_strip(self, sums: Sequence[Value], strip: Sequence[Piece], output: Index) -> None:
        """Stores results; a long epilogue goes over stored sums in a loop, over the strip's pixels without gaps."""
        column = self._column
        tile = Strip(0, len(strip), pieces=tuple(strip))
        dense = [self._dense(value, piece) for value, piece in zip(sums, strip, strict=True)]
        if not self.kernel.epilogue.is_long:
            self._store(self._epilogue(dense, tile, [output], column), tile, [output], column)
            return
        self._store(dense, tile, [output], column)
        first, lanes = strip[0].target, self.b.isa.lanes
        whole, rest = divmod(strip[-1].target + len(strip[-1].lanes) - first, lanes * TOGETHER)
        with self.b.loop(0, whole) as part:
            self.revise(Tile(0, TOGETHER), [output], column + part * (lanes * TOGETHER) + first)
        if rest:
            tile = Tile(0, -(-rest // lanes), tail=rest % lanes or None)
            self.revise(tile, [output], column + (first + whole * lanes * TOGETHER))

    def _dense(self, value: Value, piece: Piece) -> Value:
        """The pixels of a vector at its front."""
        held = piece.lanes
        if held == tuple(range(len(held))):
            return value
        return self.b.permute(value, [*held, *([0] * (self.b.isa.lanes - len(held)))])

    def _places(self, tile: Tile, row: Index, column: Index) -> Iterator[tuple[Index, int | None]]:
        if not isinstance(tile, Strip):
            yield from super()._places(tile, row, column)
            return
        for piece in tile.pieces:
            count = len(piece.lanes) if len(piece.lanes) < self.b.isa.lanes else None
            yield column + (row * self.kernel.shape.target.stride + piece.target), count


@dataclass(frozen=True)
class TapsRow(Row):
    """Compressed rows of weights on tiles of `columns` floats; `depth` kilobytes of copies are in a block of K."""

    columns: int
    height: int = 1

    sparse: ClassVar[bool] = True
    least: ClassVar[int] = LEAST
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (16, 24, 32, 36, 40), "columns": (64, 128, 224)}

    @property
    def name(self) -> str:
        return f"conv_f32_{kind(self.height)}_n{self.columns}l{self.depth}"

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> TapsConv:
        block, splits, rows = self.block(shape), self.splits(shape), self.rows(shape)
        return TapsConv(self.name, shape, extras, epilogue, block, splits, rows, self.columns, self.height)

    def fits(self, shape: ConvShape) -> bool:
        """Whether taps share rows at all."""
        return shape.window.kernel[0] > 1 and (self.rows(shape) > 1 or Copies(shape, 1).shared)

    def suits(self, isa: Isa) -> bool:
        return self.height > 1 or not isa.lane_operands

    def rows(self, shape: ConvShape) -> int:
        """Rows of a tile: a part of a panel's."""
        rows = shape.target.rows
        most = max(1, self.columns // Copies(shape, rows).pitch)
        return max(part for part in range(1, rows + 1) if rows % part == 0 and part <= most)

    def block(self, shape: ConvShape) -> int:
        most = max(1, self.depth * 1024 // (4 * Copies(shape, self.rows(shape)).channel))
        return -(-shape.channels // -(-shape.channels // most))

    def splits(self, shape: ConvShape) -> int:
        return parts(shape, shape.panels * (shape.target.rows // self.rows(shape)))

    def format(self, shape: ConvShape) -> Format:
        return k_blocked(self.block(shape) * shape.taps, self.height)
