"""What calibration measures: layers, by the family of their kernels. A family's costs are fitted to its own samples.

A kernel that counts a new event needs samples here in which the event is a good part of the time, or the fit is blind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.samples.bf16 import CONV_BF16, LINEAR_BF16
from sparsec.targets.samples.conv import CONV, CONV_AMX, CONV_WASM
from sparsec.targets.samples.linear import LINEAR
from sparsec.targets.samples.others import MAPS, WINDOWS


class Sample(Protocol):
    """A layer of random weights."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of its weights, before packing."""
        ...

    def kernel(self) -> Kernel:
        """What runs it."""
        ...

    def weight(self) -> np.ndarray:
        """Its weights."""
        ...

    def arrays(self, kernel: Any, weight: np.ndarray, /) -> list[np.ndarray]:
        """The arguments of the kernel: the packed weights are the second."""
        ...


FAMILIES: Mapping[str, Sequence[Sample]] = {"convolution": CONV, "linear": LINEAR, "window": WINDOWS, "map": MAPS}
AMX_FAMILIES: Mapping[str, Sequence[Sample]] = {"convolution on tiles": CONV_AMX}
BF16_FAMILIES: Mapping[str, Sequence[Sample]] = {"bf16 convolution": CONV_BF16, "bf16 linear": LINEAR_BF16}


def families(isa: Isa) -> Mapping[str, Sequence[Sample]]:
    """What is measured for `isa`: kernels of bf16 only where it is for them, and those that it alone gets."""
    if isa.wasm:
        return {**FAMILIES, "convolution": (*CONV, *CONV_WASM)}
    on_tiles = AMX_FAMILIES if isa.tiles else {}
    return {**FAMILIES, **on_tiles, **(BF16_FAMILIES if isa.bf16_dot and not isa.base else {})}


__all__ = ["AMX_FAMILIES", "BF16_FAMILIES", "FAMILIES", "Sample", "families"]
