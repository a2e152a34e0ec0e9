"""Linear layers whose times show what the events of their kernels cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsec.ir import identity_region
from sparsec.ir.scalar import region
from sparsec.ir.types import f32
from sparsec.targets.kernels.epilogue import Epilogue
from sparsec.targets.kernels.linear.gated import LinearGated
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.table import kernels, skip_kernels
from sparsec.targets.kernels.region import Body


@dataclass(frozen=True)
class LinearSample:
    """A linear layer of random weights, run by the kernel called `row`."""

    row: str
    density: float
    tokens: int
    m: int
    k: int

    @property
    def epilogue(self) -> Epilogue:
        """None to speak of: sums are the results."""
        return Epilogue(Body.of(identity_region([f32])), (self.tokens,), (), (), (), "f32")

    def kernel(self) -> LinearKernel:
        found = kernels(self.tokens, self.m, self.k, self.epilogue)
        return next(kernel for kernel in found if kernel.name == self.row)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.m, self.k

    def weight(self) -> np.ndarray:
        random = np.random.default_rng(0)
        values = random.standard_normal(self.sizes, dtype=np.float32)
        return np.where(random.random(values.shape) < self.density, values, np.float32(0))

    def arrays(self, kernel: LinearKernel, weight: np.ndarray) -> list[np.ndarray]:
        x = np.random.default_rng(1).standard_normal((self.tokens, self.k), dtype=np.float32)
        return [x, kernel.pack(weight), np.zeros((self.tokens, self.m), np.float32)]


@dataclass(frozen=True)
class SkipSample(LinearSample):
    """A linear layer of dense weights whose input has a share of `nonzeros`."""

    nonzeros: float = 1.0

    def kernel(self) -> LinearKernel:
        found = skip_kernels(self.tokens, self.m, self.k, self.epilogue)
        return next(replace(kernel, nonzeros=self.nonzeros) for kernel in found if kernel.name == self.row)

    def arrays(self, kernel: LinearKernel, weight: np.ndarray) -> list[np.ndarray]:
        x, *others = super().arrays(kernel, weight)
        kept = np.random.default_rng(2).random(x.shape) < self.nonzeros
        return [np.where(kept, x, np.float32(0)), *others]


@dataclass(frozen=True)
class GatedSample(LinearSample):
    """A linear layer of one token, its results multiplied by factors of which a share of `nonzeros` is not zero."""

    nonzeros: float = 1.0

    @property
    def epilogue(self) -> Epilogue:
        product = region([f32, f32], lambda total, factor: total * factor)
        return Epilogue(Body.of(product), (1,), ("f32",), ((0,),), (1,), "f32")

    def kernel(self) -> LinearKernel:
        factor = Body.of(region([f32, f32], lambda total, factor: factor))
        return LinearGated(1, self.m, self.k, self.epilogue, factor, self.nonzeros)

    def arrays(self, kernel: LinearKernel, weight: np.ndarray) -> list[np.ndarray]:
        x, packed, y = super().arrays(kernel, weight)
        factors = np.random.default_rng(2).random((1, self.m)) < self.nonzeros
        return [x, packed, factors.astype(np.float32), y]


GEMV, GEMM, SELL = "gemv_f32_dense_n32", "gemm_f32_dense_n32", "gemv_f32_sell16"
SPMM, WIDE = "spmm_f32_csr_t64k128", "spmm_f32_csr_t128k64"

LINEAR = (
    LinearSample(GEMV, 1.0, 1, 256, 256),
    LinearSample(GEMV, 1.0, 1, 2048, 2048),
    LinearSample(GEMM, 1.0, 3, 384, 256),
    LinearSample(GEMM, 1.0, 48, 256, 256),
    LinearSample(GEMM, 1.0, 128, 768, 192),
    LinearSample(SELL, 0.1, 1, 1024, 1024),
    LinearSample(SELL, 0.3, 4, 512, 512),
    LinearSample(SELL, 0.02, 2, 1024, 512),
    LinearSample(SELL, 0.3, 1, 4096, 1024),
    *(LinearSample(row, density, 128, 768, 256) for row in (SPMM, WIDE) for density in (0.02, 0.1, 0.3)),
    LinearSample(SPMM, 0.1, 64, 256, 1024),
    LinearSample(SPMM, 0.1, 16, 512, 512),
    LinearSample(WIDE, 0.1, 100, 64, 1024),
    LinearSample(WIDE, 0.05, 32, 1024, 128),
    *(SkipSample("gemv_f32_skip_n1024", 1.0, 1, 1024, 2048, nonzeros) for nonzeros in (1.0, 0.5, 0.1, 0.02)),
    *(SkipSample("gemv_f32_skip_n256", 1.0, 1, 1024, 2048, nonzeros) for nonzeros in (0.5, 0.1)),
    SkipSample("gemv_f32_skip_n512", 1.0, 1, 512, 4096, 0.05),
    SkipSample("gemv_f32_skip_n512", 1.0, 1, 512, 1024, 0.5),
    SkipSample("gemv_f32_skip_n256", 1.0, 4, 256, 1024, 0.3),
    SkipSample("gemv_f32_skip_n512", 1.0, 3, 1024, 1024, 0.1),
    *(GatedSample("gemv_f32_gated", 1.0, 1, 2048, 1024, nonzeros) for nonzeros in (1.0, 0.5, 0.1, 0.02)),
)
