"""Linear layers that skip the weights of zero activations: sizes around panels, runs and lists, on every ISA."""

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel
from op_runner import Case, check, sum_of
from xdsl.dialects.builtin import StringAttr

from sparsec.ir import ConvOp, MatmulOp
from sparsec.targets.isa import ISAS, host_isas
from sparsec.targets.kernels import linear
from sparsec.targets.kernels.epilogue import epilogue_of
from sparsec.targets.kernels.linear.table import skip_kernels

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def activations(*shape, nonzeros=0.3):
    """Numbers with zeros of both signs among them."""
    zero = np.where(RANDOM.random(shape) < 0.5, np.float32(0), np.float32(-0.0))
    return np.where(RANDOM.random(shape) < nonzeros, normal(*shape), zero)


def case(x, w, *extras, width=256, transpose_b=True, element="f32"):
    m = w.shape[-2] if transpose_b else w.shape[-1]

    def build(lhs, rhs, *values):
        op = MatmulOp(lhs, rhs, False, transpose_b, values, sum_of(len(values)))
        op.attributes["kernel"] = StringAttr(f"gemv_{element}_skip_n{min(width, -(-m // 16) * 16)}")
        return op

    return Case(build, [x, w, *extras], constants=[1], rtol=2e-5, atol=2e-5 + 4e-7 * x.shape[-1])


@every_isa
@pytest.mark.parametrize("tokens", [1, 2, 4])
def test_sizes(isa, tokens):
    sizes = [(1, 1), (3, 5), (16, 4), (17, 16), (31, 33), (64, 67), (255, 20), (257, 31), (530, 7)]
    check(linear.lower, [case(activations(tokens, k), normal(m, k)) for m, k in sizes], isa)


@every_isa
@pytest.mark.parametrize("nonzeros", [0.0, 0.02, 1.0])
def test_counts(isa, nonzeros):
    """No non-zero, one, few, all of them."""
    tokens = [activations(t, 70, nonzeros=nonzeros) for t in (1, 4)]
    one = np.zeros((1, 70), np.float32)
    one[0, 69] = 2
    check(linear.lower, [case(x, normal(300, 70), normal(300)) for x in (*tokens, one)], isa)


@every_isa
def test_widths(isa):
    """Panels of each width: one, several, a narrower last one."""
    sizes = [(256, 256), (512, 256), (1100, 512), (1040, 1024), (2050, 1024)]
    check(linear.lower, [case(activations(1, 24), normal(m, 24), width=width) for m, width in sizes], isa)


@every_isa
def test_operands(isa):
    """Epilogues, weights as [K, M], batches, one-pixel convolutions."""

    def conv(lhs, rhs, *extras):
        op = ConvOp(lhs, rhs, [1, 1], [1, 1], [0, 0, 0, 0], 1, extras, sum_of(len(extras)))
        op.attributes["kernel"] = StringAttr("gemv_f32_skip_n48")
        return op

    arrays = [activations(3, 33, 1, 1), normal(40, 33, 1, 1), normal(40, 1, 1), normal(3, 40, 1, 1)]
    cases = [
        case(activations(1, 20), normal(37, 20), normal(37), normal(1, 37)),
        case(activations(3, 20), normal(20, 37), transpose_b=False),
        case(activations(2, 2, 20), normal(37, 20), normal(2, 1, 37), normal(1, 2, 1)),
        Case(conv, arrays, constants=[1], rtol=2e-5, atol=2e-5),
    ]
    check(linear.lower, cases, isa)


@every_isa
@pytest.mark.parametrize("element", ["bf16", "f16"])
def test_short_weights(isa, element):
    """Weights that are exact in 8 bits give exact sums, whatever they are stored in."""
    weights = [RANDOM.integers(-127, 128, (m, 40)).astype(np.float32) / 32 for m in (45, 300)]
    check(linear.lower, [case(activations(t, 40), w, element=element) for w in weights for t in (1, 3)], isa)


@every_isa
def test_no_numbers(isa):
    """NaN and infinity in x reach the sums; in w they do where x is not zero, and nowhere else."""
    x, w = np.array([[0, 1, -0.0, 2, 0]], np.float32), normal(40, 5)
    w[3, 0], w[4, 2], w[5, 4] = np.nan, np.inf, -np.inf
    w[6, 1], w[7, 3] = np.nan, np.inf
    bad = x.copy()
    bad[0, 0] = np.nan
    infinite = np.array([[0, 0, np.inf, 0, 0]], np.float32)
    finite = np.where(x == 0, 0, w)
    expected = [finite @ x[0], np.full(40, np.nan), np.where(w[:, 2] > 0, np.inf, -np.inf)]
    for values, want in zip((x, bad, infinite), expected, strict=True):
        call = linear.lower(case(values, w).op, case(values, w).weights)[0]
        y = run_kernel(call.kernel, isa, [values, call.kernel.pack(w), np.zeros((1, 40), np.float32)])[2]
        np.testing.assert_allclose(y[0], want, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 4])
def test_parts_alone(tokens):
    """Each chunk computes its own part, whatever ran before it."""
    isa = (*host_isas(), *ISAS.values())[0]
    x, w = activations(tokens, 50), normal(600, 50)
    for kernel in skip_kernels(tokens, 600, 50, epilogue_of(case(x, w).op)):
        arrays = [x, kernel.pack(w), np.zeros((tokens, 600), np.float32)]
        parts = [run_kernel(kernel, isa, arrays, i, i + 1)[2] for i in range(kernel.chunks)]
        np.testing.assert_allclose(sum(parts), x @ w.T, rtol=2e-5, atol=4e-5)
