"""A thin layer over MLIR's Python bindings, in which kernels look like the loops that they mean."""

from sparsec.targets.builder.builder import Builder
from sparsec.targets.builder.value import Index, Operand, Ref, Value

__all__ = ["Builder", "Index", "Operand", "Ref", "Value"]
