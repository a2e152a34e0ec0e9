"""Elementary functions against NumPy in float64: errors in ULP over dense samples, special values bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel, run_kernels

from sparsec.targets import vector_math
from sparsec.targets.builder import Builder
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-39, 1.0, -1.0, 3.4e38, -3.4e38], np.float32)
ERF = np.vectorize(math.erf)


@dataclass(frozen=True)
class Elementwise(Kernel):
    """y = function(x[, x2]) over `size` elements, in vectors or element by element."""

    function: str
    size: int
    operands: int = 1
    scalar: bool = False

    @property
    def name(self) -> str:
        return "elementwise"

    @property
    def chunks(self) -> int:
        return 1

    def emit(self, b: Builder) -> None:
        function = getattr(vector_math, self.function)
        with b.function(self.symbol, ["f32"] * (self.operands + 1)) as ((*inputs, y), _, _, _):
            if self.scalar:
                with b.loop(0, self.size) as i:
                    b.store(function(b, *(b.load(x, i) for x in inputs)), y, i)
                return
            with b.loop(0, self.size, b.isa.lanes) as i:
                b.vstore(function(b, *(b.vload(x, i) for x in inputs)), y, i)


# name, reference in float64, range sampled, bound in ULP
UNARY = [
    ("exp", np.exp, (-104, 89), 1),
    ("exp_for_sum", np.exp, (-87, 89), 1),
    ("exp2", np.exp2, (-150, 128.5), 1.1),
    ("exp2_for_sum", np.exp2, (-125, 1), 3),
    ("expm1", np.expm1, (-20, 89), 1.6),
    ("expm1", np.expm1, (-1, 1), 1.6),
    ("sinh", np.sinh, (-89, 89), 2),
    ("sinh", np.sinh, (-2, 2), 2),
    ("cosh", np.cosh, (-89, 89), 1.4),
    ("tanh", np.tanh, (-10, 10), 1.3),
    ("tanh", np.tanh, (-1, 1), 1.3),
    ("erf", ERF, (-5, 5), 1.2),
    ("erf", ERF, (-0.01, 0.01), 1.2),
    ("log", np.log, (0, 10), 0.8),
    ("log", np.log, (0.5, 2), 0.8),
    ("log", np.log, "positive", 0.8),
    ("log2", np.log2, (0.5, 2), 0.6),
    ("log2", np.log2, "positive", 0.6),
    ("log10", np.log10, "positive", 0.6),
    ("log1p", np.log1p, (-1, 3), 1.3),
    ("log1p", np.log1p, (-0.01, 0.01), 1.3),
    ("log1p", np.log1p, "positive", 1.3),
    ("asinh", np.arcsinh, (-10, 10), 0.6),
    ("asinh", np.arcsinh, "all", 0.6),
    ("acosh", np.arccosh, (1, 10), 0.6),
    ("atanh", np.arctanh, (-1, 1), 0.6),
    ("sin", np.sin, (-10, 10), 0.6),
    ("sin", np.sin, (-2e8, 2e8), 0.6),
    ("cos", np.cos, (-10, 10), 0.6),
    ("cos", np.cos, (-2e8, 2e8), 0.6),
    ("tan", np.tan, (-10, 10), 0.6),
    ("tan", np.tan, (-2e8, 2e8), 0.6),
    ("asin", np.arcsin, (-1, 1), 2.3),
    ("acos", np.arccos, (-1, 1), 1.2),
    ("atan", np.arctan, (-10, 10), 1.9),
    ("atan", np.arctan, "all", 1.9),
    ("cbrt", np.cbrt, "all", 0.6),
    ("reciprocal_above_one", np.reciprocal, (1, 300), 1),
    ("reciprocal_above_one", np.reciprocal, (1, 8e37), 1),
    ("rsqrt", lambda x: 1 / np.sqrt(x), "positive", 1.3),
]


def samples(where: tuple[float, float] | str, size: int = 1 << 16) -> np.ndarray:
    """Evenly spaced numbers of a range; or every size-th bit pattern of the positive or of all floats."""
    if isinstance(where, tuple):
        return np.linspace(*where, size).astype(np.float32)
    positive = np.linspace(0, 0x7F7FFFFF, size).astype(np.uint32).view(np.float32)
    return positive if where == "positive" else positive * np.tile(np.array([1, -1], np.float32), size // 2)


def ulps(actual: np.ndarray, exact: np.ndarray) -> float:
    """The largest error in units of the last place of the exact result, which is rounded only to decide overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(rounded))
        finite = np.isfinite(rounded) & np.isfinite(actual)
        edge = np.abs(np.where(finite, 1.0, exact)) > 3.4e38  # one may round to infinity where the other does not
        np.testing.assert_array_equal(actual[~finite & ~edge], rounded[~finite & ~edge])
        unit = np.maximum(np.spacing(np.abs(rounded[finite])), np.float32(2.0**-149)).astype(np.float64)
    return float(np.max(np.abs(actual[finite].astype(np.float64) - exact[finite]) / unit, initial=0))


