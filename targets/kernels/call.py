"""What an op of the tensor IR becomes on a CPU: calls of kernels on values and on packed constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sparsec.targets.kernels.base import Kernel
from xdsl.ir import SSAValue


@dataclass(frozen=True)
class Packed:
    """A constant arranged for a kernel. Equal keys mean equal bytes; `build` runs once, when the weights are written."""

    key: str
    build: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Call:
    """One kernel over values of the function (operands and results of the op) and packed constants, in argument order.

    `writes` are the indices of the arguments that the kernel writes; the others are only read.
    """

    kernel: Kernel
    arguments: tuple[SSAValue | Packed, ...]
    writes: tuple[int, ...]
