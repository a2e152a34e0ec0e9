"""Runs kernels on any ISA: x86 in this process, NEON under qemu, WebAssembly under wasmtime.

    outputs = run_kernel(kernel, isa, [x, weights, y])          all arrays as they are after the run
    results = run_kernels([(kernel, arrays), ...], isa)         many kernels, compiled and linked once

Arrays are copied into 64-byte aligned memory between marked bytes: a kernel that writes next to an argument fails the
test. On x86 and ARM, the arguments named in `flush` end at a page that cannot be read, as a user's buffer may; they are
aligned to their elements only. A test is skipped, with the reason, where the machine cannot run the ISA.
"""

from __future__ import annotations

import ctypes
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from sparsec.ir.dims import fixed
from sparsec.targets import codegen
from sparsec.targets.isa import ISAS, Isa, host_isas
from sparsec.targets.jit import Jit, sizes
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.tools import zig

GUARD, MARK = 256, 0x5A
Run = tuple[Kernel, Sequence[np.ndarray]]

every_isa = pytest.mark.parametrize("isa", ISAS.values(), ids=ISAS)


def spread(
    name: str, values: Mapping[str, Any], rows: Mapping[str, Any], isas: Collection[Isa] = tuple(ISAS.values())
) -> pytest.MarkDecorator:
    """Parameters `row` and `name`, each with each, on all ISAs of x86 and in turn on one of the others.

    So these, on which a kernel differs by the builder alone, get each row and each value, but not each with each.
    """
    x86 = [isa for isa in isas if isa.x86]
    elsewhere = [isa for isa in isas if not isa.x86]
    sets = []
    for i, (row_name, row) in enumerate(rows.items()):
        for j, (value_name, value) in enumerate(values.items()):
            used = [*x86, elsewhere[(i + j) % len(elsewhere)]]
            sets += [pytest.param(isa, row, value, id=f"{value_name}-{row_name}-{isa.name}") for isa in used]
    return pytest.mark.parametrize(("isa", "row", name), sets)


def chunks(kernel: Kernel, arrays: Sequence[np.ndarray]) -> int:
    """The chunks of a run with these arguments, of which the last one holds sizes that the kernel has in symbols."""
    return fixed(kernel.chunks, sizes(kernel, arrays))


def run_kernel(
    kernel: Kernel,
    isa: Isa,
    arrays: Sequence[np.ndarray],
    begin: int = 0,
    end: int | None = None,
    flush: Sequence[int] = (),
) -> list[np.ndarray]:
    """All `arrays` after the chunks [begin, end) of `kernel` (default: all) ran on copies of them."""
    return run_kernels([(kernel, arrays)], isa, begin, end, flush)[0]


def run_kernels(
    runs: Sequence[Run], isa: Isa, begin: int = 0, end: int | None = None, flush: Sequence[int] = ()
) -> list[list[np.ndarray]]:
    """As `run_kernel`, for many kernels with their arrays."""
    if isa.wasm:
        return _run_wasm(runs, isa, begin, end)
    if not isa.x86:
        return _run_qemu(runs, isa, begin, end, flush)
    if isa.name not in {host.name for host in host_isas("bf16")}:
        pytest.skip(f"this CPU has no {isa.name}")
    jit = Jit([kernel for kernel, _ in runs], isa)
    return [_run_host(jit, kernel, arrays, begin, end, flush) for kernel, arrays in runs]


def _run_host(
    jit: Jit, kernel: Kernel, arrays: Sequence[np.ndarray], begin: int, end: int | None, flush: Sequence[int]
) -> list[np.ndarray]:
    copies = [guarded(array, index in flush) for index, array in enumerate(arrays)]
    jit(kernel, [inner for _, inner in copies], begin, end)
    for index, (outer, inner) in enumerate(copies):
        check_marks(outer, inner, f"{kernel.name} argument {index}")
    return [inner.copy() for _, inner in copies]


def guarded(array: np.ndarray, flush: bool) -> tuple[np.ndarray, np.ndarray]:
    """Marked memory, and a copy of `array` inside: 64-byte aligned, or flush with the end, before a guard page."""
    size = array.nbytes + 2 * GUARD
    outer = _before_guard_page(size) if flush else np.empty(size + 64, np.uint8)
    outer[:] = MARK
    start = len(outer) - array.nbytes if flush else GUARD + -(outer.ctypes.data + GUARD) % 64
    inner = outer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    inner[...] = array
    return outer, inner


def check_marks(outer: np.ndarray, inner: np.ndarray, where: str) -> None:
    """Fails where the marked memory `outer` was written outside `inner`."""
    start = inner.ctypes.data - outer.ctypes.data if inner.size else 0
    _check_marks(np.delete(outer, range(start, start + inner.nbytes)), where)


