"""Resizing of images."""

from sparsec.targets.kernels.resize.lowering import accepts, lower, takes_panels

__all__ = ["accepts", "lower", "takes_panels"]
