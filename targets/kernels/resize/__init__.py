"""Resizing of images."""

from sparsec.targets.kernels.resize.lowering import accepts, lower, takes_panels, takes_parts

__all__ = ["accepts", "lower", "takes_panels", "takes_parts"]
