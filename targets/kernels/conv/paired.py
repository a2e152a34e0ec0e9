"""What convolutions of bf16 share: each panel of the source is rounded once to pairs of channels in scratch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sparsec.bf16 import rounded
from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.amx import CONFIG_BYTES
from sparsec.targets.kernels.conv.grid import STEP, Grid, Padding
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.shape import LINE, Extra, PairedExtra, Tile
from sparsec.targets.kernels.pairs import pair, widen


@dataclass(frozen=True)
class PairedConv(ConvKernel):
    """A convolution without groups over a copy of each panel in pairs (see `Grid`)."""

    weight_element: ClassVar[str] = "i32"
    sums: ClassVar[int] = 0  # floats of scratch beside the copy

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """Where the pairs of a panel lie in scratch."""

    @abstractmethod
    def compute(self, b: Builder, part: Part) -> None:
        """Writes the results of one panel, those of the parts [part.low, part.high) of the outputs."""

    def padding(self, b: Builder) -> Padding:
        """Writes the copy."""
        return Padding(b, self.grid)

    def prepared(self, b: Builder, scratch: Ref) -> AbstractContextManager[None]:
        """What holds while panels are computed; the first `CONFIG_BYTES` of scratch are for it."""
        return nullcontext()

    @property
    def walk(self) -> Walk | None:
        """The copy of a panel may hold rows behind those that its windows need."""
        walk = super().walk
        return walk and replace(walk, reach=max(walk.reach, self.grid.reach))

    @property
    def singly(self) -> bool:
        return False

    @property
    def scratch(self) -> int:
        return CONFIG_BYTES + 4 * (_lines(self.grid.size) + self.sums)

    def emit(self, b: Builder) -> None:
        shape, padding = self.shape, self.padding(b)
        source, target = ("i32" if planes.pairs else "f32" for planes in (shape.source, shape.target))
        arguments = [source, self.weight_element, *(extra.element for extra in self.extras), target]
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), scratch, begin, end):
            copy = (scratch + CONFIG_BYTES).view("i32")
            sums = (copy + _lines(self.grid.size)).view("f32")
            padding.clear(copy)
            with self.prepared(b, scratch), self._panels(b, begin, end) as (panel, low, high):
                image, panel = divide(panel, shape.target.panels, shape.target.images)
                output = Panel(b, self, extras, target, image, panel)
                pairs = padding.emit(source + shape.source.image(image), copy, panel)
                self.compute(b, Part(pairs, weights, sums, output, low, high))

    def copy_events(self, isa: Isa) -> dict[str, float]:
        """Rounding all panels."""
        shape, grid = self.shape, self.grid
        if grid.borrowed:
            return {}
        copied = shape.source.stride if shape.direct else shape.target.width
        each = 1 if shape.direct else grid.rows * len(grid.phases) * grid.taps[1]
        rows = shape.panels * -(-grid.channels // 2) * each
        return {"bf16 row": rows, "bf16 pair": rows * -(-copied // isa.lanes)}


@dataclass(frozen=True)
class Part:
    """The work on a panel: its copy in pairs, and the parts [low, high) of the outputs. `sums` are scratch."""

    copy: Ref
    weights: Ref
    sums: Ref
    output: Panel
    low: Index
    high: Index


class Panel(Output):
    """Results of one group; they, and operands of the epilogue, may lie in pairs. Then rows come two by two."""

    def __init__(
        self, b: Builder, kernel: ConvKernel, extras: Sequence[Ref], target: Ref, image: Index, panel: Index
    ) -> None:
        super().__init__(b, kernel, extras, target, image, panel, 0)
        for index, extra in enumerate(kernel.extras):
            if extra.full:
                planes = kernel.shape.target.kept(isinstance(extra, PairedExtra))
                self._extras[index] = extras[index] + (planes.image(image) + panel * planes.panel_size)

    @property
    def revised(self) -> bool:
        """Whether a long epilogue goes over stored sums."""
        paired = self.kernel.shape.target.pairs or any(isinstance(extra, PairedExtra) for extra in self.kernel.extras)
        return self.kernel.epilogue.is_long and not paired

    def keep(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        """Stores sums, for `revise` to finish."""
        self._store(sums, tile, rows, column)

    def _conclude(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        if self.revised:
            super()._conclude(sums, tile, rows, column)
        else:
            self._store(self._epilogue(sums, tile, rows, column), tile, rows, column)

    def _extra(
        self, ref: Ref, extra: Extra, tile: Tile, rows: Sequence[Index], index: int, column: Index
    ) -> list[Value]:
        if not isinstance(extra, PairedExtra):
            return super()._extra(ref, extra, tile, rows, index, column)
        first, side = index - index % 2, index % 2
        return [widen(self.b, pairs)[side] for pairs in self._load(ref, tile, rows[first] // 2, column)]

    def _store(self, values: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        if not self.kernel.shape.target.pairs:
            super()._store(values, tile, rows, column)
            return
        count = tile.vectors
        for index in range(0, len(rows), 2):
            lows, highs = values[index * count :][:count], values[(index + 1) * count :][:count]
            pairs = [pair(self.b, low, high) for low, high in zip(lows, highs, strict=True)]
            super()._store(pairs, tile, [rows[index] // 2], column)


def ordered(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """[M, C, KH, KW] as bits of bf16 [M, groups of 32 channels, rows of taps, columns, 32], zeros behind the last."""
    down, across = grid.taps
    if grid.unfolded:
        weight = weight.transpose(0, 1, 3, 2)
    padded = np.zeros((len(weight), grid.groups * 2 * STEP, down, across), np.uint16)
    padded[:, : grid.channels] = rounded(weight.reshape(len(weight), grid.channels, down, across))
    return padded.reshape(-1, grid.groups, 2 * STEP, down, across).transpose(0, 1, 3, 4, 2)


def _lines(count: int) -> int:
    """`count` rounded up to whole lines of 16."""
    return -(-count // LINE) * LINE
