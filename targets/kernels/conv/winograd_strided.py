"""Convolutions with windows of 7 rows and stride 2, by Winograd's formulas along the height.

Even image rows meet four rows of the window and odd ones three, at stride 1: F(4, 4) at the points of F(4, 3) and one
more. As both share points and so the way from points to results, their products add up: 13 multiplications for 4
results instead of 28. A tile is 4 rows of a vector of results for a few outputs: sums at 7 points stay in registers.

ResNet-50's first layer: 0.89 ms instead of 1.47, of which the transform takes 0.05 and the copies of rows 0.03. The
products run at 140 GFLOP/s, as each multiply-add reads a weight; two outputs of two tiles, which share them, were no
faster (0.92 ms), and neither are weights that are asked for ahead.
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
from sparsec.targets.kernels.conv.kernel import ConvKernel, Output, Work, divide
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra, Tile
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
GROUP = 4  # outputs of a tile on ISAs with 32 registers, and of a block of packed weights
POINTS_BYTES = 32 * 1024  # of a tile's inputs at the points, in L1


@dataclass(frozen=True)
class StridedWinogradConv(ConvKernel):
    """Weights packed at the points: [M / 4][C][window's columns][13][4], zeros for outputs that do not exist.

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
    def scratch(self) -> int:
        return 4 * (self.copied + self.depth * PRODUCTS * LINE)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        outputs = -(-len(weight) // GROUP) * GROUP
        rows = np.einsum("pk,mckw->mcwp", strided_filter_matrix(), weight.astype(np.float64))
        padded = np.zeros((outputs, *rows.shape[1:]), np.float32)
        padded[: len(weight)] = rows
        return np.ascontiguousarray(padded.reshape(-1, GROUP, self.depth, PRODUCTS).transpose(0, 2, 3, 1))

    def multiply(self, b: Builder, work: Work) -> None:
        raise NotImplementedError("emit walks the points itself")

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        shape, lanes = self.shape, b.isa.lanes
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), memory, begin, end):
            copies = memory.view("f32")
            b.memset(copies, 0, 4 * self.copied)
            with b.loop(begin, end) as chunk:
                image, index = divide(chunk, self.tiles, shape.target.images)
                self._copy(b, source + shape.source.image(image), copies, index)
                results = [self._result(b, extras, target, image, index, row) for row in range(SIDE)]
                work = _Columns(self, b, copies, weights, results)
                whole = shape.target.width // lanes * lanes
                with b.loop(0, whole, lanes) as column:
                    work.emit(column, None)
                if rest := shape.target.width - whole:
                    work.emit(whole, rest)

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
        vectors = self.chunks * -(-self.shape.target.width // isa.lanes)
        return {
            "strided fma": vectors * self.shape.outputs * self.depth * PRODUCTS,
            "strided sum": vectors * self.shape.outputs,
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
class _Columns:
    """Writes the code for a vector of columns of a row of tiles."""

    kernel: StridedWinogradConv
    b: Builder
    copies: Ref
    weights: Ref
    results: Sequence[_Result]

    @property
    def points(self) -> Ref:
        """Where the inputs at the points lie."""
        return self.copies + self.kernel.copied

    def emit(self, column: Index, count: int | None) -> None:
        """The columns from `column` on, `count` of them or a whole vector."""
        b, size = self.b, self.kernel.depth * PRODUCTS * GROUP
        self._to_points(column)
        step, outputs = group(b.isa), self.kernel.shape.outputs
        with b.loop(0, outputs // GROUP) as block, b.loop(0, GROUP, step) as first:
            self._tile(self.weights + block * size + first, block * GROUP + first, step, column, count)
        for first in range(outputs // GROUP * GROUP, outputs, step):
            weights = self.weights + (first // GROUP * size + first % GROUP)
            self._tile(weights, first, min(step, outputs - first), column, count)

    def _to_points(self, column: Index) -> None:
        """The inputs: [C][window's columns][13][lanes]."""
        b, kernel, lanes = self.b, self.kernel, self.b.isa.lanes
        columns = kernel.shape.window.kernel[1]
        with b.loop(0, kernel.shape.channels) as channel:
            copy = self.copies + channel * (ROWS * STRIDE * kernel.row_size) + column
            for tap in range(columns):
                shift, phase = divmod(tap - kernel.shape.window.pads[1], STRIDE)
                first = phase * kernel.row_size + kernel.margin + shift
                x = [b.vload(copy, first + row * (STRIDE * kernel.row_size)) for row in range(ROWS)]
                place = self.points + channel * (columns * PRODUCTS * lanes)
                for i, value in enumerate(strided_to_points(b, x)):
                    b.vstore(value, place, (tap * PRODUCTS + i) * lanes, align=4 * lanes)

    def _tile(self, weights: Ref, first: Index, outputs: int, column: Index, count: int | None) -> None:
        """The results of a few outputs."""
        b, lanes = self.b, self.b.isa.lanes
        sums = [b.constant(0.0, "f32", lanes)] * (WINDOW * outputs)
        with b.loop(0, self.kernel.depth, carry=sums) as k:
            for i in range(PRODUCTS):
                vector = b.vload(self.points, k * (PRODUCTS * lanes) + i * lanes, align=4 * lanes)
                for output in range(outputs):
                    weight = b.broadcast(b.load(weights, k * (PRODUCTS * GROUP) + (i * GROUP + output)))
                    place = i % WINDOW * outputs + output
                    sums[place] = b.fma(weight, vector, sums[place])
        columns = [strided_from_points(b, sums[output::outputs]) for output in range(outputs)]
        rows = [first + output for output in range(outputs)]
        for result, values in zip(self.results, zip(*columns, strict=True), strict=True):
            with b.if_(True if result.exists is None else result.exists):
                result.output.finish(values, Tile(0, 1, tail=count), rows, result.place + column, 0)


@dataclass(frozen=True)
class StridedWinogradRow(Row):
    """Dense weights of windows of 7 rows with stride 2, over few channels. It has no blocks of K."""

    sparse: ClassVar[bool] = False
    least: ClassVar[int] = GROUP

    @property
    def name(self) -> str:
        return "conv_f32_winograd4x1s2"

    def fits(self, shape: ConvShape) -> bool:
        window = shape.window
        strided = window.strides == (STRIDE, STRIDE) and window.dilations == (1, 1) and window.kernel[0] == WINDOW
        small = 4 * shape.channels * window.kernel[1] * PRODUCTS * LINE <= POINTS_BYTES
        return strided and small and shape.groups == 1 and (window.pads[1] + 1) // STRIDE <= LINE

    def kernel(self, shape: ConvShape, extras: tuple[Extra, ...], epilogue: Body) -> StridedWinogradConv:
        return StridedWinogradConv(self.name, shape, extras, epilogue, max(1, shape.channels), 1)


def group(isa: Isa) -> int:
    """Outputs of a tile: their sums at 7 points, an input and a weight fit in the registers."""
    return {32: GROUP, 16: GROUP // 2}.get(isa.registers, 1)
