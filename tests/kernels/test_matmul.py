"""sp.matmul of two activations on every ISA: sizes around the tiles, transposes, batches that broadcast, epilogues."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check, sum_of

from sparsec.ir import MatmulOp
from sparsec.targets.kernels import matmul

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def case(n, m, k, ta=False, tb=False, batch_a=(), batch_b=(), extras=(), **options):
    a = normal(*batch_a, *((k, n) if ta else (n, k)))
    b = normal(*batch_b, *((m, k) if tb else (k, m)))

    def build(lhs, rhs, *values):
        return MatmulOp(lhs, rhs, ta, tb, values, sum_of(len(values)))

    return Case(build, [a, b, *extras], rtol=2e-5, atol=2e-5 + 4e-7 * k, label=f"{ta} {tb}", **options)


@every_isa
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
def test_sizes(isa, ta, tb):
    sizes = [(1, 1, 1), (3, 5, 7), (13, 33, 17), (40, 65, 16), (5, 130, 33), (70, 31, 20), (250, 20, 5)]
    check(matmul.lower, [case(*size, ta, tb) for size in sizes], isa)


@every_isa
def test_batches(isa):
    batches = [
        ((3,), (3,)),
        ((2, 3), (2, 3)),
        ((2, 1), (3,)),
        ((), (4,)),
        ((4,), ()),
        ((2, 3), (1, 1)),
        ((2, 1, 3), (2, 2, 1)),
    ]
    check(matmul.lower, [case(5, 18, 9, tb=tb, batch_a=a, batch_b=b) for a, b in batches for tb in (False, True)], isa)


@every_isa
def test_epilogues(isa):
    cases = [
        case(5, 18, 9, extras=[normal(18), normal(5, 1)]),
        case(5, 18, 9, batch_a=(2, 3), batch_b=(2, 3), extras=[normal(2, 1, 5, 18), normal(1, 1, 1, 18)]),
        case(5, 18, 9, batch_a=(2, 3), batch_b=(1, 1), extras=[normal(2, 3, 5, 18), normal(3, 1, 1)]),
    ]
    check(matmul.lower, cases, isa)


@every_isa
def test_nothing_to_sum(isa):
    check(matmul.lower, [case(3, 5, 0), case(0, 5, 3), case(3, 0, 5)], isa)


@every_isa
def test_constant_left_side(isa):
    check(matmul.lower, [case(20, 70, 30, constants=[0]), case(20, 70, 30, tb=True, batch_b=(3,), constants=[0])], isa)
