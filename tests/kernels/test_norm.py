"""sp.norm on every ISA: axes along and across memory, with and without centring, panels."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import NormOp, Panel
from sparsec.targets.kernels.reductions import norm

RANDOM = np.random.default_rng(0)


def case(x, axes, center=True, atol=3e-5, **options):
    return Case(lambda v: NormOp(v, axes, 1e-5, center), [x], label=f"{axes} {center}", atol=atol, **options)


def normal(*shape):
    return (RANDOM.standard_normal(shape) + 2).astype(np.float32)


@every_isa
@pytest.mark.parametrize("center", [False, True])
def test_axes(isa, center):
    cases = []
    for shape in ((5,), (67,), (4, 65), (65, 4), (3, 128), (2, 3, 17)):
        cases += [case(normal(*shape), [axis], center) for axis in range(len(shape))]
    cases += [case(normal(2, 3, 4, 21), axes, center) for axes in ([0, 2], [2, 3], [1, 2, 3])]
    check(norm.lower, cases, isa)


@every_isa
def test_mean_far_from_zero(isa):
    check(norm.lower, [case(normal(3, 768) + np.float32(1000), [1], rtol=1e-3, atol=2e-4)], isa)


@every_isa
def test_panels(isa):
    cases = [
        case(normal(*shape), axes, panels=panel)
        for shape, panel in (((2, 5, 7, 7), Panel(7, 64)), ((1, 3, 9, 5), Panel(4, 32)))
        for axes in ([1], [2, 3], [1, 2, 3])
    ]
    check(norm.lower, cases, isa)
