"""log and its relatives, pow, inverse hyperbolic functions."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Value
from sparsec.targets.vector_math.common import (
    INF,
    LN_2,
    LN_2_HIGH,
    LN_2_LOW,
    LOG2_E,
    NAN,
    clamp,
    horner,
    power_of_two,
    whole,
    with_sign,
)

# (log(1 + f) - f + f² / 2) / f³ on [sqrt(1/2) - 1, sqrt(2) - 1] (Cephes logf).
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1)
_LOG += (-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
_ATANH = [2.0 / (2 * k + 1) for k in range(8, -1, -1)]  # log((1 + s) / (1 - s)) / s in s²
_EXP = [1 / 362880, 1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0]  # Taylor, for f64
_LOG10_E = 0.4342944819032518
_SQRT_HALF = 0x3F3504F3  # bits of sqrt(1/2) as an f32
_SQRT_HALF_64 = 0x3FE6A09E667F3BCD


def log(b: Builder, x: Value) -> Value:
    """The natural logarithm. x = 2^e · m with m around 1, then Cephes' logf. At most 0.8 ULP, denormals included."""
    exponent, f = _split(b, x)
    square = f * f
    low = b.fma(exponent, b.constant(LN_2_LOW, "f32", x.lanes), f * square * horner(b, f, _LOG))
    low = b.fma(square, b.constant(-0.5, "f32", x.lanes), low)
    return _special(b, x, b.fma(exponent, b.constant(LN_2_HIGH, "f32", x.lanes), f + low))


def log2(b: Builder, x: Value) -> Value:
    """The logarithm to base 2, exact at powers of two. In float64: at most 0.6 ULP."""
    return _special(b, x, b.convert(_log2_double(b, b.convert(b.abs(x), "f64")), "f32"))


def log10(b: Builder, x: Value) -> Value:
    """The logarithm to base 10. In float64: at most 0.6 ULP."""
    double = _log2_double(b, b.convert(b.abs(x), "f64")) * (LN_2 * _LOG10_E)
    return _special(b, x, b.convert(double, "f32"))


def log1p(b: Builder, x: Value) -> Value:
    """log(1 + x): the logarithm of the rounded sum, corrected by what rounding lost. At most 1.3 ULP."""
    total = x + 1.0
    lost = (x - (total - 1.0)) / total
    result = log(b, total) + b.select(b.abs(lost) < 1.0, lost, 0.0)
    return b.select(b.abs(x) < 2.0**-24, x, result)


def asinh(b: Builder, x: Value) -> Value:
    """The inverse of sinh, in float64. At most 0.6 ULP for |x| > 2^-12, where x itself is right."""
    size = b.convert(b.abs(x), "f64")
    argument = size + b.sqrt(size * size + 1.0)
    result = b.convert(_log2_double(b, argument) * LN_2, "f32")
    finite = b.select(b.abs(x) < 2.0**-12, b.abs(x), b.select(b.abs(x) == INF, INF, result))
    return with_sign(b, b.select(x != x, x, finite), x)


def acosh(b: Builder, x: Value) -> Value:
    """The inverse of cosh, in float64; NaN below 1. At most 0.6 ULP."""
    double = b.convert(x, "f64")
    argument = double + b.sqrt((double - 1.0) * (double + 1.0))
    result = b.convert(_log2_double(b, argument) * LN_2, "f32")
    result = b.select(x == INF, x, result)
    return b.select(x >= 1.0, result, NAN)


def atanh(b: Builder, x: Value) -> Value:
    """The inverse of tanh, in float64; NaN outside [-1, 1]. At most 0.6 ULP."""
    size = b.abs(x)
    double = b.convert(size, "f64")
    result = b.convert(_log2_double(b, (1.0 + double) / (1.0 - double)) * (LN_2 / 2), "f32")
    result = b.select(size < 2.0**-12, size, b.select(size == 1.0, INF, result))
    return b.select(b.compare("ugt", size, 1.0), NAN, with_sign(b, result, x))


def pow(b: Builder, x: Value, y: Value) -> Value:
    """x^y as 2^(y log2 |x|) in float64, with C's special cases. At most 0.6 ULP."""
    x, y = b.match(x, y)
    size = b.convert(b.abs(x), "f64")
    logarithm = b.select(size == 0.0, -INF, b.select(size == INF, INF, _log2_double(b, size)))
    product = b.select(logarithm == 0.0, 0.0, b.convert(y, "f64") * logarithm)
    result = b.convert(_exp2_double(b, clamp(b, product, -300.0, 300.0)), "f32")
    odd = (b.floor(y) == y) & (b.floor(y * 0.5) != y * 0.5)
    result = b.select(odd, with_sign(b, result, x), result)
    result = b.select((x < 0.0) & (b.floor(y) != y) & (x != -INF), NAN, result)
    result = b.select(b.compare("uno", x, y), NAN, result)
    return b.select((y == 0.0) | (x == 1.0), 1.0, result)


def _split(b: Builder, x: Value) -> tuple[Value, Value]:
    """e and m - 1 of x = 2^e · m with sqrt(1/2) <= m < sqrt(2), for positive finite x."""
    denormal = x < 2.0**-126
    x = b.select(denormal, x * 2.0**23, x)
    offset = b.bitcast(x, "i32") - _SQRT_HALF
    mantissa = b.bitcast((offset & 0x7FFFFF) + _SQRT_HALF, "f32")
    exponent = b.convert(offset >> 23, "f32")
    return b.select(denormal, exponent - 23.0, exponent), mantissa - 1.0


def _special(b: Builder, x: Value, logarithm: Value) -> Value:
    """-inf at 0, NaN below and at NaN, inf at inf."""
    result = b.select(x == INF, INF, logarithm)
    result = b.select(x == 0.0, -INF, result)
    return b.select(b.compare("ult", x, 0.0), NAN, result)


def _log2_double(b: Builder, x: Value) -> Value:
    """log2 of a positive normal f64, with relative error below 2^-40: log m = 2 artanh((m - 1) / (m + 1))."""
    offset = b.bitcast(x, "i64") - _SQRT_HALF_64
    mantissa = b.bitcast((offset & ((1 << 52) - 1)) + _SQRT_HALF_64, "f64")
    s = (mantissa - 1.0) / (mantissa + 1.0)
    exponent = b.convert(b.convert(offset >> 52, "i32"), "f64")
    return b.fma(horner(b, s * s, _ATANH) * s, b.constant(LOG2_E, "f64", x.lanes), exponent)


def _exp2_double(b: Builder, x: Value) -> Value:
    """2^x of an f64 in the range of f64 exponents, with relative error below 2^-36."""
    number, exponent = whole(b, x)
    return horner(b, (x - number) * LN_2, _EXP) * power_of_two(b, exponent)
