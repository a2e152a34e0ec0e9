"""Convolutions whose times show what the events of their kernels cost."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from sparsec.ir import identity_region
from sparsec.ir.scalar import region
from sparsec.ir.types import f32
from sparsec.targets.kernels.conv.kernel import ConvKernel
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import LINE, ConvShape, Extra
from sparsec.targets.kernels.conv.table import (
    AMX_ROWS,
    BLOCKS,
    DENSE,
    SPARSE,
    STRIDED_WINOGRAD,
    TAPS,
    WASM_ROWS,
    WINOGRAD,
)
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body
from sparsec.targets.kernels.windows.windows import Window


@dataclass(frozen=True)
class ConvSample:
    """A convolution of `channels` × `size` × `size` pixels, in panels of `rows` image rows, by random weights."""

    row: Row
    density: float
    channels: int
    outputs: int
    size: int
    rows: int
    taps: int = 1
    stride: int = 1
    height: int = 1  # outputs that share their zeros
    residual: bool = False  # added in the epilogue
    silu: bool = False  # x · sigmoid(x) in the epilogue

    @property
    def shape(self) -> ConvShape:
        pad = self.taps // 2
        result = (self.size + 2 * pad - self.taps) // self.stride + 1
        rows = max(1, self.rows // self.stride)
        source = _planes(self.channels, self.size, self.rows)
        window = Window((self.taps, self.taps), (self.stride, self.stride), (1, 1), (pad, pad))
        return ConvShape(source, _planes(self.outputs, result, rows), window, 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.outputs, self.channels, self.taps, self.taps

    def weight(self) -> np.ndarray:
        random = np.random.default_rng(0)
        values = random.standard_normal(self.sizes, dtype=np.float32)
        if self.height == 1:
            return np.where(random.random(values.shape) < self.density, values, np.float32(0))
        kept = random.random((-(-self.outputs // self.height), *self.sizes[1:])) < self.density
        return np.where(kept.repeat(self.height, axis=0)[: self.outputs], values, np.float32(0))

    def kernel(self) -> ConvKernel:
        if self.silu:
            silu = region([f32], lambda x: x / ((-x).call("exp") + 1.0))
            return self.row.kernel(self.shape, (), Body.of(silu))
        if self.residual:
            return self.row.kernel(self.shape, (Extra("f32", 0, 0, True),), Body.of(region([f32, f32], operator.add)))
        return self.row.kernel(self.shape, (), Body.of(identity_region([f32])))

    def arrays(self, kernel: ConvKernel, weight: np.ndarray) -> list[np.ndarray]:
        """The arguments of `kernel`."""
        random = np.random.default_rng(1)
        sizes = [planes.images * planes.image_size for planes in (kernel.shape.source, kernel.shape.target)]
        x, y = (random.standard_normal(size, dtype=np.float32) for size in sizes)
        return [x, kernel.pack(weight), *([y.copy()] if self.residual else []), y]


def _planes(channels: int, size: int, rows: int) -> Planes:
    return Planes(1, channels, size, size, rows, -(-rows * size // LINE) * LINE)


SQUARES, COLUMNS = WINOGRAD
WIDE, WIDER_K, NARROW, NARROWEST = SPARSE
PAIRS, FOURS, NARROW_FOURS, DEEP_FOURS = BLOCKS
SHARED, SHARED_FOURS = TAPS
CONV = (
    *(
        ConvSample(DENSE, 1.0, *sizes)
        for sizes in ((128, 96, 28, 4), (256, 128, 7, 7), (32, 64, 28, 4), (512, 64, 14, 14))
    ),
    ConvSample(DENSE, 1.0, 16, 96, 56, 2),
    ConvSample(DENSE, 1.0, 1024, 1024, 7, 7),
    ConvSample(DENSE, 1.0, 32, 32, 28, 4, 3),
    ConvSample(DENSE, 1.0, 32, 32, 14, 14, 3),
    ConvSample(DENSE, 1.0, 128, 32, 7, 7, 3),
    ConvSample(DENSE, 1.0, 32, 32, 56, 2, 3, 2),
    ConvSample(DENSE, 1.0, 64, 12, 28, 4, 3),
    ConvSample(DENSE, 1.0, 128, 12, 28, 4, 1, 2),
    ConvSample(DENSE, 1.0, 64, 12, 14, 14, 3, 2),
    # Where activations lie beyond the L2, and where the weights do.
    ConvSample(DENSE, 1.0, 32, 64, 112, 2),
    ConvSample(DENSE, 1.0, 64, 256, 56, 2, residual=True),
    ConvSample(DENSE, 1.0, 32, 32, 80, 2),
    ConvSample(DENSE, 1.0, 512, 2048, 7, 7),
    ConvSample(WIDE, 0.1, 16, 96, 112, 2),
    ConvSample(WIDE, 0.1, 32, 16, 112, 2),
    ConvSample(WIDE, 0.1, 144, 24, 56, 2, residual=True),
    ConvSample(WIDE, 0.1, 64, 256, 56, 2, residual=True),
    ConvSample(WIDE, 0.2, 128, 512, 28, 4, residual=True),
    ConvSample(WIDER_K, 0.1, 192, 32, 28, 4, residual=True),
    *(
        ConvSample(SQUARES, 1.0, *sizes, 3)
        for sizes in ((64, 64, 56, 2), (256, 64, 14, 14), (96, 12, 28, 4), (16, 96, 40, 4), (256, 256, 14, 14))
    ),
    *(
        ConvSample(COLUMNS, 1.0, *sizes, 3)
        for sizes in ((256, 192, 7, 7), (192, 12, 14, 14), (16, 96, 28, 4), (64, 64, 10, 10), (512, 512, 7, 7))
    ),
    ConvSample(STRIDED_WINOGRAD, 1.0, 3, 64, 112, 2, 7, 2),
    ConvSample(STRIDED_WINOGRAD, 1.0, 1, 32, 224, 2, 7, 2),
    ConvSample(STRIDED_WINOGRAD, 1.0, 3, 8, 112, 2, 7, 2),
    ConvSample(DENSE, 1.0, 3, 64, 112, 2, 7, 2),
    ConvSample(DENSE, 1.0, 32, 32, 80, 2, silu=True),
    ConvSample(DENSE, 1.0, 64, 64, 40, 4, silu=True),
    ConvSample(WIDE, 0.1, 256, 64, 56, 2, silu=True),
    ConvSample(WIDE, 0.5, 256, 128, 28, 4),
    ConvSample(WIDE, 0.1, 256, 256, 28, 4),
    ConvSample(WIDE, 0.02, 256, 256, 28, 4),
    ConvSample(WIDER_K, 0.1, 256, 256, 14, 14),
    ConvSample(WIDER_K, 0.3, 128, 64, 28, 4),
    ConvSample(WIDER_K, 0.1, 96, 64, 28, 4, 3),
    ConvSample(NARROW, 0.1, 512, 256, 14, 14),
    ConvSample(NARROW, 0.3, 256, 64, 14, 14),
    ConvSample(NARROWEST, 0.3, 640, 256, 7, 7),
    ConvSample(NARROWEST, 0.1, 640, 512, 7, 7),
    ConvSample(NARROWEST, 0.02, 640, 256, 7, 7),
    ConvSample(NARROWEST, 0.2, 320, 128, 16, 8),
    ConvSample(NARROWEST, 0.05, 320, 64, 14, 14),
    ConvSample(WIDE, 0.1, 256, 64, 56, 2),
    ConvSample(WIDE, 0.1, 768, 1024, 7, 7),
    *(ConvSample(row, 0.1, 32, 64, 56, 2, 3) for row in (WIDE, NARROWEST, SHARED)),
    *(ConvSample(PAIRS, density, 256, 256, 14, 14, height=2) for density in (0.05, 0.3)),
    *(ConvSample(FOURS, density, 256, 256, 28, 4, height=4) for density in (0.02, 0.1, 0.5)),
    ConvSample(NARROW_FOURS, 0.1, 512, 256, 14, 14, height=4),
    ConvSample(NARROW_FOURS, 0.3, 256, 256, 7, 7, height=4),
    ConvSample(DEEP_FOURS, 0.1, 768, 768, 16, 8, height=4),
    ConvSample(DEEP_FOURS, 0.2, 512, 512, 14, 14, height=4),
    *(ConvSample(SHARED, density, 64, 128, 14, 14, 3) for density in (0.02, 0.1, 0.4)),
    ConvSample(SHARED, 0.1, 64, 64, 28, 4, 3),
    ConvSample(SHARED, 0.05, 64, 64, 56, 2, 3, 2),
    ConvSample(SHARED, 0.1, 128, 256, 7, 7, 3),
    ConvSample(SHARED_FOURS, 0.1, 64, 128, 14, 14, 3, height=4),
)

(DEEP,) = WASM_ROWS.values()
# The same layers in both ways, as these differ by a tenth at most.
CONV_WASM = tuple(
    ConvSample(row, 0.1, *sizes)
    for row in (NARROW, DEEP)
    for sizes in ((512, 512, 14, 14), (1024, 256, 14, 14), (256, 1024, 14, 14), (512, 128, 28, 4), (1024, 1024, 7, 7))
)

(SPLIT,) = AMX_ROWS.values()
_PANELS = ((128, 96, 28, 4), (256, 128, 7, 7), (32, 64, 28, 4), (512, 64, 14, 14), (16, 96, 56, 2), (24, 144, 56, 2))
_FAR = ((1024, 1024, 7, 7), (512, 512, 14, 14), (256, 1024, 14, 14), (512, 2048, 7, 7), (2048, 512, 7, 7))
_NEAR = ((64, 256, 56, 2), (256, 64, 56, 2), (32, 64, 112, 2), (32, 16, 112, 2), (256, 256, 28, 4), (128, 512, 28, 4))
_TOKENS = ((96, 24, 14, 14), (768, 768, 11, 11), (768, 3072, 11, 11), (3072, 768, 11, 11), (384, 384, 11, 11))
_STRIDED = ((64, 64, 56, 2, 3, 2), (128, 256, 28, 4, 1, 2), (256, 256, 28, 4, 3, 2))
CONV_AMX = (
    *(ConvSample(SPLIT, 1.0, *sizes) for sizes in (*_PANELS, *_FAR, *_NEAR, *_TOKENS)),
    *(ConvSample(SPLIT, 1.0, *sizes) for sizes in _STRIDED),
    *(ConvSample(SPLIT, 1.0, *sizes) for sizes in ((32, 64, 28, 4, 3), (128, 128, 7, 7, 3))),
)
