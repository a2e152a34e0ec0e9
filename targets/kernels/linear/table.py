"""The rows of the kernel table for linear layers."""

from __future__ import annotations

from sparsec.targets.isa import LINE
from sparsec.targets.kernels.epilogue import Epilogue
from sparsec.targets.kernels.linear.bf16 import LinearBf16
from sparsec.targets.kernels.linear.dense import HalfWeights, LinearDense
from sparsec.targets.kernels.linear.gemv import MOST_COLUMNS, MOST_TOKENS, LinearGemv
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.skip import WIDTHS as SKIP_WIDTHS
from sparsec.targets.kernels.linear.skip import LinearSkip, SkipBf16, SkipHalf
from sparsec.targets.kernels.linear.spmm import LinearSpmm, QuadSpmm

# Tokens in a panel and elements of K in a block: 32 KB of first-level cache. A wide panel costs less per non-zero, a
# deep block less per sum. On 128 × 768 × 768 with 10 % of the weights both take 0.27 of the dense time; the inner loop
# alone is bound by loads to 53 % of FMA peak with 4 vectors of AVX-512, 63 % with 8, 71 % with 16.
SPMM = ((64, 128), (128, 64))
QUADS = ((64, 128), (32, 256))
WIDTHS, DEPTHS = (32, 64, 96, 128, 192), (32, 64, 128, 256)  # what tuning tries


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


def arm_kernels(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearKernel]:
    """Kernels that only ARM gets (`LinearKernel.suits`)."""
    if tokens < MOST_TOKENS or not m * k:
        return []
    return [QuadSpmm(tokens, m, k, epilogue, width, depth) for width, depth in QUADS]


def bf16_kernels(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearKernel]:
    """Kernels that round products to bf16, for compilations that allow it."""
    kernel = LinearBf16(tokens, m, k, epilogue)
    return [kernel] if tokens * m * k and kernel.fits else []


def f16_kernels(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearKernel]:
    """Kernels whose weights are of f16, for compilations that allow it."""
    return [HalfWeights(tokens, m, k, epilogue)] if tokens * m * k else []


SKIP: dict[str, type[LinearSkip]] = {"f32": LinearSkip, "bf16": SkipBf16, "f16": SkipHalf}


def skip_kernels(tokens: int, m: int, k: int, epilogue: Epilogue, precision: str = "f32") -> list[LinearSkip]:
    """Kernels that skip the weights of zero activations, in runs of each width; narrower ones have more chunks.

    Where `precision` allows shorter weights they have these, as the dense kernels that they must not be slower than.
    """
    if tokens > MOST_TOKENS or not tokens * m * k:
        return []
    widths = dict.fromkeys(min(width, -(-m // LINE) * LINE) for width in SKIP_WIDTHS)
    return [SKIP[precision](tokens, m, k, epilogue, width) for width in widths]


def variants(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearKernel]:
    """Kernels beside those of the table that tuning may choose."""
    if tokens < MOST_TOKENS or not m * k:
        return []
    return [LinearSpmm(tokens, m, k, epilogue, width, depth) for width in WIDTHS for depth in DEPTHS]
