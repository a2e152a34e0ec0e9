"""Handlers of ONNX operators, a family a file. `HANDLERS` is the table of all of them."""

from sparsec.frontend.onnx.ops import (  # noqa: F401
    arithmetic,
    attention,
    constants,
    contraction,
    control,
    einsum,
    indexing,
    microsoft,
    microsoft_attention,
    normalization,
    pointwise,
    reductions,
    reshaping,
    resize,
    rotary,
    windows,
)
from sparsec.frontend.onnx.registry import HANDLERS

__all__ = ["HANDLERS"]
