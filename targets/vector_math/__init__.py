"""Elementary functions on f32 scalars and vectors, written with the builder: the same on every ISA, without libm.

Special values (NaN, infinities, zeros, denormals) follow IEEE 754 and NumPy. The errors stated are the largest measured
against NumPy in float64 by tests/targets/test_vector_math.py, on every ISA, with and without fused multiply-add.
"""

from sparsec.targets.vector_math.exponential import (
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    exp2_for_sum,
    exp_for_sum,
    expm1,
    reciprocal_above_one,
    sinh,
    tanh,
)
from sparsec.targets.vector_math.for_sums import erf_for_sum, tanh_for_sum
from sparsec.targets.vector_math.logarithm import acosh, asinh, atanh, log, log1p, log2, log10, pow
from sparsec.targets.vector_math.rounding import cbrt, copysign, fmod, maxnum, minnum, round_away, rsqrt
from sparsec.targets.vector_math.trigonometry import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "copysign",
    "cos",
    "cosh",
    "erf",
    "erf_for_sum",
    "erfc",
    "exp",
    "exp2",
    "exp2_for_sum",
    "exp_for_sum",
    "expm1",
    "fmod",
    "log",
    "log1p",
    "log2",
    "log10",
    "maxnum",
    "minnum",
    "pow",
    "reciprocal_above_one",
    "round_away",
    "rsqrt",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "tanh_for_sum",
]
