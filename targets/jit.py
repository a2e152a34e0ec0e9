"""Runs kernels in this process, for tests and for calibration."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np

from sparsec.ir.dims import fixed
from sparsec.targets.codegen import optimised
from sparsec.targets.isa import Isa, tiles_allowed
from sparsec.targets.kernels.base import Kernel

ALIGNMENT = 64


def aligned(nbytes: int) -> np.ndarray:
    """Zeroed bytes whose first is 64-byte aligned."""
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A contiguous copy whose first element is 64-byte aligned, as kernels may ask of weights and arena buffers."""
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def sizes(kernel: Kernel, arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """The sizes of a run with these arguments, of which the last one holds them."""
    return dict(zip(kernel.symbols, map(int, arrays[-1]), strict=True)) if kernel.symbols else {}


class Jit:
    """Kernels compiled for this machine. `jit(kernel, arrays)` runs one on contiguous NumPy arrays, in place.

    Arrays must be as aligned as the kernel was told that they are: see `aligned_copy`.
    """

    def __init__(self, kernels: Sequence[Kernel], isa: Isa) -> None:
        self._isa = isa
        if isa.tiles and not tiles_allowed():
            raise OSError(f"Linux does not let this process use the tiles of {isa.name}")
        # MCJIT owns the module and the machine from here on, and frees them with itself.
        with optimised(kernels, isa, jit=True) as (module, machine):
            self._engine = llvm.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()

    def __call__(self, kernel: Kernel, arrays: Sequence[np.ndarray], begin: int = 0, end: int | None = None) -> None:
        """Runs the chunks [begin, end) of `kernel` (default: all) with fresh scratch."""
        self.prepared(kernel, arrays)(begin, fixed(kernel.chunks, sizes(kernel, arrays)) if end is None else end)

    def prepared(self, kernel: Kernel, arrays: Sequence[np.ndarray], scratch: np.ndarray | None = None) -> Prepared:
        """A call that can be repeated without overhead, for timing; it keeps the arrays alive.

        It has `scratch` of its own, unless it shares that of others, as layers of a network do.
        """
        address = self._engine.get_function_address(f"{kernel.symbol}{self._isa.suffix}")
        if not address:
            raise KeyError(f"{kernel.symbol} is not among the compiled kernels")
        own = aligned(fixed(kernel.scratch, sizes(kernel, arrays))) if scratch is None else scratch
        return Prepared(self._engine, address, arrays, own)


class Prepared:
    """A kernel with its arguments: call it with `begin` and `end`."""

    def __init__(
        self, engine: llvm.ExecutionEngine, address: int, arrays: Sequence[np.ndarray], scratch: np.ndarray
    ) -> None:
        if not all(array.flags.c_contiguous for array in arrays):
            raise ValueError("kernels take contiguous arrays")
        buffers = [*arrays, scratch]
        self._keep = engine, buffers
        self._pointers = [array.ctypes.data for array in buffers]
        types = [ctypes.c_void_p] * len(self._pointers) + [ctypes.c_int64] * 2
        self._function = ctypes.CFUNCTYPE(None, *types)(address)

    def __call__(self, begin: int, end: int) -> None:
        self._function(*self._pointers, begin, end)
