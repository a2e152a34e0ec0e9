"""Runs WebAssembly modules in wasmtime."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np

from sparsec.artifact import Artifact
from sparsec.errors import InvalidModel, TargetError, UsageError
from sparsec.runners import Arrays, Runner, Sizes
from sparsec.targets.web import HEADER


class WasmRunner(Runner):
    """One run at a time on one thread, for an instance has one memory.

    `isa` is the index of the ISA in the manifest, or negative for the first: code for all but the last is a module of
    its own that works on the memory of the artifact's; see targets/link_wasm.py.
    """

    def __init__(self, artifact: Artifact, threads: int, isa: int) -> None:
        if threads > 1:
            raise UsageError(f"{artifact.path} runs on one thread here; its m.js has workers")
        try:
            self._wasmtime = importlib.import_module("wasmtime")
        except ImportError:
            raise TargetError(f"{artifact.path}: to run a .wasm here install wasmtime: pip install wasmtime") from None
        self._name, self._layout, self._lock = artifact.name, artifact.manifest["layout"], threading.Lock()
        try:
            self._instantiate(artifact, artifact.manifest["isas"][max(isa, 0)])
        except self._wasmtime.WasmtimeError as error:
            raise TargetError(f"{artifact.path}: wasmtime refuses the module: {error}") from None
        _load_weights(artifact, self._bytes())

    def run(self, inputs: Arrays, outputs: Arrays, sizes: Sizes) -> None:
        ports, pointers = self._layout["ports"], self._layout["pointers"]
        with self._lock:
            memory = self._bytes()
            memory[pointers : pointers + 4 * len(ports)] = np.array(ports, np.uint32).view(np.uint8)
            for array, address in zip(inputs, ports, strict=False):
                memory[address : address + array.nbytes] = array.reshape(-1).view(np.uint8)
            run = self._exports[f"{self._name}_run"]
            code = run(self._store, pointers, pointers + 4 * len(inputs), self._layout["workspace"])
            if code != 0:
                raise TargetError(f"the module returned error {code}")
            for array, address in zip(outputs, ports[len(inputs) :], strict=True):
                array.reshape(-1).view(np.uint8)[:] = memory[address : address + array.nbytes]

    def _instantiate(self, artifact: Artifact, isa: str) -> None:
        wasmtime, pages = self._wasmtime, self._layout["pages"]
        config = wasmtime.Config()
        config.wasm_relaxed_simd = config.wasm_threads = config.shared_memory = True
        engine = wasmtime.Engine(config)
        self._store = wasmtime.Store(engine)
        module = wasmtime.Module.from_file(engine, str(artifact.path))
        given: list[Any] = []
        if artifact.manifest["threads"] > 1:
            given = [_shared_memory(wasmtime, engine, pages)]
        self._exports = wasmtime.Instance(self._store, module, given).exports(self._store)
        self._memory = given[0] if given else self._exports["memory"]
        if not given:
            self._memory.grow(self._store, max(0, pages - self._memory.size(self._store)))
        if isa != artifact.manifest["isas"][-1]:
            inner = wasmtime.Module(engine, artifact.section(f"sparsec.{isa}"))
            self._exports = wasmtime.Instance(self._store, inner, [self._memory]).exports(self._store)

    def _bytes(self) -> np.ndarray:
        shared = isinstance(self._memory, self._wasmtime.SharedMemory)
        where = () if shared else (self._store,)
        return np.ctypeslib.as_array(self._memory.data_ptr(*where), (self._memory.data_len(*where),))


def _shared_memory(wasmtime: Any, engine: Any, pages: int) -> Any:
    """A memory that a module of threads imports; wasmtime 50 takes a pointer too many to pass it on."""
    ffi = importlib.import_module("wasmtime._ffi")

    class SharedMemory(wasmtime.SharedMemory):
        def _as_extern(self) -> Any:
            return ffi.wasmtime_extern_t(
                ffi.WASMTIME_EXTERN_SHAREDMEMORY, ffi.wasmtime_extern_union(sharedmemory=self.ptr())
            )

    return SharedMemory(engine, wasmtime.MemoryType(wasmtime.Limits(pages, pages), shared=True))


def _load_weights(artifact: Artifact, memory: np.ndarray) -> None:
    """Read the files of weights, where they are not in the module."""
    address = artifact.manifest["layout"]["weights"]
    for entry in artifact.manifest["weights_files"]:
        path = artifact.path.with_name(entry["name"])
        if not path.is_file():
            raise UsageError(f"{path}: no such file; it holds weights of {artifact.path}")
        with path.open("rb") as file:
            if file.read(HEADER)[8:24].hex() != entry["digest"]:
                raise InvalidModel(f"{path} belongs to another compilation than {artifact.path}")
            if file.readinto(memory[address : address + entry["bytes"]].data) != entry["bytes"]:
                raise InvalidModel(f"{path}: the file is truncated; compile the model again")
        address += entry["bytes"]
