"""Convolutions with windows of 7 rows and stride 2, by Winograd's formulas along the height.

Even image rows meet four rows of the window and odd ones three, at stride 1: F(4, 4) at the points of F(4, 3) and one
more. As both share points and so the way from points to results, their products add up: 13 multiplications for 4
results instead of 28. A chunk of 4 rows goes through three steps: inputs to points (V), for each point a matrix product
with transformed weights (M = U · V, by register tiles as in dense matrix products), sums at points to results.

ResNet-50's first layer takes 0.85 ms instead of 1.43, on AVX2 1.34 instead of 2.41. Slower: sums at all points of a few
outputs in registers (0.89 ms and 2.42, as each multiply-add reads a weight), groups of 12 or 24 outputs (0.87, 0.90), V
at the next point asked for (0.92).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.dense import OUTPUTS
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, Tile, tiles
from sparsec.targets.kernels.conv.winograd_formulas import (
    SIDE,
    strided_filter_matrix,
    strided_from_points,
    strided_to_points,
)
from sparsec.targets.kernels.region import Body

WINDOW, STRIDE = 7, 2  # rows of the window, and their stride
ROWS = STRIDE * (SIDE - 1) + WINDOW  # image rows under a tile
PRODUCTS = 13  # points of even rows and of odd ones
POINTS_BYTES = 256 * 1024  # that the inputs of a chunk at all points take of the L2, at most


@dataclass(frozen=True)
class StridedWinogradConv(ConvKernel):
    """Weights packed at the points: [M / 6][7][K of the point][6], zeros for outputs that do not exist.

    K of a point counts even rows before odd ones, which the last point has none of; in each, channels and columns.

    A chunk is 4 rows of results. Their image rows are copied to scratch, even columns and odd ones apart.
    """

    weight_element: ClassVar[str] = "f32"

    @property
    def layout(self) -> str:
        return "winograd_strided"

    @property
    def tiles(self) -> int:
        """Chunks of an image."""
        return -(-self.shape.target.height // SIDE)

    @property
    def chunks(self) -> int:
        return self.shape.target.images * self.tiles

    @property
    def walk(self) -> Walk:
        return self.shape.walk(SIDE, 1)

    @property
    def depth(self) -> int:
        """Columns of windows over all channels."""
        return self.shape.channels * self.shape.window.kernel[1]

    @property
    def margin(self) -> int:
        """Floats before a copied row, of which some are zeros on the image's left."""
        return LINE

    @property
    def row_size(self) -> int:
        """Floats of a copied row's even or odd columns, with the zeros around them and what vectors read beyond."""
        right = max(0, self.shape.window.kernel[1] - 1 - self.shape.window.pads[1])
        columns = max(-(-self.shape.target.width // LINE) * LINE + right, -(-self.shape.source.width // STRIDE))
        return self.margin + -(-columns // LINE) * LINE

    @property
    def copied(self) -> int:
        """Floats of all copied rows."""
        return self.shape.channels * ROWS * STRIDE * self.row_size

    @property
    def columns(self) -> int:
        """Floats in a row of V."""
        return -(-self.shape.target.width // LINE) * LINE

    @property
    def v_point(self) -> int:
        """Floats from one point of V to the next; a line more than needed, else points share sets of the L1."""
        return 2 * self.depth * self.columns + LINE

    @property
    def m_point(self) -> int:
        """Floats from one point of the sums of a group of outputs to the next."""
        return OUTPUTS * self.columns + LINE

    @property
    def scratch(self) -> int:
        return 4 * (self.copied + WINDOW * (self.v_point + self.m_point))

    def pack(self, weight: np.ndarray) -> np.ndarray:
        groups = -(-len(weight) // OUTPUTS)
        at_points = np.einsum("pk,mckw->mpcw", strided_filter_matrix(), weight.astype(np.float64))
        rows = np.zeros((groups * OUTPUTS, PRODUCTS, self.depth), np.float32)
        rows[: len(weight)] = at_points.reshape(len(weight), PRODUCTS, self.depth)
        rows = rows.reshape(groups, OUTPUTS, PRODUCTS, self.depth)
        points = [rows[:, :, point::WINDOW].reshape(groups, OUTPUTS, -1) for point in range(WINDOW)]
        return np.concatenate([point.transpose(0, 2, 1).reshape(groups, -1) for point in points], axis=1)

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        shape = self.shape
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), memory, begin, end):
            copies = memory.view("f32")
            b.memset(copies, 0, 4 * self.copied)
            with b.loop(begin, end) as chunk:
                image, index = divide(chunk, self.tiles, shape.target.images)
                self._copy(b, source + shape.source.image(image), copies, index)
                results = [self._result(b, extras, target, image, index, row) for row in range(SIDE)]
                _Chunk(self, b, copies, weights, results).emit()

    def _copy(self, b: Builder, source: Ref, copies: Ref, index: Index) -> None:
        """The image rows under a row of tiles."""
        planes, top = self.shape.source, self.shape.window.pads[0]
        with b.loop(0, ROWS) as row:
            base = b.as_index(row + index * (STRIDE * SIDE))
            copy = copies + row * (STRIDE * self.row_size)
            with b.if_((base >= top) & (base < top + planes.height)) as branch:
                self._copy_channels(b, source + planes.row(base, 1, -top), copy)
            with branch.else_():
                self._copy_channels(b, None, copy)

    def _copy_channels(self, b: Builder, source: Ref | None, copy: Ref) -> None:
        with b.loop(0, self.shape.channels) as channel:
            row = None if source is None else source + channel * self.shape.source.stride
            for phase in range(STRIDE):
                place = copy + (phase * self.row_size + self.margin) + channel * (ROWS * STRIDE * self.row_size)
                self._every_second(b, row, place, phase)

    def _every_second(self, b: Builder, source: Ref | None, copy: Ref, phase: int) -> None:
        """The even or odd columns of a row, in vectors of which the last overlaps."""
        count, lanes = -(-(self.shape.source.width - phase) // STRIDE), b.isa.lanes
        while lanes > max(count, 1):
            lanes //= 2
        for at in range(0, count, lanes):
            at = min(at, count - lanes)
            zero = b.constant(0.0, "f32", lanes)
            value = zero if source is None else b.vload_strided(source, at * STRIDE + phase, STRIDE, lanes=lanes)
            b.vstore(value, copy, at)

    def _result(self, b: Builder, extras: Sequence[Ref], target: Ref, image: Index, index: Index, row: int) -> _Result:
        planes = self.shape.target
        place = index * SIDE + row
        panel = 0 if planes.panels == 1 else place // planes.rows
        within = place if planes.panels == 1 else place % planes.rows
        exists = None if planes.height % SIDE == 0 else b.as_index(place) < planes.height
        return _Result(Output(b, self, extras, target, image, panel, 0), within * planes.width, exists)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        vectors = self.chunks * self.columns // isa.lanes
        outputs = -(-self.shape.outputs // OUTPUTS) * OUTPUTS
        return {
            "strided fma": vectors * outputs * self.depth * PRODUCTS,
            "strided sum": vectors * outputs * WINDOW,
            "strided point": vectors * self.depth * PRODUCTS,
            **self.traffic(caches, weight.nbytes * PRODUCTS / WINDOW, self.chunks),
        }


@dataclass(frozen=True)
class _Result:
    """A row of results: where it begins in its panel, and whether it exists (None: always)."""

    output: Output
    place: Index
    exists: Value | None


@dataclass(frozen=True)
class _Chunk:
    """Writes the code for 4 rows of results."""

    kernel: StridedWinogradConv
    b: Builder
    copies: Ref
    weights: Ref
    results: Sequence[_Result]

    @property
    def v(self) -> Ref:
        """The inputs at the points: [7][even and odd rows][C][window's columns][columns]."""
        return self.copies + self.kernel.copied

    @property
    def m(self) -> Ref:
        """The sums of a group of outputs at the points: [7][6][columns]."""
        return self.v + WINDOW * self.kernel.v_point

    def emit(self) -> None:
        """All three steps."""
        b, kernel = self.b, self.kernel
        with b.loop(0, kernel.columns, b.isa.lanes) as column:
            self._to_points(column)
        full, rest = divmod(kernel.shape.outputs, OUTPUTS)
        size = OUTPUTS * PRODUCTS * kernel.depth
        with b.loop(0, full) as index:
            self._group(self.weights + index * size, index * OUTPUTS, OUTPUTS)
        if rest:
            self._group(self.weights + full * size, full * OUTPUTS, rest)

    def _to_points(self, column: Index) -> None:
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        columns = kernel.shape.window.kernel[1]
        with b.loop(0, kernel.shape.channels) as channel:
            copy = self.copies + channel * (ROWS * STRIDE * kernel.row_size) + column
            for tap in range(columns):
                shift, phase = divmod(tap - kernel.shape.window.pads[1], STRIDE)
                first = phase * kernel.row_size + kernel.margin + shift
                x = [b.vload(copy, first + row * (STRIDE * kernel.row_size)) for row in range(ROWS)]
                place = self.v + channel * (columns * kernel.columns) + (tap * kernel.columns + column)
                for i, value in enumerate(strided_to_points(b, x)):
                    odd, point = divmod(i, WINDOW)
                    at = point * kernel.v_point + odd * kernel.depth * kernel.columns
                    b.vstore(value, place, at, align=4 * lanes)

    def _group(self, weights: Ref, first: Index, outputs: int) -> None:
        """The results of a group of outputs."""
        b, depth = self.b, self.kernel.depth
        with b.loop(0, WINDOW - 1) as point:
            self._products(weights + point * (2 * depth * OUTPUTS), point, 2 * depth, outputs)
        self._products(weights + (WINDOW - 1) * (2 * depth * OUTPUTS), WINDOW - 1, depth, outputs)
        whole = self.kernel.shape.target.width // b.isa.lanes * b.isa.lanes
        with b.loop(0, outputs) as row:
            with b.loop(0, whole, b.isa.lanes) as column:
                self._from_points(row, first + row, column, None)
            if rest := self.kernel.shape.target.width - whole:
                self._from_points(row, first + row, whole, rest)

    def _products(self, weights: Ref, point: Index, depth: int, outputs: int) -> None:
        """The sums of a group at one point."""
        b, lanes = self.b, self.b.isa.lanes
        rows, most = register_tile(b.isa)
        v, m = self.v + point * self.kernel.v_point, self.m + point * self.kernel.m_point
        for tile in tiles(self.kernel.columns, lanes, most):
            with b.loop(0, tile.repeats) as repeat:
                column = repeat * (tile.vectors * lanes) + tile.start
                for row in range(0, outputs, rows):
                    place = m + (row * self.kernel.columns + column)
                    self._tile(weights + row, v + column, place, tile, depth, rows)

    def _tile(self, weights: Ref, v: Ref, m: Ref, tile: Tile, depth: int, rows: int) -> None:
        b, columns, lanes = self.b, self.kernel.columns, self.b.isa.lanes
        sums = [b.constant(0.0, "f32", lanes)] * (rows * tile.vectors)
        with b.loop(0, depth, carry=sums) as k:
            vectors = [b.vload(v, k * columns + i * lanes, align=4 * lanes) for i in range(tile.vectors)]
            for row in range(rows):
                weight = b.broadcast(b.load(weights, k * OUTPUTS + row))
                for i, vector in enumerate(vectors, row * tile.vectors):
                    sums[i] = b.fma(weight, vector, sums[i])
        for i, total in enumerate(sums):
            row, vector = divmod(i, tile.vectors)
            b.vstore(total, m, row * columns + vector * lanes, align=4 * lanes)

    def _from_points(self, row: Index, output: Index, column: Index, count: int | None) -> None:
        b, lanes = self.b, self.b.isa.lanes
        place = self.m + row * self.kernel.columns + column
        m = [b.vload(place, point * self.kernel.m_point, align=4 * lanes) for point in range(WINDOW)]
        for result, value in zip(self.results, strided_from_points(b, m), strict=True):
            with b.if_(True if result.exists is None else result.exists):
                result.output.finish([value], Tile(0, 1, tail=count), [output], result.place + column, 0)


@dataclass(frozen=True)
class StridedWinogradRow(Row):
    """Dense weights of windows of 7 rows with stride 2, over few channels. It has no blocks of K."""

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = OUTPUTS

    @property
    def name(self) -> str:
        return "conv_f32_winograd4x1s2"

    def fits(self, shape: ConvShape) -> bool:
        window = shape.window
        strided = window.strides == (STRIDE, STRIDE) and window.dilations == (1, 1) and window.kernel[0] == WINDOW
        width = -(-shape.target.width // LINE) * LINE
        small = 4 * shape.channels * window.kernel[1] * PRODUCTS * width <= POINTS_BYTES
        return strided and small and shape.groups == 1 and (window.pads[1] + 1) // STRIDE <= LINE

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> StridedWinogradConv:
        return StridedWinogradConv(self.name, shape, extras, epilogue, max(1, shape.channels), 1)


def register_tile(isa: Isa) -> tuple[int, int]:
    """Outputs and vectors of a tile: sums, a row of V and a weight fit in the registers."""
    rows = OUTPUTS if isa.registers >= 16 else OUTPUTS // 2
    return rows, min(4, (isa.registers - 1) // (rows + 1))
