"""What the elementary functions share."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.targets.builder import Builder, Value

INF = float("inf")
NAN = float("nan")
LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
# ln 2 in two parts; the first has 9 bits, so that its products with exponents are exact (Cephes).
LN_2_HIGH, LN_2_LOW = 0.693359375, -2.12194440e-4


def horner(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, of the highest power first."""
    result = b.constant(coefficients[0], x.element, x.lanes)
    for coefficient in coefficients[1:]:
        result = b.fma(result, x, b.constant(coefficient, x.element, x.lanes))
    return result


def whole(b: Builder, x: Value) -> tuple[Value, Value]:
    """The nearest whole number, as a float and as an integer of the same width; for |x| < 2^21 (f32), 2^50 (f64).

    Adding 1.5 · 2^mantissa leaves the integer in the low bits: unlike a conversion, defined on NaN.
    """
    magic, integer = (1.5 * 2**23, "i32") if x.element == "f32" else (1.5 * 2**52, "i64")
    shifted = x + magic
    offset = b.bitcast(b.constant(magic, x.element, x.lanes), integer)
    return shifted - magic, b.bitcast(shifted, integer) - offset


def power_of_two(b: Builder, exponent: Value) -> Value:
    """2^exponent for an i32 in the normal range of f32, or an i64 in that of f64."""
    if exponent.element == "i32":
        return b.bitcast((exponent + 127) << 23, "f32")
    return b.bitcast((exponent + 1023) << 52, "f64")


def with_sign(b: Builder, magnitude: Value, sign: Value) -> Value:
    """`magnitude`, which is not negative, with the sign bit of `sign`."""
    return b.bitcast(b.bitcast(magnitude, "u32") | (b.bitcast(sign, "u32") & 0x80000000), "f32")


def clamp(b: Builder, x: Value, low: float, high: float) -> Value:
    """x within [low, high]; NaN stays."""
    return b.min(b.max(x, low), high)
