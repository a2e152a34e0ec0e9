"""Linear layers whose outputs a gate makes zero: which epilogues they are, and the kernel on every ISA."""

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel
from op_runner import Case, check
from xdsl.dialects.builtin import StringAttr

from sparsec.ir import MapOp, MatmulOp, type_of
from sparsec.ir.scalar import region
from sparsec.ir.types import f32
from sparsec.targets.kernels import linear
from sparsec.zeros import vanishing_factor

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def relu_gate(total, bias, gate):
    return gate.max(0) * (total + bias)


def case(m, k, function=relu_gate, gate=None, bias=None, named=True):
    def build(lhs, rhs, *extras):
        op = MatmulOp(lhs, rhs, False, True, extras, region([f32] * (1 + len(extras)), function))
        if named:
            op.attributes["kernel"] = StringAttr("gemv_f32_gated")
        return op

    arrays = [normal(1, k), normal(m, k), normal(m) if bias is None else bias, normal(1, m) if gate is None else gate]
    return Case(build, arrays, constants=[1, 2], rtol=2e-5, atol=2e-5 + 4e-7 * k)


@every_isa
def test_sizes(isa):
    sizes = [(1, 1), (5, 3), (16, 8), (63, 31), (64, 32), (65, 33), (130, 70), (200, 129)]
    check(linear.lower, [case(m, k) for m, k in sizes], isa)


@every_isa
@pytest.mark.parametrize("open_share", [0.0, 0.03, 1.0])
def test_counts(isa, open_share):
    gate = np.where(RANDOM.random((1, 150)) < open_share, np.abs(normal(1, 150)), -1).astype(np.float32)
    check(linear.lower, [case(150, 40, gate=gate)], isa)


@every_isa
def test_factors(isa):
    """A clipped gate, its square, a threshold of the product, a gate of one number for all."""
    functions = [
        lambda total, bias, gate: (total + bias) * gate.max(0).min(6),
        lambda total, bias, gate: (total + bias) * (gate.max(0) * gate.max(0)),
        lambda total, bias, gate: ((total * gate.max(0)).abs().compare("le", 0.25)).select(
            total.constant(0), total * gate.max(0)
        ),
    ]
    cases = [case(70, 40, function) for function in functions]
    check(
        linear.lower, [*cases, case(70, 40, gate=np.full((1, 1), -1, np.float32)), case(70, 40, gate=normal(1, 1))], isa
    )


@every_isa
def test_no_numbers(isa):
    """A gate that is NaN gives NaN; weights that are meet no open gate and leave zeros."""
    gate = np.where(np.arange(70) % 2, np.float32(-1), np.float32(1))[None]
    gate[0, 4] = np.nan
    one = case(70, 8, gate=gate, bias=np.zeros(70, np.float32))
    (call,) = linear.lower(one.op, one.weights)
    x, w, bias, _ = one.arrays
    w = w.copy()
    w[1], w[3, 2] = np.nan, np.inf
    y = run_kernel(call.kernel, isa, [x, call.kernel.pack(w), bias, gate, np.zeros((1, 70), np.float32)])[-1][0]
    expected = np.where(gate[0] > 0, np.where(np.isfinite(w), w, 0) @ x[0], 0)
    expected[4] = np.nan
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (relu_gate, True),
        (lambda total, bias, gate: (total + bias) * gate.max(0), True),
        (lambda total, bias, gate: (total + bias) * gate, False),
        (lambda total, bias, gate: total.max(0) * gate, False),
        (lambda total, bias, gate: total * (gate + total).max(0), False),
        (lambda total, bias, gate: total * gate.max(0) + bias, False),
        (lambda total, bias, gate: total + gate.max(0), False),
    ],
)
def test_which_vanish(function, found):
    op = case(4, 4, function, named=False).op
    factor = vanishing_factor(op)
    assert (factor is not None) == found
    names = [kernel.kernel.name for kernel in linear.lower(op, case(4, 4).weights)]
    assert names == ["gemv_f32_dense_n32"], "the first row runs what nobody chose"


def test_gates_of_other_ops():
    """The ReLU may be an op of its own."""
    whole = case(4, 4, lambda total, bias, gate: total * gate, named=False).op
    assert isinstance(whole, MatmulOp)
    gate = whole.extras[1]
    relu = MapOp([gate], region([f32], lambda x: x.max(0)))
    whole.operands[3] = relu.result
    assert type_of(relu.result) == type_of(gate)
    assert vanishing_factor(whole) is not None
