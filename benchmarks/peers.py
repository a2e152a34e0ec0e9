"""Timing side by side, and the engines that our kernels are compared with, each where it is installed."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from layers import Layer

from sparsec.targets.jit import aligned_copy

LAYERS = 8  # sets of weights in rotation


@dataclass
class Contender:
    """Something to time: `run` computes the layer `count` times."""

    label: str
    run: Callable[[], object]
    count: int
    density: float
    seconds: float = 0.0


def alternate(contenders: Sequence[Contender], rounds: int) -> None:
    """Sets each contender's median seconds for one layer. They take turns: a run to warm up, a run that counts.

    Seconds are CPU time, which on one thread is the wall time less what other processes took of the core.
    """
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, own in zip(contenders, times, strict=True):
            contender.run()
            start = time.process_time()
            contender.run()
            own.append((time.process_time() - start) / contender.count)
    for contender, own in zip(contenders, times, strict=True):
        contender.seconds = statistics.median(own)


def warm(contenders: Sequence[Contender], rounds: int) -> np.ndarray:
    """The smallest CPU time of each contender right after a run of itself; they take turns."""
    times = np.full(len(contenders), np.inf)
    for _ in range(rounds):
        for index, contender in enumerate(contenders):
            contender.run()
            for _ in range(3):
                start = time.process_time()
                contender.run()
                times[index] = min(times[index], time.process_time() - start)
    return times


def openvino(layer: Layer, precision: str) -> Contender | None:
    """A chain of the layer (and, where its sizes differ, of the layer back), one thread."""
    try:
        import openvino as ov
        from openvino import opset13 as op
    except ImportError:
        return None
    if layer.stride != 1 or layer.groups != 1:
        return None
    x = y = op.parameter([1, layer.channels, layer.height, layer.width], np.float32)
    back = Layer(layer.outputs, layer.channels, layer.height, layer.width, layer.taps)
    for seed in range(LAYERS):
        pad = [layer.taps // 2] * 2
        weight = (back if seed % 2 and layer.channels != layer.outputs else layer).weight(1.0, seed)
        y = op.relu(op.convolution(y, op.constant(weight), [1, 1], pad, pad, [1, 1]))
    model = ov.Model([y], [x], "chain")  # pyright: ignore[reportGeneralTypeIssues]
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(model, "CPU", {**options, "ENABLE_CPU_PINNING": False})
    request = compiled.create_infer_request()
    image = np.random.default_rng(0).standard_normal((1, layer.channels, layer.height, layer.width), dtype=np.float32)
    request.set_input_tensor(ov.Tensor(image))
    return Contender(f"openvino {precision} (chain)", request.infer, LAYERS, 1.0)


class Mkl:
    """CSR × dense of Intel MKL, through its C interface; matrices are optimised before they are timed."""

    def __init__(self) -> None:
        found = [Path(sys.prefix) / "lib" / "libmkl_rt.so.3", Path(sys.prefix) / "lib" / "libmkl_rt.so.2"]
        path = next((str(p) for p in found if p.exists()), ctypes.util.find_library("mkl_rt"))
        if path is None:
            raise OSError("mkl is not installed")
        os.environ["MKL_NUM_THREADS"] = "1"
        self._library = ctypes.CDLL(path)
        self._keep: list[object] = []

    def contender(self, layer: Layer, density: float, layers: int) -> Contender:
        pixels = layer.height * layer.width
        x = aligned_copy(np.random.default_rng(1).standard_normal((layer.channels, pixels), dtype=np.float32))
        y = aligned_copy(np.zeros((layer.outputs, pixels), np.float32))
        general = (ctypes.c_int * 3)(20, 0, 0)  # SPARSE_MATRIX_TYPE_GENERAL
        handles = [self._matrix(layer.weight(density, seed)[:, :, 0, 0], general, pixels) for seed in range(layers)]
        struct = _Description(20, 0, 0)

        def run() -> None:
            for handle in handles:
                status = self._library.mkl_sparse_s_mm(
                    10, ctypes.c_float(1), handle, struct, 101, ctypes.c_void_p(x.ctypes.data), pixels, pixels,
                    ctypes.c_float(0), ctypes.c_void_p(y.ctypes.data), pixels,
                )  # fmt: skip
                assert status == 0, status

        return Contender("mkl csr", run, layers, density)

    def _matrix(self, weight: np.ndarray, general: object, pixels: int) -> ctypes.c_void_p:
        rows, columns = np.nonzero(weight)
        starts = np.searchsorted(rows, np.arange(len(weight) + 1)).astype(np.int32)
        columns, values = columns.astype(np.int32), weight[rows, columns].astype(np.float32)
        self._keep += [starts, columns, values]
        handle = ctypes.c_void_p()
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (starts[:-1], starts[1:], columns, values)]
        status = self._library.mkl_sparse_s_create_csr(ctypes.byref(handle), 0, *weight.shape, *pointers)
        assert status == 0, status
        self._library.mkl_sparse_set_mm_hint(handle, 10, _Description(20, 0, 0), 101, pixels, 1000)
        self._library.mkl_sparse_optimize(handle)
        return handle


class _Description(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int)]