def _before_guard_page(nbytes: int) -> np.ndarray:
    size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    page = ctypes.c_void_p(whole.ctypes.data + size)
    if libc.mprotect(page, ctypes.c_size_t(mmap.PAGESIZE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    return whole[size - nbytes : size]


def _check_marks(marks: np.ndarray, where: str) -> None:
    assert (marks == MARK).all(), f"{where}: written outside its bytes"


def _run_qemu(
    runs: Sequence[Run], isa: Isa, begin: int, end: int | None, flush: Sequence[int]
) -> list[list[np.ndarray]]:
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-aarch64-static is not installed")
    kernels = {kernel.symbol: kernel for kernel, _ in runs}
    order = list(kernels)
    packed = [struct.pack("<q", len(runs))]
    for kernel, arrays in runs:
        limit = chunks(kernel, arrays) if end is None else end
        head = order.index(kernel.symbol), len(arrays), fixed(kernel.scratch, sizes(kernel, arrays)), begin, limit
        packed.append(struct.pack("<5q", *head))
        packed += [struct.pack("<2q", i in flush, a.nbytes) + a.tobytes() for i, a in enumerate(arrays)]
    with tempfile.TemporaryDirectory() as folder:
        program = _link_qemu(Path(folder), list(kernels.values()), isa)
        done = subprocess.run([qemu, program], input=b"".join(packed), stdout=subprocess.PIPE, check=False)
    assert done.returncode != 3, "a kernel wrote outside the bytes of an argument"
    assert done.returncode == 0, f"qemu ended with {done.returncode}"
    return _unpack(done.stdout, runs)


def _link_qemu(folder: Path, kernels: list[Kernel], isa: Isa) -> Path:
    names = [f"{kernel.symbol}{isa.suffix}" for kernel in kernels]
    table = "".join(f"declare void @{name}()\n" for name in names)
    table += f"@kernel_table = constant [{len(names)} x ptr] [{', '.join(f'ptr @{name}' for name in names)}]\n"
    code = codegen.emit_object(kernels, isa)  # first of all: it registers LLVM's targets
    machine = llvm.Target.from_triple(isa.triple).create_target_machine(reloc="static")
    module = llvm.parse_assembly(table, llvm.create_context())
    parts = {"driver": _driver(), "kernels": code, "table": machine.emit_object(module)}
    for name, content in parts.items():
        (folder / f"{name}.o").write_bytes(content)
    zig("ld.lld", "-static", "-o", folder / "run", *(folder / f"{name}.o" for name in parts))
    return folder / "run"


@cache
def _driver() -> bytes:
    source = Path(__file__).with_name("qemu_driver.c")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "driver.o"
        flags = (
            "-target",
            "aarch64-freestanding",
            "-O1",
            "-ffreestanding",
            "-fno-sanitize=all",
            "-fno-stack-protector",
        )
        zig("cc", *flags, "-c", source, "-o", target)
        return target.read_bytes()


def _run_wasm(runs: Sequence[Run], isa: Isa, begin: int, end: int | None) -> list[list[np.ndarray]]:
    wasmtime = pytest.importorskip("wasmtime", reason="wasmtime is not installed")
    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    store = wasmtime.Store(wasmtime.Engine(config))
    module = wasmtime.Module(store.engine, _link_wasm([kernel for kernel, _ in runs], isa))
    exports = wasmtime.Instance(store, module, []).exports(store)
    memory = exports["memory"]
    results = []
    for kernel, arrays in runs:
        # Each run gets fresh pages behind all others, so that marks stay where they are.
        lengths = [array.nbytes for array in arrays] + [fixed(kernel.scratch, sizes(kernel, arrays))]
        start = memory.data_len(store)
        offsets = list(np.cumsum([start, *(-(-size // 64) * 64 + 2 * GUARD for size in lengths)]))
        memory.grow(store, (int(offsets[-1]) - start) // 65536 + 1)
        memory.write(store, bytes([MARK]) * (int(offsets[-1]) - start), start)
        places = [int(offset) + GUARD for offset in offsets[:-1]]
        for array, place in zip(arrays, places, strict=False):
            memory.write(store, array.tobytes(), place)
        function = exports[f"{kernel.symbol}{isa.suffix}"]
        function(store, *places, begin, chunks(kernel, arrays) if end is None else end)
        out = np.frombuffer(memory.read(store, start, int(offsets[-1])), np.uint8)
        results.append(_read_guarded(out, [p - start for p in places], lengths, arrays, kernel.name))
    return results


def _read_guarded(
    memory: np.ndarray, places: list[int], sizes: list[int], arrays: Sequence[np.ndarray], name: str
) -> list[np.ndarray]:
    inside = np.zeros(len(memory), bool)
    for place, size in zip(places, sizes, strict=True):
        inside[place : place + size] = True
    _check_marks(memory[~inside], name)
    pieces = [memory[place : place + a.nbytes] for place, a in zip(places, arrays, strict=False)]
    return [piece.copy().view(a.dtype).reshape(a.shape) for piece, a in zip(pieces, arrays, strict=True)]


def _link_wasm(kernels: list[Kernel], isa: Isa) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernels.o", Path(folder) / "kernels.wasm"
        source.write_bytes(codegen.emit_object(kernels, isa))
        zig("wasm-ld", "--no-entry", "--export-all", "-o", target, source)
        return target.read_bytes()


def _unpack(stream: bytes, runs: Sequence[Run]) -> list[list[np.ndarray]]:
    results, at = [], 0
    for _, arrays in runs:
        results.append([])
        for array in arrays:
            piece = np.frombuffer(stream[at : at + array.nbytes], array.dtype)
            results[-1].append(piece.reshape(array.shape).copy())
            at += array.nbytes
    assert at == len(stream)
    return results
