"""No byte outside the caller's buffers is touched, at any alignment that the ABI allows."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import pytest
from artifact import toy

from sparsec.program import load

NO_ACCESS = 0
CPU_UNFIT = 2
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, *[ctypes.c_size_t] * 5)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(size: int, at_end: bool) -> np.ndarray:
    """Memory of `size` bytes between two pages without access, against the first or the last of them."""
    page = mmap.PAGESIZE
    inner = -(-size // page) * page
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = LIBC.mmap(None, inner + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, private, 2**64 - 1, 0)
    for guard in (base, base + page + inner):
        assert LIBC.mprotect(guard, page, NO_ACCESS) == 0
    start = base + page + (inner - size if at_end else 0)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(start))


def run_guarded(path, x: np.ndarray, isa: int, at_end: bool) -> bool:
    """Whether a run between guards gives what it should; a fault ends the process."""
    library = ctypes.CDLL(str(path))
    library.toy_workspace_size.restype = ctypes.c_size_t
    source, result, workspace = (guarded(n, at_end) for n in (x.nbytes, x.nbytes, library.toy_workspace_size()))
    source[:] = x.reshape(-1).view(np.uint8)
    pointers = [(ctypes.c_void_p * 1)(memory.ctypes.data) for memory in (source, result)]
    code = library.toy_run_isa(*pointers, ctypes.c_void_p(workspace.ctypes.data), None, isa)
    y = result.view(np.float32).reshape(x.shape)
    return code == CPU_UNFIT or (code == 0 and np.allclose(y, toy.expected(x), atol=1e-5))


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("isa", [0, 1])
def test_nothing_beside_the_buffers_is_touched(native, x, isa, at_end):
    child = os.fork()
    if child == 0:
        os._exit(0 if run_guarded(native, x, isa, at_end) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("offset", [0, 1, 7, 63])
def test_workspace_at_any_alignment(native, x, offset):
    library = ctypes.CDLL(str(native))
    memory = np.full(load(native).workspace_bytes + 256, 0xAA, np.uint8)
    start = -memory.ctypes.data % 64 + 64 + offset
    y = np.empty_like(x)
    pointers = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (x, y)]
    assert library.toy_run(*pointers, ctypes.c_void_p(memory.ctypes.data + start)) == 0
    np.testing.assert_allclose(y, toy.expected(x), rtol=1e-6, atol=1e-5)
    assert (memory[:start] == 0xAA).all()
    assert (memory[start + load(native).workspace_bytes :] == 0xAA).all()
