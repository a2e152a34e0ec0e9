"""Convolution with ordinary groups (depthwise has kernels of its own), with dense and with sparse weights."""

from sparsec.targets.kernels.conv.lowering import (
    accepts,
    candidates,
    lower,
    takes_pairs,
    takes_panels,
    takes_parts,
    ways,
)

__all__ = ["accepts", "candidates", "lower", "takes_pairs", "takes_panels", "takes_parts", "ways"]
