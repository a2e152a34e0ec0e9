"""Times kernels with their operands where a network has them.

In a network, all other layers' weights pass through the caches between two runs of a layer, so its own come from beyond
the L2; its input has just been written, and lies in the L2 as far as it fits. A kernel that runs again and again on the
same arrays finds all of them in the L2 instead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sparsec.ir.dims import fixed
from sparsec.targets.isa import LINE_BYTES
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel


class Flusher:
    """Takes all that it can out of the first two levels of cache."""

    def __init__(self, l2: int) -> None:
        self._bytes = np.ones(2 * l2, np.uint8)  # zeros would all be one page

    def flush(self) -> None:
        _touch(self._bytes)


class Timed:
    """A kernel with its arguments. Those of the indices `cold` are constants, the others activations."""

    def __init__(
        self, jit: Jit, kernel: Kernel, arrays: Sequence[np.ndarray], flusher: Flusher, cold: Sequence[int] = (1,)
    ) -> None:
        copies = [aligned_copy(array) for array in arrays]
        self._run, self._chunks, self._flusher = jit.prepared(kernel, copies), fixed(kernel.chunks), flusher
        # The result's memory was used longest ago, the first operand has just been written.
        self._warm = [copy.reshape(-1).view(np.uint8) for index, copy in enumerate(copies) if index not in cold][::-1]

    def seconds(self, runs: int) -> float:
        """The smallest time of `runs` runs."""
        best = float("inf")
        for _ in range(runs):
            self._flusher.flush()
            for array in self._warm:
                _touch(array)
            start = time.perf_counter()
            self._run(0, self._chunks)
            best = min(best, time.perf_counter() - start)
        return best


def _touch(array: np.ndarray) -> None:
    """Reads one byte of each line."""
    array[::LINE_BYTES].max(initial=0)
