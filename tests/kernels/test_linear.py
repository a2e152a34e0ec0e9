"""Linear layers on every ISA: sizes around the tiles, epilogues, weight orders, sparse patterns, one-pixel images."""

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel
from op_runner import Case, check, sum_of
from xdsl.dialects.builtin import StringAttr

from sparsec.ir import ConvOp, MatmulOp
from sparsec.targets.isa import ISAS, host_isas
from sparsec.targets.kernels import linear
from sparsec.targets.kernels.epilogue import epilogue_of
from sparsec.targets.kernels.linear.table import kernels

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def pruned(*shape, density=0.1):
    return np.where(RANDOM.random(shape) < density, normal(*shape), np.float32(0))


def kernels_of(one):
    """Every kernel that runs a case."""
    (n, k), (m, _) = (array.shape for array in one.arrays)
    assert isinstance(one.op, MatmulOp)
    return kernels(n, m, k, epilogue_of(one.op))


def rows_of(tokens):
    """The names of the sparse kernels for this many tokens."""
    return [kernel.name for kernel in kernels_of(case(normal(tokens, 1), normal(1, 1))) if kernel.sparse]


def case(x, w, *extras, transpose_b=True, row=None):
    def build(lhs, rhs, *values):
        op = MatmulOp(lhs, rhs, False, transpose_b, values, sum_of(len(values)))
        if row:
            op.attributes["kernel"] = StringAttr(row)
        return op

    return Case(build, [x, w, *extras], constants=[1], rtol=2e-5, atol=2e-5 + 4e-7 * x.shape[-1])


@every_isa
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 7, 12, 13, 25])
def test_sizes(isa, tokens):
    sizes = [(1, 1), (3, 5), (16, 4), (31, 7), (32, 16), (33, 17), (64, 33), (100, 67)]
    check(linear.lower, [case(normal(tokens, k), normal(m, k)) for m, k in sizes], isa)


@every_isa
def test_cache_sets_and_groups(isa):
    cases = [
        case(normal(9, 512), normal(40, 512)),
        case(normal(6, 1024), normal(33, 1024)),
        case(normal(300, 24), normal(40, 24)),
    ]
    if isa.x86:  # several blocks of K: two, three, and with rows apart
        cases += [case(normal(70, k), normal(35, k), normal(35)) for k in (2050, 3001, 4096)]
    check(linear.lower, cases, isa)


@every_isa
def test_epilogues(isa):
    m, k = 37, 20
    cases = []
    for shape in ((1,), (13,), (2, 3), (2, 1, 4)):
        bias, rows = normal(m), normal(*shape, 1)
        full, one = normal(*shape, m), normal(1)
        cases.append(case(normal(*shape, k), normal(m, k), bias, full))
        cases.append(case(normal(*shape, k), normal(m, k), rows, one))
    cases.append(case(normal(2, 3, 5, k), normal(m, k), normal(2, 1, 5, m), normal(3, 1, m)))
    check(linear.lower, cases, isa)


@every_isa
def test_weight_orders(isa):
    cases = [
        case(normal(3, 20), normal(20, 37), transpose_b=False),
        case(normal(2, 3, 20), normal(1, 20, 37), transpose_b=False),
        case(normal(3, 20), normal(1, 1, 37, 20)),
    ]
    check(linear.lower, cases, isa)


@every_isa
def test_one_pixel_convolutions(isa):
    def conv(n, c, m):
        def build(lhs, rhs, *extras):
            return ConvOp(lhs, rhs, [1, 1], [1, 1], [0, 0, 0, 0], 1, extras, sum_of(len(extras)))

        arrays = [normal(n, c, 1, 1), normal(m, c, 1, 1), normal(m, 1, 1), normal(n, m, 1, 1)]
        return Case(build, arrays, constants=[1], rtol=2e-5, atol=2e-5)

    cases = [conv(1, 20, 8), conv(3, 33, 40)]
    assert all(linear.accepts(each.op) for each in cases)
    check(linear.lower, cases, isa)


@every_isa
def test_nothing_to_sum(isa):
    check(linear.lower, [case(normal(3, 0), normal(5, 0)), case(normal(0, 4), normal(5, 4))], isa)


@every_isa
@pytest.mark.parametrize("tokens", [1, 3, 4, 17, 64, 130])
def test_sparse_sizes(isa, tokens):
    sizes = [(1, 1), (33, 70), (200, 131)]
    cases = [case(normal(tokens, k), pruned(m, k, density=0.3), row=row) for m, k in sizes for row in rows_of(tokens)]
    check(linear.lower, cases, isa)


@every_isa
@pytest.mark.parametrize("tokens", [2, 20])
def test_sparse_patterns(isa, tokens):
    """No weights at all, empty rows, rows of every length, no zeros; weights as [K, M]; epilogues."""
    m, k = 150, 40
    empty, some, stairs = np.zeros((m, k), np.float32), pruned(m, k), np.tril(normal(m, k))
    some[::3] = 0
    cases = []
    for row in rows_of(tokens):
        for w in (empty, some, stairs, normal(m, k)):
            cases.append(case(normal(tokens, k), w, row=row))
        cases.append(case(normal(tokens, k), some.T.copy(), transpose_b=False, row=row))
        cases.append(case(normal(tokens, k), some, normal(m), normal(tokens, m), normal(tokens, 1), row=row))
    check(linear.lower, cases, isa)


@pytest.mark.parametrize("tokens", [1, 4, 100])
def test_parts_alone(tokens):
    """Each chunk computes its own part, whatever ran before it."""
    isa = (*host_isas(), *ISAS.values())[0]
    x, w = normal(tokens, 50), pruned(300, 50)
    for kernel in kernels_of(case(x, w)):
        arrays = [x, kernel.pack(w), np.zeros((tokens, 300), np.float32)]
        parts = [run_kernel(kernel, isa, arrays, i, i + 1)[2] for i in range(kernel.chunks)]
        np.testing.assert_allclose(sum(parts), x @ w.T, rtol=2e-5, atol=4e-5)
