"""Runs a model that sparsec compiled as a module of TVM-FFI: no copies of tensors, whatever library they come from.

pip install apache-tvm-ffi numpy
python model_tvm_ffi.py model.so
"""

from __future__ import annotations

import argparse
import json
import math
import os

import numpy as np
import tvm_ffi


class Model:
    """A model with the workspace of one run. Threads that run at the same time need one each."""

    def __init__(self, path: str) -> None:
        self._module = tvm_ffi.load_module(os.path.abspath(path))
        self.manifest = json.loads(self._module.manifest())
        self._workspace = np.empty(self._module.workspace_size(), np.uint8)

    def run(self, *tensors) -> None:
        """Inputs, then outputs, which are written: DLPack tensors in CPU memory, of PyTorch, JAX, NumPy and others."""
        self._module.run(*map(tvm_ffi.from_dlpack, (*tensors, self._workspace)))


def ramp(shape: list[int], dtype: str) -> np.ndarray:
    """Numbers from 0 to below 1."""
    return np.linspace(0, 1, math.prod(shape), endpoint=False).astype(dtype).reshape(shape)


def main() -> None:
    """Run on a ramp from 0 to 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    model = Model(parser.parse_args().model)
    inputs = [ramp(port["shape"], port["dtype"]) for port in model.manifest["inputs"]]
    outputs = [np.empty(port["shape"], port["dtype"]) for port in model.manifest["outputs"]]
    model.run(*inputs, *outputs)
    for output in outputs:
        print(f"output {output.shape} first value {output.ravel()[0]:.6g}")


if __name__ == "__main__":
    main()
