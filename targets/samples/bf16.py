"""Layers whose times show what the events of the bf16 kernels cost."""

from __future__ import annotations

from sparsec.targets.kernels.conv.table import BF16_ROWS
from sparsec.targets.samples.conv import ConvSample

(DENSE,) = BF16_ROWS.values()
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
)
