"""sin, cos, tan and their inverses."""

from __future__ import annotations

from math import pi

from sparsec.targets.builder import Builder, Value
from sparsec.targets.vector_math.common import horner, whole, with_sign

# On |r| <= pi / 4, in r², for f64 arithmetic rounded to f32 (FreeBSD's k_sinf.c, k_cosf.c).
_SIN = (2.7183114939898219064e-6, -1.98393348360966317347e-4, 8.3333293858894631756e-3, -1.66666666416265235595e-1)
_COS = (2.43904487962774090654e-5, -1.38867637746099294692e-3, 4.16666233237390631894e-2, -0.499999997251031003120, 1.0)
# pi / 2 in two parts; the first has 25 bits, so that its products with numbers below 2^28 are exact (FreeBSD).
_HALF_PI_HIGH, _HALF_PI_LOW = 1.57079631090164184570, 1.58932547735281966916e-8
# (asin(x) - x) / x³ in x², on |x| <= 1/2; (atan(x) - x) / x³ in x², on |x| <= tan(pi / 8) (Cephes asinf, atanf).
_ASIN = (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1)
_ATAN = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
_HALF_PI_EXCESS = 4.37113883e-8  # what pi / 2 as an f32 is too large by
_TAN_PI_8, _TAN_3PI_8 = 0.4142135623730950, 2.414213562373095


def sin(b: Builder, x: Value) -> Value:
    """FreeBSD's reduction by pi/2 in float64, right for |x| < 2^28. At most 0.6 ULP. NaN at infinities."""
    return b.select(x == 0.0, x, _rotated(b, x, 0))


def cos(b: Builder, x: Value) -> Value:
    """As `sin`, a quarter turn on. At most 0.6 ULP for |x| < 2^28."""
    return _rotated(b, x, 1)


def tan(b: Builder, x: Value) -> Value:
    """sin / cos in float64. At most 0.6 ULP for |x| < 2^28."""
    r, quadrant = _reduce(b, x)
    sine, cosine = _sine(b, r), _cosine(b, r)
    odd = (quadrant & 1) != 0
    result = b.select(odd, -cosine, sine) / b.select(odd, sine, cosine)
    return b.select(x == 0.0, x, b.convert(result, "f32"))


def asin(b: Builder, x: Value) -> Value:
    """Cephes asinf: above 1/2 through asin(sqrt((1 - x) / 2)). NaN outside [-1, 1]. At most 2.3 ULP."""
    size = b.abs(x)
    large = size > 0.5
    angle = _half_angle(b, size, large)
    return with_sign(b, b.select(large, pi / 2 - (angle + angle + _HALF_PI_EXCESS), angle), x)


def acos(b: Builder, x: Value) -> Value:
    """Through asin of the half angle outside [-1/2, 1/2]. NaN outside [-1, 1]. At most 1.2 ULP."""
    size = b.abs(x)
    large = size > 0.5
    angle = _half_angle(b, size, large)
    twice = angle + angle
    near = pi / 2 - (with_sign(b, angle, x) + _HALF_PI_EXCESS)
    return b.select(large, b.select(x < 0.0, pi - (twice + 2 * _HALF_PI_EXCESS), twice), near)


def atan(b: Builder, x: Value) -> Value:
    """Cephes atanf: reduction at tan(pi/8) and tan(3 pi/8), one division. At most 1.9 ULP."""
    size = b.abs(x)
    middle, large = size > _TAN_PI_8, size > _TAN_3PI_8
    top = b.select(large, -1.0, b.select(middle, size - 1.0, size))
    bottom = b.select(large, size, b.select(middle, size + 1.0, 1.0))
    quarters = b.select(large, _f32(b, 2.0, x), b.select(middle, _f32(b, 1.0, x), 0.0))
    t = top / bottom
    square = t * t
    low = b.fma(horner(b, square, _ATAN) * square, t, quarters * (-_HALF_PI_EXCESS / 2))
    return with_sign(b, quarters * (pi / 4) + (t + low), x)


def atan2(b: Builder, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), with C's special cases. At most 3 ULP."""
    y, x = b.match(y, x)
    width, height = b.abs(x), b.abs(y)
    same = width == height  # 0 / 0 and inf / inf
    ratio = b.select(same, b.select(width == 0.0, 0.0, _f32(b, 1.0, x)), height / width)
    angle = atan(b, ratio)
    negative = b.bitcast(x, "i32") < 0
    angle = b.select(negative, pi - angle, angle)
    angle = with_sign(b, angle, y)
    return b.select(b.compare("uno", x, y), float("nan"), angle)


def _f32(b: Builder, value: float, like: Value) -> Value:
    return b.constant(value, "f32", like.lanes)


def _half_angle(b: Builder, size: Value, large: Value) -> Value:
    """asin(size), or asin(sqrt((1 - size) / 2)) where it is large."""
    square = b.select(large, (1.0 - size) * 0.5, size * size)
    root = b.select(large, b.sqrt(square), size)
    return b.fma(horner(b, square, _ASIN) * square, root, root)


def _reduce(b: Builder, x: Value) -> tuple[Value, Value]:
    """x = n pi/2 + r with |r| <= pi/4: gives r in f64 and n as i64."""
    double = b.convert(x, "f64")
    number, quadrant = whole(b, double * (2 / pi))
    return (double - number * _HALF_PI_HIGH) - number * _HALF_PI_LOW, quadrant


def _rotated(b: Builder, x: Value, quarter_turns: int) -> Value:
    """sin(x + quarter_turns · pi/2)."""
    r, quadrant = _reduce(b, x)
    quadrant = quadrant + quarter_turns
    magnitude = b.select((quadrant & 1) == 0, _sine(b, r), _cosine(b, r))
    return b.convert(b.select((quadrant & 2) == 0, magnitude, -magnitude), "f32")


def _sine(b: Builder, r: Value) -> Value:
    square = r * r
    return b.fma(horner(b, square, _SIN) * square, r, r)


def _cosine(b: Builder, r: Value) -> Value:
    return horner(b, r * r, _COS)
