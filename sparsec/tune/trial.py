"""What is measured, and who measures: the seam between the search and the devices that run kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel

READY = "ready"  # what a worker says first


@dataclass(frozen=True)
class Activation:
    """An argument that is no constant: `nbytes` of `element`, on which random numbers do."""

    element: str
    nbytes: int

    def array(self, nonzeros: float = 1.0) -> np.ndarray:
        """Random numbers, of which a share of `nonzeros` is not zero, or zeros where the element is not f32."""
        if self.element != "f32":
            return np.zeros(self.nbytes, np.uint8)
        random = np.random.default_rng(0)
        values = random.standard_normal(self.nbytes // 4, dtype=np.float32)
        return values if nonzeros == 1 else np.where(random.random(values.shape) < nonzeros, values, np.float32(0))


@dataclass(frozen=True)
class Trial:
    """A kernel for one ISA with its arguments: packed constants as arrays, the others by their size."""

    kernel: Kernel
    isa: Isa
    arguments: tuple[np.ndarray | Activation, ...]

    def arrays(self) -> list[np.ndarray]:
        """All arguments, as arrays: activations with as many zeros as the kernel expects."""
        nonzeros = getattr(self.kernel, "nonzeros", 1.0)
        return [x.array(nonzeros) if isinstance(x, Activation) else x for x in self.arguments]

    @property
    def constants(self) -> list[int]:
        """Which arguments are constants."""
        return [index for index, x in enumerate(self.arguments) if isinstance(x, np.ndarray)]


class MeasurementFailed(Exception):
    """A candidate crashed, hung, or could not be built. Others can still be measured."""


class OutOfTime(MeasurementFailed):
    """No answer in time: the candidate hangs, or the machine was busy, so that another try may succeed."""


class Measurer(Protocol):
    """Something that runs kernels: a process of this machine, or a device elsewhere."""

    def seconds(self, trial: Trial) -> float:
        """The time of one run, operands placed as in a network. Raises MeasurementFailed."""
        ...
