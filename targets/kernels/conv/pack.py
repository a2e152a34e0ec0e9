"""Implicit im2col: copies the source elements under one block of taps into scratch, as rows of the operand B.

Row (c, kh, kw) of B holds, for every output pixel of a panel, the source element of channel c under tap (kh, kw). It is
made of copies of image rows at any alignment, every other element at stride 2. Columns outside the image are never
written: scratch is zeroed once. Rows outside the image are zeroed as they come.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.shape import ConvShape

CHANNELS = 4  # copied at a time, so that the rows of B being written (9 taps: 16 KB) stay in L1


@dataclass(frozen=True)
class Packing:
    """Writes the copies for one convolution, a block of channels at a time."""

    b: Builder
    shape: ConvShape

    @staticmethod
    def events(shape: ConvShape, isa: Isa) -> dict[str, float]:
        """The copies of one convolution: vectors, and rows of taps under which they lie."""
        height, width = shape.window.kernel
        rows = shape.panels * shape.source.channels * shape.target.rows * height
        spans = [_columns(shape, tap) for tap in range(width)]
        vectors = sum(-(-(high - low) // widest(isa.lanes, high - low)) for low, high in spans)
        return {"copied row": rows, "copy": rows * vectors * shape.window.strides[1]}

    def emit(self, source: Ref, packed: Ref, panel: Index, channels: Index) -> None:
        """Packs `channels` channels for a panel of the result; `source` is the first of them in its image."""
        shape = self.shape
        with self.b.loop(0, channels, CHANNELS) as first:
            count = self._at_most(CHANNELS, channels, first)
            place = packed + first * (shape.taps * shape.stride)
            with self.b.loop(0, shape.target.rows) as row, self.b.loop(0, shape.window.kernel[0]) as tap:
                self._row(source + first * shape.source.stride, place, (panel, row, tap), count)

    def _at_most(self, step: int, stop: Index, start: Index) -> Index:
        if isinstance(stop, int) and stop % step == 0:
            return step
        if isinstance(start, int) and isinstance(stop, int):
            return min(step, stop - start)
        b = self.b
        return b.min(b.as_index(step), b.as_index(stop) - start)

    def _row(self, source: Ref, packed: Ref, place: tuple[Index, Index, Index], channels: Index) -> None:
        """One image row under one row of taps, for all channels: copied, or zeroed where it is outside the image."""
        b, (panel, row, tap) = self.b, place
        window, planes, target = self.shape.window, self.shape.source, self.shape.target
        base = (row + panel * target.rows) * window.strides[0] + tap * window.dilations[0]
        packed = packed + (tap * (window.kernel[1] * self.shape.stride) + row * target.width)
        low, high = -window.pads[0], self._last_row()
        inside = row_exists(base, low, high, planes.height)
        if inside is None:
            self._copy(source + planes.row(base, 1, low), packed, channels)
            return
        with b.if_(inside) as branch:
            self._copy(source + planes.row(base, 1, low), packed, channels)
        with branch.else_():
            self._copy(None, packed, channels)

    def _last_row(self) -> int:
        """The largest source row that any tap of any output row of a panel names."""
        window, target = self.shape.window, self.shape.target
        rows = target.panels * target.rows
        return (rows - 1) * window.strides[0] + (window.kernel[0] - 1) * window.dilations[0] - window.pads[0]

    def _copy(self, source: Ref | None, packed: Ref, channels: Index) -> None:
        """One row of `channels` channels under each tap of a kernel row; zeros where there is no source."""
        shape = self.shape
        with self.b.loop(0, channels) as channel:
            target = packed + channel * (shape.taps * shape.stride)
            origin = None if source is None else source + channel * shape.source.stride
            for tap in range(shape.window.kernel[1]):
                self.segment(origin, target + tap * shape.stride, tap)

    def segment(self, source: Ref | None, packed: Ref, tap: int) -> None:
        """The output columns [low, high) whose source column exists, in vectors of which the last overlaps."""
        b, window = self.b, self.shape.window
        step, offset = window.strides[1], window.column(tap)
        low, high = _columns(self.shape, tap)
        width = widest(b.isa.lanes, high - low)
        for start in range(low, high, width):
            at = min(start, high - width)
            if source is None:
                value = b.constant(0.0, "f32", width)
            else:
                value = b.vload_strided(source, at * step + offset, step, lanes=width)
            b.vstore(value, packed, at)


def row_exists(base: Index, low: int, last: int, height: int) -> Value | bool | None:
    """Whether row base + low is one of `height`, where `last` is the largest that it becomes; None if it always is."""
    if low >= 0 and last < height:
        return None
    if isinstance(base, int):
        return 0 <= base + low < height
    conditions = [base >= -low] if low < 0 else []
    if last >= height:
        conditions.append(base < height - low)
    return conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]


def _columns(shape: ConvShape, tap: int) -> tuple[int, int]:
    """The output columns whose source column under a tap exists."""
    step, offset = shape.window.strides[1], shape.window.column(tap)
    low = max(0, -(offset // step))
    return low, max(low, min(shape.target.width, (shape.source.width - 1 - offset) // step + 1))


def widest(most: int, columns: int) -> int:
    """The widest vector that fits in `columns`."""
    while most > max(columns, 1):
        most //= 2
    return most
