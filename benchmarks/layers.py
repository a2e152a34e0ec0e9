"""Layers that kernels are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.windows.windows import Window
from sparsec.targets.native import NativeTarget


@dataclass(frozen=True)
class Layer:
    """A square convolution on `height` × `width` pixels of its input."""

    channels: int
    outputs: int
    height: int
    width: int
    taps: int = 1
    stride: int = 1
    groups: int = 1

    def shape(self, target: NativeTarget) -> ConvShape:
        pad = self.taps // 2
        size = [(x + 2 * pad - self.taps) // self.stride + 1 for x in (self.height, self.width)]
        source = _planes(target, self.channels, self.height, self.width)
        window = Window((self.taps, self.taps), (self.stride, self.stride), (1, 1), (pad, pad))
        return ConvShape(source, _planes(target, self.outputs, size[0], size[1]), window, self.groups)

    def weight(self, density: float, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        sizes = self.outputs, self.channels // self.groups, self.taps, self.taps
        values = random.standard_normal(sizes, dtype=np.float32) / np.sqrt(np.prod(sizes[1:])).astype(np.float32)
        return np.where(random.random(sizes) < density, values, np.float32(0))

    def __str__(self) -> str:
        window = f" {self.taps}x{self.taps}" + (f" s{self.stride}" if self.stride > 1 else "") if self.taps > 1 else ""
        window = window or (f" s{self.stride}" if self.stride > 1 else "")
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.channels}->{self.outputs}{window}{groups} @{self.height}x{self.width}"


def _planes(target: NativeTarget, channels: int, height: int, width: int) -> Planes:
    encoding = target.panel(height, width)
    if encoding is None:
        return Planes(1, channels, height, width, height, height * width)
    return Planes(1, channels, height, width, encoding.data.rows, encoding.data.stride)


# M, K, N of shared/peers.md as layers: 256,256,784; 512,512,196; 1024,1024,49; 768,768,128; 3072,768,128; 768,3072,128.
PEERS = (
    Layer(256, 256, 28, 28),
    Layer(512, 512, 14, 14),
    Layer(1024, 1024, 7, 7),
    Layer(768, 768, 8, 16),
    Layer(768, 3072, 8, 16),
    Layer(3072, 768, 8, 16),
)
RESNET50 = (
    Layer(3, 64, 224, 224, 7, 2),
    Layer(64, 64, 56, 56),
    Layer(64, 64, 56, 56, 3),
    Layer(64, 256, 56, 56),
    Layer(256, 64, 56, 56),
    Layer(128, 128, 56, 56, 3, 2),
    Layer(128, 128, 28, 28, 3),
    Layer(128, 512, 28, 28),
    Layer(512, 128, 28, 28),
    Layer(256, 512, 56, 56, 1, 2),
    Layer(256, 256, 14, 14, 3),
    Layer(256, 1024, 14, 14),
    Layer(1024, 256, 14, 14),
    Layer(512, 512, 7, 7, 3),
    Layer(512, 2048, 7, 7),
    Layer(2048, 512, 7, 7),
)
MOBILENET = (
    Layer(3, 32, 224, 224, 3, 2),
    Layer(32, 64, 112, 112),
    Layer(64, 128, 56, 56),
    Layer(128, 128, 56, 56),
    Layer(128, 256, 28, 28),
    Layer(256, 512, 14, 14),
    Layer(512, 512, 14, 14),
    Layer(512, 1024, 7, 7),
    Layer(1024, 1024, 7, 7),
)
# Linear layers of BERT-base, MiniLM and ViT-B on tokens, which are rows of an image of width 1.
LINEAR = ((768, 768), (768, 2304), (768, 3072), (3072, 768), (384, 384), (384, 1536), (1536, 384))
TOKENS = tuple(Layer(channels, outputs, 128, 1) for channels, outputs in LINEAR)
LENGTHS = tuple(Layer(channels, outputs, n, 1) for channels, outputs in LINEAR[:4] for n in (32, 197, 256, 512, 1024))
SHAPES = {"peers": PEERS, "resnet50": RESNET50, "mobilenet": MOBILENET, "tokens": TOKENS, "lengths": LENGTHS}
SWEEP = (
    *PEERS[:4],
    *RESNET50[2:],
    *MOBILENET[1:6],
    Layer(24, 144, 56, 56),
    Layer(160, 960, 7, 7),
    Layer(960, 320, 7, 7),
    Layer(16, 64, 20, 20, 3),
    Layer(64, 64, 20, 20, 3),
    Layer(240, 240, 28, 28, groups=3),
    Layer(96, 96, 17, 17),
)
