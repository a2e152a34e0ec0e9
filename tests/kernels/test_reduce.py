"""sp.reduce on every ISA: kinds, elements, axes along and across memory, panels."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import Panel, ReduceOp
from sparsec.targets.kernels.reductions import reduce

RANDOM = np.random.default_rng(0)
KINDS = ("sum", "prod", "max", "min", "mean", "sum_square", "argmax", "argmin")


def case(x, kind, axes, keepdims=True, last=False, **options):
    return Case(lambda v: ReduceOp(v, kind, axes, keepdims, last), [x], label=f"{kind} {axes}", **options)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


@every_isa
@pytest.mark.parametrize("kind", KINDS)
def test_axes(isa, kind):
    cases = []
    for shape in ((1,), (5,), (67,), (3, 1), (4, 65), (65, 4), (2, 3, 17), (3, 16, 33), (1, 4, 1)):
        for axis in range(len(shape)):
            cases.append(case(normal(*shape), kind, [axis], keepdims=axis % 2 == 0))
    if not kind.startswith("arg"):
        cases.append(case(normal(2, 3, 4, 21), kind, [0, 2]))
        cases.append(case(normal(2, 3, 4, 21), kind, [1, 3], keepdims=False))
        cases.append(case(normal(2, 3, 4, 21), kind, [0, 1, 2, 3], keepdims=False))
        cases.append(case(normal(2, 3), kind, []))
    check(reduce.lower, cases, isa)


@every_isa
@pytest.mark.parametrize("kind", KINDS)
def test_elements(isa, kind):
    cases = []
    for dtype in (np.int64, np.int32, np.int8, np.uint8):
        x = RANDOM.integers(0 if dtype == np.uint8 else -9, 9, (5, 37)).astype(dtype)
        cases += [case(x, kind, [0]), case(x, kind, [1])]
    x = RANDOM.standard_normal((5, 37))
    cases += [case(x, kind, [0], atol=1e-12, rtol=1e-12), case(x, kind, [1], atol=1e-12, rtol=1e-12)]
    check(reduce.lower, cases, isa)


@every_isa
@pytest.mark.parametrize("kind", ["max", "min", "argmax", "argmin", "sum"])
@pytest.mark.parametrize("last", [False, True])
def test_special_values(isa, kind, last):
    x = RANDOM.integers(-2, 3, (6, 40)).astype(np.float32)
    x[1, 7], x[1, 30], x[2, 39] = np.nan, np.nan, np.nan
    x[3], x[4] = -np.inf, np.inf
    cases = [case(x, kind, [1], last=last), case(x.T.copy(), kind, [0], last=last)]
    check(reduce.lower, cases, isa)


@every_isa
def test_long_sums_stay_accurate(isa):
    x = RANDOM.random((1, 200_001), np.float32)
    cases = [case(x, kind, [1], rtol=5e-7) for kind in ("sum", "mean", "sum_square")]
    cases += [case(x.reshape(-1, 1)[:60000].repeat(3, 1).copy(), "sum", [0], rtol=1e-6)]
    check(reduce.lower, cases, isa)


@every_isa
def test_panels(isa):
    cases = []
    for shape, panel in (((2, 5, 7, 7), Panel(7, 64)), ((1, 3, 9, 5), Panel(4, 32)), ((2, 4, 8, 8), Panel(2, 16))):
        for kind in ("mean", "max", "sum"):
            for keepdims in (True, False):
                cases.append(case(normal(*shape), kind, [2, 3], keepdims, panels=panel, result_in_panels=False))
            cases.append(case(normal(*shape), kind, [1, 2, 3], panels=panel, result_in_panels=False))
            cases.append(case(normal(*shape), kind, [0, 1, 2, 3], panels=panel, result_in_panels=False))
            cases.append(case(normal(*shape), kind, [1], panels=panel))
        cases.append(case(normal(*shape), "argmax", [1], panels=None))
    check(reduce.lower, cases, isa)


@every_isa
def test_nothing_to_reduce(isa):
    cases = [case(np.zeros((0, 4), np.float32), "sum", [0]), case(np.zeros((3, 0), np.float32), "prod", [1])]
    check(reduce.lower, cases, isa)
