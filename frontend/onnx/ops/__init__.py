"""Handlers of ONNX operators, a family a file. `HANDLERS` is the table of all of them."""

from sparsec.frontend.onnx.ops import (  # noqa: F401
    arithmetic,
    constants,
    contraction,
    control,
    einsum,
    indexing,
    microsoft,
    normalization,
    pointwise,
    reductions,
    reshaping,
    resize,
    windows,
)
from sparsec.frontend.onnx.registry import HANDLERS

__all__ = ["HANDLERS"]
