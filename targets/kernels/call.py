"""What an op of the tensor IR becomes on a CPU: calls of kernels on values and on packed constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from xdsl.ir import SSAValue

from sparsec.ir.dims import Dim, fixed
from sparsec.targets.kernels.base import Kernel


@dataclass(frozen=True)
class Packed:
    """A constant arranged for a kernel. Equal keys mean equal bytes; `build` runs once, as the weights are written."""

    key: str
    build: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a run: an array of i64, one for each of the symbols `names` in this order (sorted).

    It is the last argument of kernels that hold symbolic sizes (`Kernel.symbols`), and of no others.
    """

    names: tuple[str, ...]


Argument: TypeAlias = "SSAValue | Packed | Sizes"


@dataclass(frozen=True)
class Call:
    """One kernel over operands and results of the op, packed constants and sizes, in the order of its arguments.

    `writes` are the indices of the arguments that the kernel writes; the others are only read. Where only the number of
    images is symbolic, the kernel is one for `most_images`, which takes them one by one, and runs for `images` of them.
    """

    kernel: Kernel
    arguments: tuple[Argument, ...]
    writes: tuple[int, ...]
    images: Dim | None = None
    most_images: int = 1

    @property
    def chunks(self) -> Dim:
        """The kernel's, or those of the first `images` of the images that it was written for."""
        if self.images is None:
            return self.kernel.chunks
        return fixed(self.kernel.chunks) // self.most_images * self.images
