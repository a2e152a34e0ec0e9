"""Rows of the operand B of a window that share memory: the taps of one column of a window read the same copied rows.

For each input channel and each column of the window, the image rows under a tile of result rows are copied once, moved
and strided as that column asks, each to a slot of `pitch` floats. A tap of the window then is one offset into the
copies: from there on, result row after result row finds its elements. A 3x3 window on 7 rows thus takes 27 slots where
im2col takes 63, so that L1 holds more than twice as many rows of B.

    copies:   channel, column of the window, class of rows, image row, pixels of a slot

Where the columns of a window are whole lines apart (images that are interleaved by 16), they share one copy.
Rows of one class lie a vertical stride apart. Slots of 8 floats are two to a line, and where a tap begins in the middle
of one, there is a class of its own that begins there, so that all vectors are aligned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.conv.pack import Packing, widest
from sparsec.targets.kernels.conv.shape import LINE, ConvShape


@dataclass(frozen=True)
class Class:
    """Copied image rows: `count` of them from `first` on, relative to a tile's first, the vertical stride apart."""

    first: int
    count: int
    place: int  # slots before it


@dataclass(frozen=True)
class Copies:
    """Where the copies for a tile of `rows` result rows lie."""

    shape: ConvShape
    rows: int

    @property
    def shared(self) -> bool:
        """Whether the columns of the window read one copy, for they begin whole lines apart in it."""
        window = self.shape.window
        return window.strides[1] == 1 and window.dilations[1] % LINE == 0

    @property
    def copied(self) -> int:
        """Copies of an image row: one for each column of the window, unless they share one."""
        return 1 if self.shared else self.shape.window.kernel[1]

    @property
    def pitch(self) -> int:
        """Floats of a slot."""
        width = self.shape.target.width
        if self.shared:
            width += (self.shape.window.kernel[1] - 1) * self.shape.window.dilations[1]
        return LINE // 2 if width <= LINE // 2 else -(-width // LINE) * LINE

    @property
    def together(self) -> int:
        """Slots in a line."""
        return max(1, LINE // self.pitch)

    @property
    def columns(self) -> int:
        """Floats of a tile: whole lines."""
        return -(-self.rows * self.pitch // LINE) * LINE

    def _moves(self) -> Iterator[tuple[tuple[int, int], int]]:
        """For each row of the window its class, and how many slots of the class come before a tile's first row."""
        window = self.shape.window
        for tap in range(window.kernel[0]):
            move, start = divmod(tap * window.dilations[0], window.strides[0])
            yield (start, move % self.together), move

    @cached_property
    def classes(self) -> dict[tuple[int, int], Class]:
        """The classes of rows."""
        furthest: dict[tuple[int, int], int] = {}
        for key, move in self._moves():
            furthest[key] = max(move, furthest.get(key, 0))
        result: dict[tuple[int, int], Class] = {}
        place = 0
        for (start, phase), move in sorted(furthest.items()):
            count = self.columns // self.pitch + move - phase
            first = phase * self.shape.window.strides[0] + start
            result[start, phase] = Class(first, -(-count // self.together) * self.together, place)
            place += result[start, phase].count
        return result

    @property
    def slots(self) -> int:
        """Slots of one channel for one column of the window."""
        return sum(rows.count for rows in self.classes.values())

    @property
    def plane(self) -> int:
        """Floats from one column of the window to the next."""
        return self.slots * self.pitch

    @property
    def channel(self) -> int:
        """Floats of one channel."""
        return self.copied * self.plane

    def places(self, channels: int) -> np.ndarray:
        """The byte where each row of B begins: channel, window row, window column."""
        rows = [self.classes[key].place + move - key[1] for key, move in self._moves()]
        window = self.shape.window
        apart = window.dilations[1] if self.shared else self.plane
        taps = np.add.outer(np.array(rows) * self.pitch, np.arange(window.kernel[1]) * apart)
        return 4 * np.add.outer(np.arange(channels) * self.channel, taps).ravel()

    def vectors(self, lanes: int) -> int:
        """Vectors of one channel that are written."""
        return self.slots * self.copied * -(-self.pitch // lanes)


@dataclass(frozen=True)
class Copying:
    """Writes the copies for one convolution, a block of channels at a time."""

    b: Builder
    copies: Copies

    def emit(self, source: Ref, packed: Ref, row: Index, channels: Index) -> None:
        """Copies `channels` channels for the tile that begins at result row `row`; `source` is their first plane."""
        window, planes = self.copies.shape.window, self.copies.shape.source
        for rows in self.copies.classes.values():
            target = packed + rows.place * self.copies.pitch
            with self.b.loop(0, rows.count) as index:
                base, low = (index + row) * window.strides[0], rows.first - window.pads[0]
                inside = self._inside(base, low)
                slot = target + index * self.copies.pitch
                with self.b.if_(inside) as branch:
                    self._copy(source + planes.row(base, 1, low), slot, channels)
                with branch.else_():
                    self._copy(None, slot, channels)

    def _inside(self, base: Index, low: int) -> Value:
        """Whether image row base + low exists."""
        place, height = self.b.as_index(base), self.copies.shape.source.height
        below = place < max(0, height - low)
        return below & (place >= -low) if low < 0 else below

    def _copy(self, source: Ref | None, slot: Ref, channels: Index) -> None:
        """One image row of all channels, for each column of the window; zeros where there is no source."""
        with self.b.loop(0, channels) as channel:
            target = slot + channel * self.copies.channel
            origin = None if source is None else source + channel * self.copies.shape.source.stride
            for tap in range(self.copies.copied):
                self._slot(origin, target + tap * self.copies.plane, tap)

    def _slot(self, source: Ref | None, target: Ref, tap: int) -> None:
        b, window, shape = self.b, self.copies.shape.window, self.copies.shape
        if not self.masked:
            if self.copies.shared:
                self._whole(source, target + window.pads[1])
            else:
                Packing(b, shape).segment(source, target, tap)
            return
        lanes = min(b.isa.lanes, self.copies.pitch)
        for at in range(0, self.copies.pitch, lanes):
            columns = [column * window.strides[1] + window.column(tap) for column in range(at, at + lanes)]
            last = self.copies.pitch if self.copies.shared else shape.target.width
            inside = [at + i < last and 0 <= x < shape.source.width for i, x in enumerate(columns)]
            value = b.constant(0.0, "f32", lanes)
            if source is not None and any(inside):
                value = self._strided(source, columns[0], inside)
            b.vstore(value, target, at, align=4 * lanes)

    def _whole(self, source: Ref | None, target: Ref) -> None:
        """A whole image row, in vectors of which the last overlaps; zeros where there is no source."""
        b, width = self.b, self.copies.shape.source.width
        lanes = widest(b.isa.lanes, width)
        for start in range(0, width, lanes):
            at = min(start, width - lanes)
            value = b.constant(0.0, "f32", lanes) if source is None else b.vload(source, at, lanes=lanes)
            b.vstore(value, target, at)

    @property
    def masked(self) -> bool:
        """Whether whole slots are written; else columns outside the image are not, and must be zero before."""
        return self.b.isa.masked_memory and self.copies.shape.window.strides[1] <= 2

    def _strided(self, source: Ref, first: int, inside: list[bool]) -> Value:
        """The elements that lie inside, from `first` on, every one or every other."""
        b, lanes, step = self.b, len(inside), self.copies.shape.window.strides[1]
        parts = []
        for start in range(0, lanes * step, lanes):
            wanted = [(start + i) % step == 0 and inside[(start + i) // step] for i in range(lanes)]
            parts.append(b.vload(source, first + start, lanes=lanes, mask=b.constants([int(x) for x in wanted], "i1")))
        return parts[0] if step == 1 else b.shuffle(parts[0], parts[1], [2 * i for i in range(lanes)])
