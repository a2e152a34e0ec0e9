"""What the kernels of linear layers have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.epilogue import Epilogue


@dataclass(frozen=True)
class LinearKernel(Kernel):
    """y[tokens, m] = epilogue(Σ x[tokens, k] · w[m, k]). Arguments: x, the packed weights, the epilogue's extras, y."""

    tokens: int
    m: int
    k: int
    epilogue: Epilogue

    sparse = True

    @property
    def sizes(self) -> dict[str, int]:
        """What tells this kernel from others of its class for the same layer; tuning searches over them."""
        return {}

    @property
    def reason(self) -> str:
        """What is cheap about the kernel, for `explain`, where its costs do not tell."""
        return ""

    def suits(self, isa: Isa) -> bool:
        """Whether the kernel may be chosen for this ISA: it runs on all, but others may be made for some."""
        return True

    @property
    @abstractmethod
    def layout(self) -> str:
        """Names the order of the packed weights: equal names, equal bytes."""

    @abstractmethod
    def pack(self, w: np.ndarray) -> np.ndarray:
        """[M, K] as the kernel reads it."""

    @abstractmethod
    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        """What the kernel does with the weights `w` that costs time, over all chunks on one core (see `CostModel`)."""


def far(nbytes: float, caches: Caches) -> float:
    """Bytes of weights that come from beyond the second-level cache, where `nbytes` are read."""
    return nbytes if nbytes > caches.l2 / 2 else 0.0
