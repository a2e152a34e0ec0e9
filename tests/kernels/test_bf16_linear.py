"""Linear layers of bf16 on every ISA, against the meaning of the op on operands rounded to bf16."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import run_kernel, run_kernels
from op_runner import Case, memory, sum_of
from xdsl.dialects.builtin import StringAttr

from sparsec.bf16 import as_f32, rounded
from sparsec.ir import MatmulOp, type_of
from sparsec.targets.isa import BF16_ISAS, ISAS, host_isas
from sparsec.targets.kernels import linear
from sparsec.targets.kernels.linear.bf16 import MOST_BYTES, TILED, LinearBf16

every_isa = pytest.mark.parametrize("isa", [*BF16_ISAS.values(), *ISAS.values()], ids=lambda isa: isa.name)
RANDOM = np.random.default_rng(0)


def normal(*shape):
    """Values that bf16 holds exactly, so that what is left is the order of sums."""
    return as_f32(rounded(RANDOM.standard_normal(shape).astype(np.float32)))


def case(x, w, *extras, transpose_b=True):
    tokens = int(np.prod(x.shape[:-1]))

    def build(lhs, rhs, *values):
        op = MatmulOp(lhs, rhs, False, transpose_b, values, sum_of(len(values)))
        op.attributes["kernel"] = StringAttr("gemv_bf16_dense_n32" if tokens == 1 else "gemm_bf16_dense_n32")
        return op

    return Case(build, [x, w, *extras], constants=[1])


def check(cases, isa):
    calls = [linear.lower(made.op, made.weights)[0] for made in cases]
    runs = [(call.kernel, memory(made, call)) for made, call in zip(cases, calls, strict=True)]
    for made, call, after in zip(cases, calls, run_kernels(runs, isa, flush=range(9)), strict=True):
        assert isinstance(call.kernel, LinearBf16)
        have = after[-1].reshape(type_of(made.op.result).static_shape)
        (want,) = made.expected()
        depth = made.arrays[0].shape[-1]
        np.testing.assert_allclose(have, want, 1e-5, 4e-6 * depth**0.5 + 1e-6, err_msg=f"{isa.name} {call.kernel}")


@every_isa
@pytest.mark.parametrize("tokens", [1, 2, TILED - 1, TILED, 7, 16, 17, 33])
def test_sizes(isa, tokens):
    sizes = [(1, 1), (3, 5), (16, 4), (31, 7), (32, 16), (33, 17), (64, 33), (40, 64), (100, 67), (35, 130)]
    check([case(normal(tokens, k), normal(m, k)) for m, k in sizes], isa)


@every_isa
def test_epilogues_and_weight_orders(isa):
    m, k = 37, 20
    cases = [case(normal(3, k), normal(k, m), transpose_b=False), case(normal(2, 3, k), normal(m, k))]
    for shape in ((1,), (13,), (2, 3), (2, 1, 4)):
        bias, rows, full, one = normal(m), normal(*shape, 1), normal(*shape, m), normal(1)
        cases.append(case(normal(*shape, k), normal(m, k), bias, full))
        cases.append(case(normal(*shape, k), normal(m, k), rows, one))
    check(cases, isa)


@pytest.mark.parametrize("tokens", [1, 4, 40])
def test_parts_alone(tokens):
    """Each chunk computes its own part, whatever ran before it."""
    x, w = normal(tokens, 50), normal(300, 50)
    made = case(x, w)
    (call,) = linear.lower(made.op, made.weights)
    for isa in host_isas("bf16"):
        arrays = [x, call.kernel.pack(w), np.zeros((tokens, 300), np.float32)]  # type: ignore[attr-defined]
        parts = [run_kernel(call.kernel, isa, arrays, i, i + 1)[2] for i in range(call.kernel.chunks)]
        np.testing.assert_array_equal(sum(parts), run_kernel(call.kernel, isa, arrays)[2])


def test_too_many_tokens_stay_f32():
    made = case(normal(4, 8), normal(8, 8))
    (call,) = linear.lower(made.op, made.weights)
    assert isinstance(call.kernel, LinearBf16)
    assert call.kernel.fits
    assert not LinearBf16(MOST_BYTES, 8, 8, call.kernel.epilogue).fits
