"""Ops without weights to choose a kernel for, whose times show what windows, regions and moved bytes cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.ir.scalar import region
from sparsec.ir.types import f32
from sparsec.targets.isa import LINE
from sparsec.targets.kernels.map import Map
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.space import Space
from sparsec.targets.kernels.windows.depthwise import Depthwise
from sparsec.targets.kernels.windows.windows import Window

RELU6 = Body.of(region([f32], lambda x: x.max(0.0).min(6.0)))
SILU = Body.of(region([f32], lambda x: x / ((-x).call("exp") + 1.0)))


@dataclass(frozen=True)
class WindowSample:
    """A depthwise convolution of `size` × `size` pixels, in panels of `rows` image rows."""

    channels: int
    size: int
    rows: int
    taps: int = 3
    stride: int = 1
    silu: bool = False  # x · sigmoid(x) follows

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.channels, 1, self.taps, self.taps

    def weight(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(self.sizes, dtype=np.float32)

    def kernel(self) -> Depthwise:
        pad = self.taps // 2
        result = (self.size + 2 * pad - self.taps) // self.stride + 1
        window = Window((self.taps, self.taps), (self.stride, self.stride), (1, 1), (pad, pad))
        source, target = (self._planes(size) for size in (self.size, result))
        return Depthwise(source, target, window, "f32", (), SILU if self.silu else RELU6, None)

    def arrays(self, kernel: Depthwise, weight: np.ndarray) -> list[np.ndarray]:
        """The arguments of `kernel`."""
        x, y = (np.ones(planes.images * planes.image_size, np.float32) for planes in (kernel.source, kernel.target))
        return [x, weight, y]

    def _planes(self, size: int) -> Planes:
        rows = max(1, self.rows * size // self.size) if self.rows < self.size else size
        return Planes(1, self.channels, size, size, rows, -(-rows * size // LINE) * LINE)


@dataclass(frozen=True)
class MapSample:
    """A region on `elements` elements of `operands` operands: `long` elementary functions, or one addition each."""

    elements: int
    operands: int
    long: int = 0

    sizes = (0,)

    def weight(self) -> np.ndarray:
        return np.zeros(self.sizes, np.float32)

    def kernel(self) -> Map:
        def body(*values):
            result = values[0]
            for value in values[1:]:
                result = result + value
            for _ in range(self.long):
                result = result.call("exp")
            return result

        shape = (self.elements,)
        space = Space(shape, ((1,),) * (self.operands + 1))
        return Map(space, ("f32",) * (self.operands + 1), Body.of(region([f32] * self.operands, body)))

    def arrays(self, kernel: Map, weight: np.ndarray) -> list[np.ndarray]:
        """The arguments of `kernel`."""
        return [np.zeros(self.elements, np.float32) for _ in kernel.elements]


WINDOWS = (
    WindowSample(32, 112, 2),
    WindowSample(144, 56, 2),
    WindowSample(256, 28, 4),
    WindowSample(512, 14, 14),
    WindowSample(960, 7, 7),
    WindowSample(192, 7, 7, 5),
    WindowSample(192, 14, 14),
    WindowSample(32, 28, 4),
    WindowSample(64, 28, 4, 5),
    WindowSample(64, 112, 2, 3, 2),
    WindowSample(128, 56, 2, 3, 2),
    WindowSample(256, 28, 4, 3, 2),
    WindowSample(576, 14, 14, 3, 2),
    WindowSample(96, 14, 14, 3, 2),
    WindowSample(96, 112, 2, 3, 2),
    WindowSample(192, 28, 4, 5, 2),
    WindowSample(96, 56, 2, silu=True),
    WindowSample(480, 14, 14, silu=True),
    WindowSample(256, 7, 7, 3),
)
MAPS = (
    MapSample(1 << 12, 1),
    MapSample(1 << 16, 1),
    MapSample(1 << 16, 3),
    MapSample(1 << 19, 1),
    MapSample(1 << 19, 2),
    MapSample(1 << 14, 1, 2),
    MapSample(1 << 17, 1, 1),
)
