"""The rows of the kernel table for linear layers."""

from __future__ import annotations

from sparsec.targets.kernels.epilogue import Epilogue
from sparsec.targets.kernels.linear_dense import LinearDense
from sparsec.targets.kernels.linear_gemv import MOST_COLUMNS, MOST_TOKENS, LinearGemv
from sparsec.targets.kernels.linear_kernel import LinearKernel
from sparsec.targets.kernels.linear_spmm import LinearSpmm

# Tokens in a panel and elements of K in a block: 32 KB of first-level cache; a wide panel costs less per non-zero, a
# deep block less per sum.
SPMM = ((64, 128), (128, 64))


def kernels(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearKernel]:
    """Every kernel that runs these sizes; the dense one comes first."""
    found: list[LinearKernel] = [LinearDense(tokens, m, k, epilogue)]
    if not tokens * m * k:
        return found
    if tokens <= MOST_TOKENS and k <= MOST_COLUMNS:
        found.append(LinearGemv(tokens, m, k, epilogue))
    if tokens >= MOST_TOKENS:
        found += [LinearSpmm(tokens, m, k, epilogue, width, depth) for width, depth in SPMM]
    return found
