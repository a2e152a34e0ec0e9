"""Rounding, remainders, roots, signs, and the extrema that ignore NaN."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Value
from sparsec.targets.vector_math.common import INF, NAN, with_sign


def round_away(b: Builder, x: Value) -> Value:
    """The nearest whole number, ties away from zero. Exact."""
    return b.trunc(x + with_sign(b, b.constant(0.49999997, "f32", x.lanes), x))


def rsqrt(b: Builder, x: Value) -> Value:
    """1 / sqrt(x). At most 1.3 ULP."""
    return 1.0 / b.sqrt(x)


def copysign(b: Builder, x: Value, y: Value) -> Value:
    """|x| with the sign of y."""
    x, y = b.match(x, y)
    return with_sign(b, b.abs(x), y)


def maxnum(b: Builder, x: Value, y: Value) -> Value:
    """The larger one; where one is NaN the other."""
    x, y = b.match(x, y)
    return b.select(y != y, x, b.select(x > y, x, y))


def minnum(b: Builder, x: Value, y: Value) -> Value:
    """The smaller one; where one is NaN the other."""
    x, y = b.match(x, y)
    return b.select(y != y, x, b.select(x < y, x, y))


def cbrt(b: Builder, x: Value) -> Value:
    """The cube root: a guess from the exponent (FreeBSD's cbrtf), then two Halley steps in float64. At most 0.6 ULP."""
    double = b.convert(b.abs(x), "f64")
    high = b.bitcast(double, "i64") >> 32
    third = b.convert(b.convert(b.convert(high, "i32"), "f32") * (1.0 / 3.0), "i32")
    guess = b.bitcast((b.convert(third, "i64") + 715094163) << 32, "f64")
    for _ in range(3):
        cube = guess * guess * guess
        guess = guess * (cube + double + double) / (cube + cube + double)
    regular = b.select((x == 0.0) | (b.abs(x) == INF), b.abs(x), b.convert(guess, "f32"))
    return b.select(x != x, x, with_sign(b, regular, x))


def fmod(b: Builder, x: Value, y: Value) -> Value:
    """x - trunc(x / y) · y with the sign of x, exact for all inputs, as C's fmod.

    In float64, by up to 28 bits of the quotient a round, so that every product is exact; one round is the usual case.
    """
    x, y = b.match(x, y)
    bad = (b.compare("uno", x, y)) | (b.abs(x) == INF) | (y == 0.0)
    divisor = b.convert(b.abs(b.select(bad, 1.0, y)), "f64")
    rest = [b.convert(b.abs(b.select(bad, 0.0, x)), "f64")]
    with b.while_(lambda: _any(b, rest[0] >= divisor), carry=rest):
        rest[0] = b.select(rest[0] >= divisor, _round_of_fmod(b, rest[0], divisor), rest[0])
    return b.select(bad, NAN, with_sign(b, b.convert(rest[0], "f32"), x))


def _any(b: Builder, condition: Value) -> Value:
    return condition if condition.lanes is None else b.reduce("or", condition)


def _round_of_fmod(b: Builder, rest: Value, divisor: Value) -> Value:
    """`rest` less a multiple of the divisor. The multiple's quotient has at most 29 bits."""
    exponent = (b.bitcast(rest / divisor, "i64") >> 52) - (1023 + 28)
    scale = b.bitcast((b.select(exponent > 0, exponent, 0) + 1023) << 52, "f64")
    step = divisor * scale
    left = rest - b.trunc(rest / step) * step
    return b.select(left < 0.0, left + step, left)
