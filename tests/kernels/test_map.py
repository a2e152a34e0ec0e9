"""sp.map on every ISA: shapes around the vector, broadcasting, element types, panels, in place."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check
from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i1, i64
from xdsl.ir import Block, Region

from sparsec.ir import MapOp, Panel, YieldOp, type_of
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels import map as maps

RANDOM = np.random.default_rng(0)


def region(elements, *ops):
    """A region that applies `ops`, each a function of the values so far, and yields the last value."""
    block = Block(arg_types=elements)
    values = list(block.args)
    for make in ops:
        op = make(*values)
        block.add_op(op)
        values.append(op.results[0])
    block.add_op(YieldOp(values[-1]))
    return Region(block)


def case(ops, *arrays, **options):
    def build(*inputs):
        return MapOp(inputs, region([type_of(x).element for x in inputs], *ops))

    return Case(build, list(arrays), **options)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


ADD = [arith.AddfOp]
ADD_INTEGERS = [arith.AddiOp]


@every_isa
def test_sizes(isa):
    sizes = (1, 3, 4, 7, 8, 15, 16, 17, 31, 63, 64, 65, 129, 8192, 8193, 20011)
    check(maps.lower, [case(ADD, normal(n), normal(n)) for n in sizes], isa)


@every_isa
def test_scalars_and_nothing(isa):
    cases = [case(ADD, normal(), normal()), case(ADD, normal(0), normal(1)), case(ADD, normal(3, 0, 2), normal(1, 2))]
    check(maps.lower, cases, isa)


@every_isa
def test_broadcasting(isa):
    shapes = [
        ((3, 5), (5,)),
        ((3, 5), (3, 1)),
        ((3, 1), (1, 5)),
        ((2, 3, 4, 5), (3, 1, 1)),
        ((2, 3, 7, 7), (2, 3, 1, 1)),
        ((2, 3, 7, 7), (2, 1, 7, 7)),
        ((2, 3, 7, 7), (1, 3, 1, 7)),
        ((1, 4, 40, 65), (1, 4, 1, 65)),
        ((300, 70), (300, 1)),
        ((40000, 3), (3,)),
        ((5,), ()),
        ((1,), (5, 1, 7)),
        ((16, 1000), (16, 1)),
    ]
    check(maps.lower, [case(ADD, normal(*a), normal(*b)) for a, b in shapes], isa)


@every_isa
@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8])
def test_elements(isa, dtype):
    def array(*shape):
        return RANDOM.integers(0, 100, shape).astype(dtype)

    ops = ADD if dtype == np.float64 else ADD_INTEGERS
    shapes = [((67,), (67,)), ((5, 33), (5, 1)), ((5, 33), (33,))]
    check(maps.lower, [case(ops, array(*a), array(*b)) for a, b in shapes], isa)


@every_isa
def test_mixed_elements(isa):
    cases = []
    for n in (1, 16, 67):
        x, y = normal(n), normal(n)
        mask = RANDOM.random(n) < 0.5
        cases += [
            case([lambda x, y: arith.CmpfOp(x, y, "olt")], x, y),
            case([arith.SelectOp], mask, x, y),
            case([lambda m: arith.ExtUIOp(m, i64)], mask),
            case([lambda x: arith.FPToSIOp(x, i64)], (x * 100)),
            case([lambda x: arith.SIToFPOp(x, f32)], (x * 100).astype(np.int64)),
            case([arith.AndIOp], mask, RANDOM.random(n) < 0.5),
        ]
    assert i1 == cases[0].op.result.type.element
    check(maps.lower, cases, isa)


@every_isa
def test_panels(isa):
    panel = Panel(2, 16)
    x = normal(2, 3, 5, 7)
    others = (normal(2, 3, 5, 7), normal(3, 1, 1), normal(2, 3, 1, 1), normal(1, 1, 1, 1), normal(), normal(1, 3, 5, 7))
    cases = [case(ADD, x, y, panels=panel) for y in others] + [case(ADD, x, normal(2, 1, 5, 7), panels=panel)]
    assert all(maps.takes_panels(each.op) for each in cases)
    assert not maps.takes_panels(case(ADD, x, normal(1, 7)).op)
    check(maps.lower, cases, isa)


@every_isa
def test_in_place(isa):
    if not isa.x86:
        pytest.skip("arguments overlap in this process only")
    for shape in ((1000,), (3, 33)):
        one = case([arith.MulfOp, lambda x, y, p: arith.AddfOp(p, x)], normal(*shape), normal(shape[-1]))
        (call,) = maps.lower(one.op, one.weights)
        memory, other = map(aligned_copy, one.arrays)
        Jit([call.kernel], isa)(call.kernel, [memory, other, memory])
        np.testing.assert_allclose(memory, one.expected()[0], rtol=2e-6)
