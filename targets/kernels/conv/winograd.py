"""3x3 convolutions of stride 1 by Winograd's F(4, 3), along the height only or along both axes.

A chunk of tiles goes through three steps: inputs to points (V), for each point a matrix product with transformed
weights (M = U · V, by register tiles as in dense matrix products), sums at points to results. Along the height a point
costs no shuffles, as pixels are innermost: 6 · 3 multiplications for 4 results instead of 36. Along both axes lanes
stand for tiles of 4 × 4 results: 36 multiplications for 16 results instead of 144.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.dense import OUTPUTS, blocks_of_parts, pack_rows
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import TOGETHER, Output
from sparsec.targets.kernels.conv.row import CHUNKS, Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, tiles
from sparsec.targets.kernels.conv.winograd_chunk import Chunk, Scratch
from sparsec.targets.kernels.conv.winograd_formulas import POINTS, SIDE, TAPS, filter_matrix
from sparsec.targets.kernels.conv.winograd_products import Products
from sparsec.targets.kernels.conv.winograd_tiling import Tiling
from sparsec.targets.kernels.region import Body

HEAD = 2 * LINE  # floats before the weights, of which G takes 18
TILE = POINTS * POINTS * LINE  # floats of the tiles of a vector at all points


@dataclass(frozen=True)
class Operands:
    """What the kernel is given, and which image it works on; `source` is that image."""

    image: Index
    source: Ref
    weights: Ref
    extras: Sequence[Ref]
    target: Ref


@dataclass(frozen=True)
class WinogradConv(ConvKernel):
    """Weights packed as G, then [M / 12][blocks of K][taps][M of 12 / 6][K of the block][6].

    Where 12 or 6 does not divide M, the last are fewer. Taps are those that are transformed: the rows of the window
    alone where K counts its columns. Weights are transformed in each run: as they are they take a quarter of the bytes,
    which come from the L3 at 10 to 20 GB/s (256 channels on 14 × 14 pixels: 1.00 ms with weights stored at the points,
    0.73 ms so; in blocks of 64 channels, which leave L1, 0.91 ms).
    """

    across: bool

    weight_element: ClassVar[str] = "f32"

    @cached_property
    def tiling(self) -> Tiling:
        """The chunks of an image."""
        found = Tiling.of(self.shape, self.across, self.block)
        assert found is not None, "WinogradRow.fits"
        return found

    @property
    def blocks(self) -> int:
        return 1

    @property
    def layout(self) -> str:
        tiling = self.tiling
        return f"winograd:{tiling.points}:{tiling.group}:{tiling.block}"

    @property
    def chunks(self) -> int:
        return self.shape.target.images * self.tiling.chunks * self.splits

    @property
    def walk(self) -> Walk:
        return self.shape.walk(self.tiling.step * SIDE, self.splits)

    @property
    def singly(self) -> bool:
        return False

    @property
    def scratch(self) -> int:
        tiling = self.tiling
        return 4 * (tiling.padded_size + TILE + tiling.v_size + tiling.u_size + tiling.m_size)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_winograd(weight, self.tiling)

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        shape, tiling = self.shape, self.tiling
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), memory, begin, end):
            scratch = self._scratch(memory.view("f32"))
            b.memset(scratch.padded, 0, 4 * tiling.padded_size)
            with self._panels(b, begin, end) as (place, low, high):
                image, index = divide(place, tiling.chunks, shape.target.images)
                operands = Operands(image, source + shape.source.image(image), weights, extras, target)
                self._chunk(Chunk(b, tiling, scratch, index, tiling.step, tiling.chunks == 1), operands, (low, high))

    def _chunk(self, chunk: Chunk, operands: Operands, parts: tuple[Index, Index]) -> None:
        b, tiling = chunk.b, self.tiling
        if tiling.even:
            self._run(chunk, operands, parts)
            return
        with b.if_(b.as_index(chunk.index) < tiling.chunks - 1) as branch:
            self._run(chunk, operands, parts)
        with branch.else_():
            self._run(replace(chunk, rows=tiling.last, last=True), operands, parts)

    def _run(self, chunk: Chunk, operands: Operands, parts: tuple[Index, Index]) -> None:
        chunk.read(operands.source)
        self._outputs(chunk, operands, parts)

    def _scratch(self, memory: Ref) -> Scratch:
        tile = memory + self.tiling.padded_size
        v = tile + TILE
        u = v + self.tiling.v_size
        return Scratch(memory, tile, v, u, u + self.tiling.u_size)

    def _outputs(self, chunk: Chunk, operands: Operands, parts: tuple[Index, Index]) -> None:
        """The results of the parts [low, high) of the outputs, a group after the other."""
        b, group = chunk.b, self.tiling.group
        full, rest = divmod(self.shape.outputs, group)
        low, high, has_rest = blocks_of_parts(b, parts, self.splits, full, rest)
        with b.loop(low, high) as index:
            self._group(chunk, operands, index, group)
        if rest:
            with b.if_(has_rest):
                self._group(chunk, operands, full, rest)

    def _group(self, chunk: Chunk, operands: Operands, index: Index, outputs: int) -> None:
        b, tiling, planes = chunk.b, self.tiling, self.shape.target
        first = index * tiling.group
        taps = index * (tiling.blocks * tiling.taps * tiling.weights(tiling.group)) + HEAD
        Products(b, chunk, operands.weights, operands.weights + taps, outputs).emit()
        place = operands.target + planes.image(operands.image) + chunk.panel * planes.panel_size
        with b.loop(0, outputs) as row:
            chunk.write(chunk.scratch.m + row * chunk.columns, place + (first + row) * planes.stride)
        if self.epilogue.is_identity:
            return
        with b.loop(0, chunk.panels) as more, b.loop(0, outputs) as row:
            output = Output(b, self, operands.extras, operands.target, operands.image, more + chunk.panel, 0)
            for tile in tiles(planes.stride, b.isa.lanes, TOGETHER):
                with b.loop(0, tile.repeats) as repeat:
                    column = repeat * (tile.vectors * b.isa.lanes) + tile.start
                    output.revise(tile, [row + first], column)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        tiling, shape = self.tiling, self.shape
        chunks = shape.target.images * tiling.chunks
        vectors = shape.target.images * tiling.all_columns // isa.lanes
        return {
            "winograd fma": tiling.points * tiling.depth * shape.outputs * vectors,
            f"winograd {'square' if self.across else 'column'}": tiling.points * tiling.depth * vectors,
            "winograd weight": tiling.points * tiling.depth * shape.outputs * chunks / isa.lanes,
            "winograd output": tiling.points * tiling.blocks * shape.outputs * vectors,
            **self.traffic(caches, weight.nbytes, chunks),
        }


@dataclass(frozen=True)
class WinogradRow(Row):
    """Dense weights of 3x3 convolutions with stride 1, transformed along the height or along both axes.

    `depth` counts input channels, which keep the weights of a block in L1.
    """

    across: bool

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = 2 * OUTPUTS
    space: ClassVar[Mapping[str, tuple[int, ...]]] = {"depth": (16, 24, 32, 48, 64, 96)}

    @property
    def name(self) -> str:
        return f"conv_f32_winograd{'4x4' if self.across else '4x1'}_k{self.depth}"

    def fits(self, shape: ConvShape) -> bool:
        window = shape.window
        plain = window.strides == window.dilations == (1, 1) and window.kernel == (TAPS, TAPS)
        return plain and shape.groups == 1 and Tiling.of(shape, self.across, self.depth) is not None

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> WinogradConv:
        tiling = Tiling.of(shape, self.across, self.depth)
        assert tiling is not None, "fits"
        chunks = max(1, shape.target.images * tiling.chunks)
        splits = max(1, min(-(-CHUNKS // chunks), -(-shape.outputs // tiling.group)))
        return WinogradConv(self.name, shape, extras, epilogue, self.depth, splits, self.across)


def pack_winograd(weight: np.ndarray, tiling: Tiling) -> np.ndarray:
    """[M, C, 3, 3] in the order in which `WinogradConv` reads it."""
    outputs, channels = weight.shape[:2]
    taps = weight.transpose(2, 3, 0, 1).reshape(TAPS**2, outputs, channels)
    if not tiling.across:
        taps = weight.transpose(2, 0, 1, 3).reshape(TAPS, outputs, channels * TAPS)
    pieces = [np.pad(filter_matrix().ravel(), (0, HEAD - POINTS * TAPS))]
    for first in range(0, outputs, tiling.group):
        group = taps[:, first : first + tiling.group]
        for start in range(0, tiling.depth, tiling.block):
            pieces += [_lines(pack_rows(tap)) for tap in group[:, :, start : start + tiling.block]]
    return np.concatenate(pieces, dtype=np.float32)


def _lines(values: np.ndarray) -> np.ndarray:
    return np.pad(values, (0, -len(values) % LINE))
