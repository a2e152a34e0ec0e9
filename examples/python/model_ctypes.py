"""Runs a model that sparsec compiled with Python's standard library alone.

    python model_ctypes.py model.so [THREADS]

The name of the model, which its functions begin with, is that of the file.
"""

from __future__ import annotations

import argparse
import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

CTYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double, "bool": ctypes.c_bool}
CTYPES |= {f"{kind}{bits}": getattr(ctypes, f"c_{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


class Threads(ctypes.Structure):
    """`model_threads` of the header: no threads lent, at most `threads` of the model's own."""

    _fields_ = (("parallel_for", ctypes.c_void_p), ("context", ctypes.c_void_p), ("threads", ctypes.c_int32))


class Model:
    """A model with the memory of one run. Threads that run at the same time need one each."""

    def __init__(self, path: Path) -> None:
        self._library, self._name = ctypes.CDLL(str(path.resolve())), path.stem
        self.inputs, self.outputs = (self._buffers(kind) for kind in ("input", "output"))
        self._workspace = ctypes.create_string_buffer(self._call("workspace_size", ctypes.c_size_t))

    def run(self, threads: int = 0) -> None:
        """Reads `inputs` and writes `outputs`: arrays of ctypes, which take and give slices and buffers."""
        host = Threads(None, None, threads)
        pointers = [(ctypes.c_void_p * len(x))(*map(ctypes.addressof, x)) for x in (self.inputs, self.outputs)]
        code = self._call("run_with", ctypes.c_int32, *pointers, self._workspace, ctypes.byref(host))
        if code != 0:
            raise RuntimeError(self._call("error", ctypes.c_char_p, code).decode())

    def shape(self, kind: str, index: int) -> tuple[int, ...]:
        """Of an "input" or "output"."""
        rank = self._call(f"{kind}_rank", ctypes.c_int32, index)
        return tuple(self._call(f"{kind}_shape", ctypes.POINTER(ctypes.c_int64), index)[:rank])

    def _buffers(self, kind: str) -> Sequence[ctypes.Array]:
        dtypes = [
            self._call(f"{kind}_dtype", ctypes.c_char_p, i).decode()
            for i in range(self._call(f"{kind}_count", ctypes.c_int32))
        ]
        return [(CTYPES[dtype] * math.prod(self.shape(kind, i)))() for i, dtype in enumerate(dtypes)]

    def _call(self, function: str, result: type, *arguments):
        function = self._library[f"{self._name}_{function}"]
        function.restype = result
        return function(*arguments)


def main() -> None:
    """Run on a ramp from 0 to 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("threads", type=int, nargs="?", default=0, help="at most; 0, the default, is the model's own")
    arguments = parser.parse_args()
    model = Model(arguments.model)
    for buffer in model.inputs:
        size = len(buffer)
        buffer[:] = [i / size for i in range(size)] if buffer._type_ is ctypes.c_float else [0] * size
    model.run(arguments.threads)
    for index, buffer in enumerate(model.outputs):
        print(f"output {model.shape('output', index)} first value {buffer[0]:.6g}")


if __name__ == "__main__":
    main()
