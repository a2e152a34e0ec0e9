"""exp and its relatives."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Value
from sparsec.targets.vector_math.common import (
    LN_2,
    LN_2_HIGH,
    LN_2_LOW,
    LOG2_E,
    clamp,
    horner,
    power_of_two,
    whole,
    with_sign,
)

# (exp(r) - 1 - r) / r² on |r| <= ln 2 / 2 (Cephes expf).
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
# 2^r on |r| <= 1/2, with the least relative error: 7.5e-8.
_EXP2 = (1.3276472e-3, 9.67554133e-3, 5.55071327e-2, 2.40221197e-1, 6.93146967e-1, 1.00000007)
# (tanh(x) - x) / x³ in x², on |x| < 0.625 (Cephes tanhf).
_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
# (erf(x) - x) / x in x², on |x| < 0.9277 (N. Juffa).
_ERF_NEAR = (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
# log(1 - erf(x)) / x + 1, on 0.9277 < x < 4 (N. Juffa).
_ERF_FAR = (
    -1.72853470e-5,
    3.83197126e-4,
    -3.88396438e-3,
    2.42546219e-2,
    -1.06777877e-1,
    -6.34846687e-1,
    -1.28717512e-1,
)


def exp(b: Builder, x: Value) -> Value:
    """e^x. Cody–Waite reduction by ln 2, then Cephes' polynomial. At most 1.0 ULP, denormal results included."""
    return _scaled_exp(b, x, 0)


def exp_for_sum(b: Builder, x: Value) -> Value:
    """e^x for a sum with 1, which results below e^-87 do not change: they are e^-87, and none is denormal.

    Numbers that are take so long that swish of large numbers was up to 6 times slower with them.
    """
    return _scaled_exp(b, b.max(x, -87.0), 0)


def exp2(b: Builder, x: Value) -> Value:
    """2^x. At most 1.1 ULP."""
    x = clamp(b, x, -151.0, 129.0)
    number, exponent = whole(b, x)
    r = (x - number) * LN_2
    return _scale(b, horner(b, r, (*_EXP, 1.0, 1.0)), exponent)


def exp2_for_sum(b: Builder, x: Value) -> Value:
    """2^x for x below 1, for sums that results below 2^-125 do not change: they are 2^-125. At most 3 ULP.

    Half the time of `exp`: no reduction in two parts, no denormal results.
    """
    x = b.max(x, -125.0)
    number, exponent = whole(b, x)
    power = horner(b, x - number, _EXP2)
    return b.scale(power, number) if b.is_zmm(x) else power * power_of_two(b, exponent)


def expm1(b: Builder, x: Value) -> Value:
    """e^x - 1, accurate near 0. At most 1.6 ULP."""
    clamped = clamp(b, x, -18.0, 89.0)
    r, exponent = _reduce(b, clamped)
    near = b.fma(horner(b, r, _EXP) * r, r, r)
    half = power_of_two(b, exponent - 1)  # half of 2^n, as 2^128 is no float
    far = b.fma(near, half, half - 0.5) * 2.0
    return b.select(exponent == 0, b.select(x == 0.0, x, near), far)


def sinh(b: Builder, x: Value) -> Value:
    """(e^x - e^-x) / 2. Through expm1 below 1, through exp above. At most 1.9 ULP."""
    size = b.abs(x)
    near = expm1(b, b.min(size, 1.0))
    near = (near + near / (near + 1.0)) * 0.5
    half = _scaled_exp(b, size, -1)
    far = half - 0.25 / half
    return with_sign(b, b.select(size < 1.0, near, far), x)


def cosh(b: Builder, x: Value) -> Value:
    """(e^x + e^-x) / 2. At most 1.4 ULP."""
    half = _scaled_exp(b, b.abs(x), -1)
    return half + 0.25 / half


def tanh(b: Builder, x: Value) -> Value:
    """Cephes tanhf: a polynomial below 0.625, 1 - 2 / (e^2x + 1) above. At most 1.3 ULP."""
    size = b.abs(x)
    square = size * size
    near = b.fma(horner(b, square, _TANH) * square, size, size)
    far = 1.0 - 2.0 / (exp(b, b.min(size, 10.0) * 2.0) + 1.0)
    return with_sign(b, b.select(size < 0.625, near, far), x)


def erf(b: Builder, x: Value) -> Value:
    """N. Juffa's erff: a polynomial below 0.9277, 1 - e^p(x) above. At most 1.2 ULP."""
    size = b.abs(x)
    near = b.fma(horner(b, x * x, _ERF_NEAR), x, x)
    clipped = b.min(size, 4.0)
    far = 1.0 - exp(b, b.fma(horner(b, clipped, _ERF_FAR), clipped, -clipped))
    return b.select(size > 0.927734375, with_sign(b, far, x), near)


def erfc(b: Builder, x: Value) -> Value:
    """1 - erf(x), as a difference: accurate absolutely (1 ULP of 1), not relatively for large x."""
    return 1.0 - erf(b, x)


def reciprocal_above_one(b: Builder, x: Value) -> Value:
    """1 / x for x >= 1, as in 1 / (1 + e^-x). At most 1 ULP, but results below 2^-126 are 0.

    On AVX-512 an estimate and one step of Newton and Raphson: a division takes as long as the whole of e^x.
    """
    if not b.is_zmm(x):
        return 1.0 / x
    estimate = b.reciprocal_estimate(x)
    error = b.fma(-x, estimate, b.constant(1.0, "f32", x.lanes))
    return b.select(x > 2.0**126, 0.0, b.fma(estimate, error, estimate))


def _reduce(b: Builder, x: Value) -> tuple[Value, Value]:
    """x = n ln 2 + r with |r| <= ln 2 / 2; gives r and n."""
    number, exponent = whole(b, x * LOG2_E)
    return _rest(b, x, number), exponent


def _rest(b: Builder, x: Value, number: Value) -> Value:
    """x - n ln 2."""
    r = b.fma(number, b.constant(-LN_2_HIGH, "f32", x.lanes), x)
    return b.fma(number, b.constant(-LN_2_LOW, "f32", x.lanes), r)


def _scaled_exp(b: Builder, x: Value, power: int) -> Value:
    """2^power · e^x, which may be finite where e^x is not."""
    x = clamp(b, x, -104.0, 90.0)
    number, exponent = whole(b, x * LOG2_E)
    r = _rest(b, x, number)
    mantissa = b.fma(horner(b, r, _EXP) * r, r, r) + 1.0
    if b.is_zmm(x):
        return b.scale(mantissa, number + float(power) if power else number)
    return _scale(b, mantissa, exponent + power)


def _scale(b: Builder, x: Value, exponent: Value) -> Value:
    """x · 2^exponent in two steps, as the power alone may be no float and the result may be denormal."""
    half = exponent >> 1
    return x * power_of_two(b, half) * power_of_two(b, exponent - half)
