"""Runs an artifact: in this process, under qemu, or in wasmtime. A runner fills given outputs from given inputs."""

from __future__ import annotations

import ctypes
import platform
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparsec.artifact import Artifact
from sparsec.errors import TargetError, UsageError
from sparsec.transport import LocalTransport, Transport, emulator

_BEST = -1
Arrays: TypeAlias = "Sequence[np.ndarray]"
Sizes: TypeAlias = "Mapping[str, int]"


class Runner(ABC):
    """One loaded artifact. `run` may be called from many threads at once."""

    @abstractmethod
    def run(self, inputs: Arrays, outputs: Arrays, sizes: Sizes) -> None:
        """Run on C-contiguous arrays of the artifact's dtypes and shapes. TargetError where the CPU does not fit.

        `sizes` are those of the artifact's symbols.
        """

    def time(self, inputs: Arrays, sizes: Sizes, seconds: float) -> list[tuple[float, float]]:
        """Of the runs in `seconds`, after a warm-up: seconds by the clock, and of CPU time; where others keep time."""
        raise TargetError("runs in this process are timed by whoever calls them")


def make_runner(artifact: Artifact, threads: int, isa: str | None, transport: Transport | None = None) -> Runner:
    """The runner for the artifact's machine, or on the one behind `transport`.

    `threads` 0 is the artifact's own number, `isa` None the best one.
    """
    if threads < 0:
        raise UsageError(f"threads={threads}: give at least 1, or 0 for the number that the artifact was compiled for")
    index = _isa_index(artifact, isa)
    if transport is not None:
        return _device_runner(artifact, threads, index, transport)
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if artifact.machine == "wasm32":
        from sparsec.wasm_runner import WasmRunner  # it is a Runner

        return WasmRunner(artifact, threads, index)
    if (artifact.machine, artifact.system) == (machine, platform.system()):
        return NativeRunner(artifact, threads, index)
    if (artifact.machine, artifact.system) == ("aarch64", "Linux"):
        return _emulated(artifact, threads, index)
    here = f"{machine} {platform.system()}"
    system = artifact.system.replace("Darwin", "macOS")
    raise TargetError(f"{artifact.path}: compiled for {artifact.machine} {system}, and this is {here}")


def _device_runner(artifact: Artifact, threads: int, isa: int, transport: Transport) -> Runner:
    from sparsec.devices import DeviceRunner  # only this runner needs what targets import

    return DeviceRunner(artifact, transport, threads, isa)


def _emulated(artifact: Artifact, threads: int, isa: int) -> Runner:
    try:
        transport = LocalTransport("qemu", artifact.machine, emulator())
    except TargetError as error:
        raise TargetError(f"{artifact.path}: {error}") from None
    return _device_runner(artifact, threads, isa, transport)


def _isa_index(artifact: Artifact, isa: str | None) -> int:
    names = artifact.manifest["isas"]
    if isa is not None and isa not in names:
        raise UsageError(f"{artifact.path}: no code for ISA {isa!r}; it has {', '.join(names)}")
    return _BEST if isa is None else names.index(isa)


class _Threads(ctypes.Structure):
    """`m_threads` of the artifact's header."""

    _fields_ = (("parallel_for", ctypes.c_void_p), ("context", ctypes.c_void_p), ("threads", ctypes.c_int32))


class NativeRunner(Runner):
    """Calls the C ABI in this process; each Python thread has its own workspace, made at its first run."""

    def __init__(self, artifact: Artifact, threads: int, isa: int) -> None:
        try:
            self._library = ctypes.CDLL(_spelling(artifact.path))
        except OSError as error:
            raise TargetError(f"{artifact.path}: cannot be loaded: {error}") from None
        weakref.finalize(self, _close, self._library._handle).atexit = False
        self._artifact, self._name, self._isa = artifact, artifact.name, isa
        self._threads = _Threads(None, None, threads)
        sized = "_sized" if artifact.ranges else ""
        best = "run" if sized else "run_with"
        self._run = self._function(best + sized if isa == _BEST else f"run_isa{sized}", ctypes.c_int32)
        self._local = threading.local()

    def run(self, inputs: Arrays, outputs: Arrays, sizes: Sizes) -> None:
        host = ctypes.byref(self._threads)
        isa = () if self._isa == _BEST else (ctypes.c_int32(self._isa),)
        code = self._run(*self._arguments(inputs, outputs, sizes), host, *isa)
        if code != 0:
            raise self._error(code)

    def profile(self, inputs: Arrays, outputs: Arrays, sizes: Sizes, repeats: int) -> list[list[float]]:
        """Seconds of each step in each of `repeats` runs, on this thread alone."""
        run = self._function("run_step_sized" if sizes else "run_step", ctypes.c_int32)
        arguments = self._arguments(inputs, outputs, sizes)
        count = self._function("step_count_for" if sizes else "step_count", ctypes.c_int32)
        steps = range(count(arguments[0]) if sizes else count())
        times: list[list[float]] = [[] for _ in steps]
        for _ in range(repeats):
            for step in steps:
                start = time.perf_counter()
                code = run(*arguments, step)
                times[step].append(time.perf_counter() - start)
                if code != 0:
                    raise self._error(code)
        return times

    def _arguments(self, inputs: Arrays, outputs: Arrays, sizes: Sizes) -> tuple[Any, ...]:
        """What the functions that run begin with."""
        array = ((ctypes.c_int64 * len(sizes))(*(sizes[name] for name in self._artifact.ranges)),) if sizes else ()
        return *array, _pointers(inputs), _pointers(outputs), self._workspace(sizes)

    def _workspace(self, sizes: Sizes) -> ctypes.c_void_p:
        """The thread's own, as large as any of its runs needed so far."""
        nbytes, local = self._artifact.workspace_bytes(sizes), self._local
        if not hasattr(local, "workspace") or local.workspace.nbytes < nbytes:
            local.workspace = np.empty(nbytes, np.uint8)
        return ctypes.c_void_p(local.workspace.ctypes.data)

    def _error(self, code: int) -> TargetError:
        return TargetError(self._function("error", ctypes.c_char_p)(code).decode())

    def _function(self, name: str, result: Any) -> Any:
        function = self._library[f"{self._name}_{name}"]
        function.restype = result
        return function


def _close(handle: int) -> None:
    """What ctypes never does: gives back an artifact and the weights in it, which nobody runs any more."""
    close = ctypes.CDLL(None).dlclose
    close.argtypes = (ctypes.c_void_p,)
    close(handle)


_loaded: dict[Path, list[tuple[int, int]]] = {}


def _spelling(path: Path) -> str:
    """`path`, spelled in a new way for each file that stood there: dlopen returns a library that it has by that name.

    Otherwise a model compiled again to the same path would run the old code.
    """
    path = path.resolve()
    info = path.stat()
    files = _loaded.setdefault(path, [])
    if (info.st_dev, info.st_ino) not in files:
        files.append((info.st_dev, info.st_ino))
    return f"{path.parent}/{'./' * files.index((info.st_dev, info.st_ino))}{path.name}"


def _pointers(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
