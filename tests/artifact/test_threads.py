"""Threads: the team of a run, threads lent by the host, several callers at once."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sparsec.program import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "c" / "main.c"
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, TASK, ctypes.c_void_p)


class Threads(ctypes.Structure):
    _fields_ = (("parallel_for", PARALLEL_FOR), ("context", ctypes.c_void_p), ("threads", ctypes.c_int32))


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 7, 9, 33, 64, 257])
def test_team_equals_one_thread(built, threads, rows):
    """Row counts below, at and above the number of pieces, so that every way to deal them out is taken."""
    path = built("x86", threads=threads, repeat=5, shape=(rows, 50))
    x = np.random.default_rng(rows).standard_normal((rows, 50), dtype=np.float32)
    (expected,) = load(path, threads=1)(x)
    team = load(path)
    for _ in range(20):
        np.testing.assert_array_equal(team(x)[0], expected)


def test_four_callers_at_once(native, x):
    program = load(native)
    inputs = [x * scale for scale in range(4)]
    expected = [program(value)[0] for value in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            for y, right in zip(pool.map(lambda value: program(value)[0], inputs), expected, strict=True):
                np.testing.assert_array_equal(y, right)


@pytest.mark.parametrize("concurrent", [False, True])
def test_threads_of_the_host(native, x, concurrent):
    """The host's parallel_for may run tasks together or one after another; it sees each shared step once."""
    library, counts = ctypes.CDLL(str(native)), []
    pool = ThreadPoolExecutor(2)

    @PARALLEL_FOR
    def parallel_for(context, count, task, argument):
        counts.append((context, count))
        apply = pool.map if concurrent else map
        list(apply(lambda index: task(argument, index), range(count)))

    y = np.empty_like(x)
    workspace = np.empty(load(native).workspace_bytes, np.uint8)
    pointers = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (x, y)]
    host = Threads(parallel_for, 42, 2)
    assert library.toy_run_with(*pointers, ctypes.c_void_p(workspace.ctypes.data), ctypes.byref(host)) == 0
    np.testing.assert_array_equal(y, load(native, threads=1)(x)[0])
    assert counts == [(42, 2), (42, 2)], "the step of one chunk runs on the caller"


def test_two_threads_on_one_core(built, run_c):
    path = built("x86", emit="obj", threads=2, repeat=20)
    if os.cpu_count() == 1:
        pytest.skip("this machine has one core")
    assert run_c(Path(__file__).with_name("one_core.c"), path) == "equal\n"


def test_static_program_without_threads(built, run_c):
    """pthread_create is weak: a static program that does not refer to it has none, and runs on the caller alone."""
    path = built("x86", emit="obj", name="model", threads=2)
    lines = [run_c(EXAMPLE, path, flags=flags) for flags in ((), ("-static",))]
    assert lines[0] == lines[1]
