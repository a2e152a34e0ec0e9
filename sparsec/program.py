"""A compiled model in Python: load an artifact, call it on arrays, read its manifest, save it elsewhere."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sparsec import run_sizes
from sparsec.artifact import Artifact, in_order_of_calls, read_artifact
from sparsec.errors import TargetError, UsageError
from sparsec.runners import NativeRunner, make_runner
from sparsec.target import Port
from sparsec.targets import web
from sparsec.transport import Transport

_ALIGNMENT = 64


def load(path: str | os.PathLike[str], threads: int = 0, isa: str | None = None) -> Program:
    """Load a compiled model (`.so` or `.wasm`).

    `threads` limits the threads of a run (0: as many as it was compiled for), `isa` forces one of the artifact's
    instruction sets, as in "avx2", where it would take the best. An ARM artifact runs under qemu on other machines.
    UsageError for a missing file or an object file, InvalidModel for anything that is no whole artifact, TargetError
    for an artifact that cannot run on this machine.
    """
    return Program(read_artifact(Path(path)), threads, isa)


class Program:
    """A loaded artifact. Calls may come from several threads at once; each has its own workspace."""

    def __init__(
        self, artifact: Artifact, threads: int = 0, isa: str | None = None, transport: Transport | None = None
    ) -> None:
        self._artifact = artifact
        self._runner = make_runner(artifact, threads, isa, transport)
        self.inputs: tuple[Port, ...] = artifact.inputs
        self.outputs: tuple[Port, ...] = artifact.outputs
        self.ranges: dict[str, tuple[int, int]] = artifact.ranges

    @property
    def name(self) -> str:
        """What the C functions of the artifact begin with."""
        return self._artifact.name

    @property
    def path(self) -> Path:
        """The artifact's file."""
        return self._artifact.path

    @property
    def manifest(self) -> dict[str, Any]:
        """What was compiled and why: the JSON that `m_manifest()` returns."""
        return self._artifact.manifest

    report = manifest

    @property
    def workspace_bytes(self) -> int:
        """Memory of a run beside inputs, outputs and weights, for each thread that calls; the most that one takes."""
        return self.manifest["workspace_bytes"]

    def workspace_bytes_for(self, **sizes: int) -> int:
        """That memory for runs of given sizes, such as batch=1, seq=128."""
        run_sizes.check(sizes, self.ranges)
        return self._artifact.workspace_bytes(sizes)

    def __call__(self, /, *arrays: Any, **named: Any) -> tuple[np.ndarray, ...]:
        """Run on inputs by position, by name, or both; returns the outputs in their order, as new arrays.

        An input is a NumPy array or any DLPack tensor in CPU memory, of exactly the port's dtype and shape: UsageError
        otherwise. Where sizes are symbols, with `ranges`, the shapes of the inputs tell them.
        """
        inputs, sizes = self._arrays(arrays, named)
        outputs = tuple(_empty(port.at(sizes)) for port in self.outputs)
        self._runner.run(inputs, outputs, sizes)
        return outputs

    def run(self, /, **inputs: Any) -> dict[str, np.ndarray]:
        """Run on inputs by name; returns the outputs by name."""
        return {port.name: array for port, array in zip(self.outputs, self(**inputs), strict=True)}

    def profile(self, repeats: int = 20, **inputs: Any) -> list[tuple[str, float]]:
        """The layers of a run in order, each with its median seconds on one thread. TargetError off the host.

        A layer of a loop has the seconds of all rounds.
        """
        if not isinstance(self._runner, NativeRunner):
            raise TargetError(f"{self.path} does not run on this machine itself, so its steps cannot be timed")
        arrays, sizes = self._arrays((), inputs)
        outputs = [_empty(port.at(sizes)) for port in self.outputs]
        calls = iter(self._runner.profile(arrays, outputs, sizes, repeats))
        seconds = {layer["step"]: 0.0 for layer in self.manifest["layers"]}
        for layer in in_order_of_calls(self.manifest["layers"], sizes):
            seconds[layer["step"]] += statistics.median(next(calls))
        return list(seconds.items())

    def time(self, seconds: float, **inputs: Any) -> list[tuple[float, float]]:
        """Of the runs in `seconds` on a device: the time of each by the clock, and of CPU. TargetError elsewhere."""
        return self._runner.time(*self._arrays((), inputs), seconds)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copy the artifact to `path` and what belongs to it beside it: its C header; scripts and weights of wasm."""
        if self._artifact.machine == "wasm32":
            web.save(self._artifact, Path(path))
            return
        _copy(self.path, Path(path))
        header = self.path.with_suffix(".h")
        if header.exists():
            _copy(header, Path(path).with_suffix(".h"))

    def _arrays(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[np.ndarray], dict[str, int]]:
        """The inputs of a run, checked, and the sizes that they tell."""
        bound = zip(self._bind(arrays, named), self.inputs, strict=True)
        given = [_as_array(value, port) for value, port in bound]
        sizes = run_sizes.sizes_of(self.inputs, given, self.ranges) if self.ranges else {}
        return [_checked(array, port.at(sizes)) for array, port in zip(given, self.inputs, strict=True)], sizes

    def _bind(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """One value for each input, in order."""
        names = [port.name for port in self.inputs]
        if len(arrays) > len(names):
            raise UsageError(f"{self.name} takes {len(names)} input(s) ({', '.join(names)}), got {len(arrays)}")
        bound = dict(zip(names, arrays, strict=False))
        if unknown := [name for name in named if name not in names]:
            raise UsageError(f"{self.name} has no input {unknown[0]!r}; its inputs are {', '.join(map(repr, names))}")
        if twice := [name for name in named if name in bound]:
            raise UsageError(f"input {twice[0]!r} is given twice, by position and by name")
        bound.update(named)
        if missing := [port for port in self.inputs if port.name not in bound]:
            raise UsageError(f"input {missing[0].name!r} ({missing[0]}) is missing")
        return [bound[name] for name in names]

    def __repr__(self) -> str:
        inputs = ", ".join(f"{port.name}: {port}" for port in self.inputs)
        outputs = ", ".join(f"{port.name}: {port}" for port in self.outputs)
        where = f" for {run_sizes.described(self.ranges)}" if self.ranges else ""
        return f"<Program {self.name}({inputs}) -> ({outputs}){where}>"


def _checked(array: np.ndarray, port: Port) -> np.ndarray:
    """`array` as a C-contiguous aligned array, without a copy where it is one."""
    if array.shape != port.shape or array.dtype != np.dtype(port.dtype):
        given = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        hint = f"; convert it with .astype(np.{port.dtype})" if array.shape == port.shape else ""
        raise UsageError(f"input {port.name!r}: expected {port}, got {given}{hint}")
    return np.require(array, requirements=("C", "A")).reshape(port.static_shape)


def _as_array(value: Any, port: Port) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"input {port.name!r}: expected {port}, got a {type(value).__name__}: {error}") from None


def _empty(port: Port) -> np.ndarray:
    """An uninitialised array that begins at a cache line."""
    dtype = np.dtype(port.dtype)
    memory = np.empty(port.nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + port.nbytes].view(dtype).reshape(port.static_shape)


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that `target` is never seen half written, and a library in use there stays whole."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sparsec-") as folder:
        copy = Path(folder) / target.name
        shutil.copy(source, copy)
        os.replace(copy, target)
