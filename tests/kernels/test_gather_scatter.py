"""Gather and scatter on every ISA, against the interpreter; no index reaches outside a tensor."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernels
from layouts import check_pieces, sample
from op_runner import Case, check

from sparsec.ir import GatherOp, ScatterOp
from sparsec.targets.isa import AVX2, AVX512
from sparsec.targets.kernels.indexing import gather, scatter

random = np.random.default_rng(2)


def array(shape, dtype) -> np.ndarray:
    return (random.standard_normal(shape) * 5).astype(dtype)


def indices(shape, extent, dtype="int64") -> np.ndarray:
    """Positive and negative ones."""
    return random.integers(-extent, extent, shape).astype(dtype)


TAKES = [((5,), (3,), 0), ((10, 4), (2, 3), 0), ((3, 7, 5), (20,), 1), ((3, 7), (2, 9), 1), ((50, 100), (7,), 0)]
TAKES += [((2, 33), (70,), 1), ((4, 5), (), 0), ((1000, 16), (3, 3), 0), ((4, 1), (33,), 0)]
ALONG = [
    ((5,), (3,), 0),
    ((10, 4), (2, 4), 0),
    ((3, 7, 5), (3, 20, 5), 1),
    ((3, 70), (2, 90), 1),
    ((70, 40), (9, 33), 0),
]
DEEP = [((5, 4), (3, 1), 0), ((5, 4), (3, 2), 0), ((4, 4, 4, 9), (2, 5, 3), 0), ((2, 5, 4), (2, 1), 1)]
DEEP += [((2, 5, 5, 3), (2, 20, 2), 1), ((2, 2, 5), (2, 2, 1), 2), ((40,), (50, 1), 0)]


def gathers(dtype, index) -> list[Case]:
    take = [
        Case(lambda x, i, axis=axis: GatherOp(x, i, "take", axis), [array(x, dtype), indices(i, x[axis], index)])
        for x, i, axis in TAKES
    ]
    along = [
        Case(lambda x, i, axis=axis: GatherOp(x, i, "elements", axis), [array(x, dtype), indices(i, x[axis], index)])
        for x, i, axis in ALONG
    ]
    deep = [
        Case(
            lambda x, i, batch=batch: GatherOp(x, i, "nd", 0, batch),
            [array(x, dtype), indices(i, min(x[batch : batch + i[-1]]), index)],
        )
        for x, i, batch in DEEP
    ]
    return take + along + deep


def scatters(dtype, reduction) -> list[Case]:
    along = [
        Case(
            lambda x, i, u, axis=axis: ScatterOp(x, i, u, "elements", axis, reduction),
            [array(x, dtype), indices(i, x[axis]), array(i, dtype)],
            rtol=1e-3 if dtype == "float16" else 1e-6,
        )
        for x, i, axis in [*ALONG, ((300, 70), (200, 90), 1)]
    ]
    deep = [
        Case(
            lambda x, i, u: ScatterOp(x, i, u, "nd", 0, reduction),
            [array(x, dtype), indices(i, min(x[: i[-1]])), array(i[:-1] + x[i[-1] :], dtype)],
            rtol=1e-3 if dtype == "float16" else 1e-6,
        )
        for x, i, batch in [*DEEP, ((9, 40), (4, 1), 0), ((9, 3, 30), (4, 1), 0)]
        if not batch
    ]
    return along + deep


@every_isa
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_gather(index, isa):
    cases = [case for dtype in ("float32", "float64", "int8", "float16", "int64") for case in gathers(dtype, index)]
    check(gather.lower, sample(cases, isa), isa)


@every_isa
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter(reduction, isa):
    dtypes = ("float32", "float64", "int8", "uint8", "float16", "int64")
    cases = [case for dtype in dtypes for case in scatters(dtype, reduction)]
    check(scatter.lower, sample(cases, isa), isa)


def test_in_pieces():
    check_pieces(gather.lower, Case(GatherOp, [array((999, 700), "float32"), indices((90,), 999)]))
    updates = [array((300, 270), "float32"), indices((200, 90), 270), array((200, 90), "float32")]
    check_pieces(scatter.lower, Case(lambda x, i, u: ScatterOp(x, i, u, "elements", 1, "add"), updates))


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
@pytest.mark.parametrize("run", [1, 4])
def test_indices_outside_are_clamped(isa, run):
    """A guard page behind the tensor would end the process."""
    x = array((20, run), "float32")
    wrong = np.array([20, -21, 1 << 40, -(1 << 40), 3] * 5)
    case = Case(GatherOp, [x, wrong])
    (call,) = gather.lower(case.op, case.weights)
    out = np.zeros((len(wrong), run), np.float32)
    ((_, _, got),) = run_kernels([(call.kernel, [x, wrong, out])], isa, flush=[0, 1, 2])
    np.testing.assert_array_equal(got, x[np.clip(np.where(wrong < 0, wrong + 20, wrong), 0, 19)])