BINARY = [
    ("pow", np.power, "positive", (-4, 4), 0.6),
    ("pow", np.power, (0.5, 2), (-100, 100), 0.6),
    ("atan2", np.arctan2, (-10, 10), "all", 3),
    ("atan2", np.arctan2, (-10, 10), (-7, 12), 3),
    ("fmod", np.fmod, (-100, 100), (-7, 7), 0),
    ("fmod", np.fmod, "all", "positive", 0),
]


def names(case: tuple) -> str:
    """A case in words, for messages."""
    return f"{case[0]} on {' and '.join(map(str, case[2:-1]))}"


@every_isa
def test_errors_of_one_operand(isa: Isa) -> None:
    runs = [(Elementwise(name, 1 << 16), [x := samples(where), np.zeros_like(x)]) for name, _, where, _ in UNARY]
    for case, (x, actual) in zip(UNARY, run_kernels(runs, isa), strict=True):
        with np.errstate(all="ignore"):
            error = ulps(actual, case[1](x.astype(np.float64)))
        assert error <= case[-1], names(case)


@every_isa
def test_errors_of_two_operands(isa: Isa) -> None:
    shuffled = np.random.default_rng(0).permutation(1 << 16)
    operands = [(samples(x), samples(y)[shuffled]) for _, _, x, y, _ in BINARY]
    runs = [
        (Elementwise(case[0], len(x), 2), [x, y, np.zeros_like(x)])
        for case, (x, y) in zip(BINARY, operands, strict=True)
    ]
    for case, (x, y, actual) in zip(BINARY, run_kernels(runs, isa), strict=True):
        with np.errstate(all="ignore"):
            error = ulps(actual, case[1](x.astype(np.float64), y.astype(np.float64)))
        assert error <= case[-1], names(case)


def same(actual: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Equal within 3 ULP, with the same signs of zeros and the same infinities and NaN."""
    np.testing.assert_allclose(actual, expected, rtol=4e-7, atol=0, err_msg=name)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[known]), np.signbit(expected[known]), err_msg=name)


@every_isa
@pytest.mark.parametrize(("name", "reference"), [("erf_for_sum", ERF), ("tanh_for_sum", np.tanh)])
def test_functions_for_sums(name: str, reference: Callable, isa: Isa) -> None:
    x = np.concatenate([samples((-12, 12)), np.array([np.inf, -np.inf, np.nan, 1e30], np.float32).repeat(4)])
    _, actual = run_kernel(Elementwise(name, len(x)), isa, [x, np.zeros_like(x)])
    np.testing.assert_allclose(actual, reference(x.astype(np.float64)), rtol=0, atol=2.4e-7)


@every_isa
def test_reciprocals_of_infinity_and_nan(isa: Isa) -> None:
    x = np.tile(np.array([1, np.inf, np.nan, 3e38], np.float32), 4)
    _, actual = run_kernel(Elementwise("reciprocal_above_one", 16), isa, [x, np.zeros_like(x)])
    np.testing.assert_allclose(actual, 1 / x, atol=2.0**-126)


@every_isa
@pytest.mark.parametrize("scalar", [False, True], ids=["vector", "scalar"])
def test_special_values_of_one_operand(isa: Isa, scalar: bool) -> None:
    cases = {
        name: reference
        for name, reference, _, _ in UNARY
        if name not in ("reciprocal_above_one", "exp_for_sum", "exp2_for_sum")
    }
    x = np.resize(SPECIAL, 16)
    runs = [(Elementwise(name, 16, 1, scalar), [x, np.zeros_like(x)]) for name in cases]
    for (name, reference), (_, actual) in zip(cases.items(), run_kernels(runs, isa), strict=True):
        accurate = ~(np.isin(name, ("sin", "cos", "tan")) & (np.abs(x) > 2e8))  # beyond their range
        with np.errstate(all="ignore"):
            expected = reference(x.astype(np.float64)).astype(np.float32)
        same(actual[accurate], expected[accurate], name)


@every_isa
@pytest.mark.parametrize("name", ["pow", "atan2", "fmod", "maxnum", "minnum", "copysign"])
def test_special_values_of_two_operands(name: str, isa: Isa) -> None:
    numbers = np.concatenate([SPECIAL, np.array([0.5, -0.5, 2.0, -2.0, 3.0, -3.0], np.float32)])
    x, y = (np.resize(grid, 336) for grid in np.meshgrid(numbers, numbers))
    reference = {"atan2": np.arctan2, "maxnum": np.fmax, "minnum": np.fmin}.get(name) or getattr(np, name)
    _, _, actual = run_kernel(Elementwise(name, 336, 2), isa, [x, y, np.zeros_like(x)])
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    if name in ("maxnum", "minnum"):
        actual, expected = actual + 0.0, expected + 0.0  # of zeros, either sign is right
    same(actual, expected, name)


@every_isa
def test_round_away(isa: Isa) -> None:
    x = np.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388609.0, 8388607.5], np.float32).repeat(2)
    x[1::2] = 1e30, -1e30, np.inf, 0.2, -0.2, -0.0, 3.0, 4.0
    _, actual = run_kernel(Elementwise("round_away", 16), isa, [x, np.zeros_like(x)])
    same(actual, np.copysign(np.floor(np.abs(x.astype(np.float64)) + 0.5), x).astype(np.float32), "round_away")
