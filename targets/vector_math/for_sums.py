"""Functions whose results are added to 1, as in GELU: small results need no relative accuracy."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Value
from sparsec.targets.vector_math.common import clamp, horner
from sparsec.targets.vector_math.exponential import exp_for_sum, reciprocal_above_one

_ERF_RANGE = 3.8  # beyond, erf is 1 but for 8e-8
# erf(x) / x on |x| < 3.8 in 2 (x / 3.8)² - 1: off by 5e-8 · x. In powers of x² rounding would come to 1e-3.
_ERF = (
    0.00102208,
    -0.00269576,
    0.0023673,
    -0.00329947,
    0.0099495,
    -0.01833327,
    0.02669304,
    -0.03893965,
    0.05505656,
    -0.0725155,
    0.09083271,
    -0.11118558,
    0.13773952,
    -0.1856412,
    0.37210762,
)


def erf_for_sum(b: Builder, x: Value) -> Value:
    """erf(x) for a sum with 1: off by at most 2.1e-7. One polynomial takes half the time of `erf`."""
    x = clamp(b, x, -_ERF_RANGE, _ERF_RANGE)
    place = b.fma(x * x, b.constant(2 / _ERF_RANGE**2, "f32", x.lanes), b.constant(-1.0, "f32", x.lanes))
    return horner(b, place, _ERF) * x


def tanh_for_sum(b: Builder, x: Value) -> Value:
    """tanh(x) for a sum with 1, 1 - 2 / (e^2x + 1) everywhere: off by at most 1.8e-7."""
    return 1.0 - 2.0 * reciprocal_above_one(b, exp_for_sum(b, x * 2.0) + 1.0)
