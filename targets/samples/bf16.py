"""Layers whose times show what the events of the bf16 kernels cost."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.kernels.conv.table import BF16_ROWS, PIXEL_ROWS, STRIP_ROWS
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.table import bf16_kernels
from sparsec.targets.samples.conv import ConvSample
from sparsec.targets.samples.linear import LinearSample

DENSE, SPARSE = BF16_ROWS.values()
(EXPANDED,) = STRIP_ROWS.values()
(EXPANDED_PIXELS,) = PIXEL_ROWS.values()
CONV_BF16 = (
    *(ConvSample(DENSE, 1.0, *sizes) for sizes in ((128, 96, 28, 4), (256, 128, 7, 7), (32, 64, 28, 4))),
    ConvSample(DENSE, 1.0, 512, 64, 14, 14),
    ConvSample(DENSE, 1.0, 16, 96, 56, 2),
    ConvSample(DENSE, 1.0, 16, 32, 112, 1),
    ConvSample(DENSE, 1.0, 1024, 1024, 7, 7),
    ConvSample(DENSE, 1.0, 512, 512, 14, 14),
    ConvSample(DENSE, 1.0, 64, 64, 56, 2, 3),
    ConvSample(DENSE, 1.0, 128, 128, 28, 4, 3),
    ConvSample(DENSE, 1.0, 256, 256, 14, 14, 3),
    ConvSample(DENSE, 1.0, 512, 512, 7, 7, 3),
    ConvSample(DENSE, 1.0, 64, 32, 56, 2, 3, 2),
    ConvSample(DENSE, 1.0, 3, 32, 112, 1, 3, 2),
    ConvSample(DENSE, 1.0, 256, 128, 28, 4, 1, 2),
    ConvSample(SPARSE, 0.3, 256, 128, 28, 4),
    ConvSample(SPARSE, 0.1, 256, 256, 28, 4),
    ConvSample(SPARSE, 0.02, 256, 256, 28, 4),
    ConvSample(SPARSE, 0.1, 512, 256, 14, 14),
    ConvSample(SPARSE, 0.1, 512, 512, 7, 7),
    ConvSample(SPARSE, 0.1, 96, 64, 28, 4, 3),
    ConvSample(SPARSE, 0.3, 64, 64, 14, 14, 3),
    # One panel of 128 columns, as that of 128 tokens: 11 × 11.
    ConvSample(DENSE, 1.0, 768, 768, 11, 11),
    ConvSample(DENSE, 1.0, 768, 3072, 11, 11),
    ConvSample(EXPANDED, 0.1, 768, 768, 11, 11),
    ConvSample(EXPANDED, 0.5, 768, 768, 11, 11),
    ConvSample(EXPANDED, 0.1, 3072, 768, 11, 11),
    ConvSample(EXPANDED, 0.1, 768, 3072, 11, 11),
    ConvSample(EXPANDED, 0.02, 512, 512, 14, 14),
    ConvSample(EXPANDED, 0.3, 1024, 256, 4, 4),
    ConvSample(EXPANDED, 0.1, 128, 256, 28, 4),
    ConvSample(EXPANDED, 0.2, 32, 512, 28, 4),
    ConvSample(EXPANDED_PIXELS, 0.5, 256, 256, 14, 14, 3),
    ConvSample(EXPANDED_PIXELS, 0.1, 256, 256, 14, 14, 3),
    ConvSample(EXPANDED_PIXELS, 0.1, 512, 512, 7, 7, 3),
    ConvSample(EXPANDED_PIXELS, 0.1, 512, 512, 14, 14, 3, 2),
    ConvSample(EXPANDED_PIXELS, 0.1, 1024, 1024, 14, 14, 1, 2),
)


@dataclass(frozen=True)
class LinearBf16Sample(LinearSample):
    """A linear layer by the kernel of bf16."""

    def kernel(self) -> LinearKernel:
        return next(iter(bf16_kernels(self.tokens, self.m, self.k, self.epilogue)))


LINEAR_BF16 = tuple(
    LinearBf16Sample("bf16", 1.0, *sizes)
    for sizes in (
        *((1, 256, 256), (1, 2048, 2048), (1, 1000, 1280), (1, 4096, 1024), (2, 512, 512), (3, 1024, 256)),
        *((4, 512, 512), (16, 256, 1024), (32, 1024, 128), (64, 768, 768), (128, 768, 192), (128, 512, 2048)),
    )
)
