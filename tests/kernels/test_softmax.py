"""sp.softmax on every ISA: axes along and across memory, several axes, infinities, panels."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import Panel, SoftmaxOp
from sparsec.targets.kernels.reductions import softmax

RANDOM = np.random.default_rng(0)


def case(x, axes, log=False, **options):
    return Case(lambda v: SoftmaxOp(v, axes, log), [x], label=f"{axes} {log}", **options)


def normal(*shape, scale=3.0):
    return (scale * RANDOM.standard_normal(shape)).astype(np.float32)


@every_isa
@pytest.mark.parametrize("log", [False, True])
def test_axes(isa, log):
    cases = []
    for shape in ((1,), (5,), (67,), (3, 1), (4, 65), (65, 4), (1, 16, 4, 33), (2, 3, 17)):
        cases += [case(normal(*shape), [axis], log) for axis in range(len(shape))]
    cases += [case(normal(2, 3, 4, 21), axes, log) for axes in ([0, 2], [1, 3], [0, 1, 2, 3])]
    check(softmax.lower, cases, isa)


@every_isa
@pytest.mark.parametrize("log", [False, True])
def test_infinities(isa, log):
    x = normal(6, 40)
    x[0, 3], x[1], x[2, 5], x[3, 1:] = -np.inf, -np.inf, np.nan, -np.inf
    x[4] *= 100
    check(softmax.lower, [case(x, [1], log), case(x.T.copy(), [0], log)], isa)


@every_isa
def test_panels(isa):
    cases = [
        case(normal(*shape), axes, panels=panel)
        for shape, panel in (((2, 5, 7, 7), Panel(7, 64)), ((1, 3, 9, 5), Panel(4, 32)))
        for axes in ([1], [2, 3], [1, 2, 3])
    ]
    check(softmax.lower, cases, isa)


@every_isa
def test_in_place(isa):
    if not isa.x86:
        pytest.skip("arguments overlap in this process only")
    from sparsec.targets.jit import Jit, aligned_copy

    for axes in ([0], [1]):
        one = case(normal(37, 43), axes)
        (call,) = softmax.lower(one.op, one.weights)
        memory = aligned_copy(one.arrays[0])
        Jit([call.kernel], isa)(call.kernel, [memory, memory])
        np.testing.assert_allclose(memory, one.expected()[0], rtol=2e-6)
