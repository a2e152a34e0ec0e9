"""Every op of arith and math on arrays: values, types, wrapping and NaN."""

import math as libm

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import f16, f32, f64, i1, i8, i32, i64
from xdsl.ir import Block, Region

from sparsec.interpreter.scalars import SCALARS, evaluate_region
from sparsec.ir import YieldOp
from sparsec.ir.types import element_of

NAN, INF = float("nan"), float("inf")


def apply(build, *arrays):
    """What the op that `build` makes gives for scalars with the types of `arrays`."""
    block = Block(arg_types=[element_of(array.dtype) for array in arrays])
    op = build(*block.args)
    block.add_ops([op, YieldOp(*op.results)])
    return evaluate_region(Region(block), arrays)


def check(build, expected, *arrays):
    (result,) = apply(build, *arrays)
    expected = np.asarray(expected)
    assert result.dtype == expected.dtype
    assert_array_equal(result, expected)


def test_every_op_has_a_meaning():
    assert set(arith.Arith.operations) | set(math.Math.operations) == SCALARS


FLOATS = np.array([-2.5, -1.5, -0.5, -0.0, 0.0, 0.25, 0.5, 1.5, 2.5, 1e30, INF, -INF, NAN], np.float32)
UNARY = {
    math.AbsFOp: abs,
    math.AcosOp: np.arccos,
    math.AcoshOp: np.arccosh,
    math.AsinOp: np.arcsin,
    math.AsinhOp: np.arcsinh,
    math.AtanOp: np.arctan,
    math.AtanhOp: np.arctanh,
    math.CbrtOp: np.cbrt,
    math.CeilOp: np.ceil,
    math.CosOp: np.cos,
    math.CoshOp: np.cosh,
    math.ErfOp: np.vectorize(libm.erf),
    math.Exp2Op: np.exp2,
    math.ExpM1Op: np.expm1,
    math.ExpOp: np.exp,
    math.FloorOp: np.floor,
    math.Log10Op: np.log10,
    math.Log1pOp: np.log1p,
    math.Log2Op: np.log2,
    math.LogOp: np.log,
    math.RoundEvenOp: np.rint,
    math.RoundOp: lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    math.RsqrtOp: lambda x: 1 / np.sqrt(x),
    math.SinOp: np.sin,
    math.SinhOp: np.sinh,
    math.SqrtOp: np.sqrt,
    math.TanOp: np.tan,
    math.TanhOp: np.tanh,
    math.TruncOp: np.trunc,
    arith.NegfOp: np.negative,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_unary_float(op, random):
    for x in (FLOATS, random(1000), np.abs(random(1000))):
        (result,) = apply(op, x)
        assert result.dtype == np.float32
        assert_allclose(result, UNARY[op](x.astype(np.float64)).astype(np.float32), rtol=4e-7, atol=1e-38)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_keep_their_type(dtype):
    x = np.array([0.5, 1], dtype)
    for op in (math.ExpOp, math.ErfOp, math.RoundOp, math.RsqrtOp):
        assert apply(op, x)[0].dtype == dtype
    assert apply(math.FmaOp, x, x, x)[0].dtype == dtype


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (arith.AddfOp, [4, NAN, 0, INF]),
        (arith.SubfOp, [-2, NAN, 0, INF]),
        (arith.MulfOp, [3, NAN, 0, INF]),
        (arith.DivfOp, [np.float32(1) / np.float32(3), NAN, NAN, INF]),
        (arith.MaximumfOp, [3, NAN, 0, INF]),
        (arith.MinimumfOp, [1, NAN, 0, 2]),
        (arith.MaxnumfOp, [3, 5, 0, INF]),
        (arith.MinnumfOp, [1, 5, 0, 2]),
        (math.PowFOp, [1, NAN, 1, INF]),
        (math.CopySignOp, [1, NAN, 0, INF]),
    ],
)
def test_binary_float(op, expected):
    a, b = np.array([1, NAN, 0, INF], np.float32), np.array([3, 5, 0, 2], np.float32)
    check(op, np.array(expected, np.float32), a, b)


def test_scalars_broadcast():
    check(arith.AddfOp, np.full((3, 2), 3, np.float32), np.ones((3, 1), np.float32), np.full(2, 2, np.float32))


def test_other_float_ops():
    x = np.array([3, -1], np.float32)
    check(math.Atan2Op, np.arctan2(x, np.float32(2)), x, np.array(2, np.float32))
    check(math.FPowIOp, np.array([1 / 9, 1], np.float32), x, np.array(-2, np.int32))
    big = np.float32(1 + 2**-12)
    check(math.FmaOp, np.array([2**-24], np.float32), *(np.array([v]) for v in (big, big, -np.float32(1 + 2**-11))))


INTEGERS = np.array([7, -7, 7, -7, -128, 0], np.int8), np.array([2, 2, -2, -2, -1, 3], np.int8)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (arith.AddiOp, [9, -5, 5, -9, 127, 3]),
        (arith.SubiOp, [5, -9, 9, -5, -127, -3]),
        (arith.MuliOp, [14, -14, -14, 14, -128, 0]),
        (arith.DivSIOp, [3, -3, -3, 3, -128, 0]),
        (arith.FloorDivSIOp, [3, -4, -4, 3, -128, 0]),
        (arith.CeilDivSIOp, [4, -3, -3, 4, -128, 0]),
        (arith.RemSIOp, [1, -1, 1, -1, 0, 0]),
        (arith.DivUIOp, [3, 124, 0, 0, 0, 0]),
        (arith.CeilDivUIOp, [4, 125, 1, 1, 1, 0]),
        (arith.RemUIOp, [1, 1, 7, -7, -128, 0]),
        (arith.MaxSIOp, [7, 2, 7, -2, -1, 3]),
        (arith.MinSIOp, [2, -7, -2, -7, -128, 0]),
        (arith.MaxUIOp, [7, -7, -2, -2, -1, 3]),
        (arith.MinUIOp, [2, 2, 7, -7, -128, 0]),
        (arith.AndIOp, [2, 0, 6, -8, -128, 0]),
        (arith.OrIOp, [7, -5, -1, -1, -1, 3]),
        (arith.XOrIOp, [5, -5, -7, 7, 127, 3]),
    ],
)
def test_binary_integer(op, expected):
    check(op, np.array(expected, np.int8), *INTEGERS)


def test_shifts():
    x, n = np.array([5, -8], np.int8), np.array([1, 2], np.int8)
    check(arith.ShLIOp, np.array([10, -32], np.int8), x, n)
    check(arith.ShRSIOp, np.array([2, -2], np.int8), x, n)
    check(arith.ShRUIOp, np.array([2, 62], np.int8), x, n)


def test_bit_counts_and_powers():
    x = np.array([0, 1, 12, -1], np.int8)
    check(math.CountLeadingZerosOp, np.array([8, 7, 4, 0], np.int8), x)
    check(math.CountTrailingZerosOp, np.array([8, 0, 2, 0], np.int8), x)
    check(math.CtPopOp, np.array([0, 1, 2, 8], np.int8), x)
    check(math.AbsIOp, np.array([0, 1, 12, 1], np.int8), x)
    check(math.IPowIOp, np.array([0, 8, 0, -1]), *np.array([[0, 2, 2, -1], [3, 3, -1, -3]]))


def test_booleans_are_one_bit():
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    check(arith.AddiOp, a ^ b, a, b)
    check(arith.MuliOp, a & b, a, b)
    check(arith.XOrIOp, a ^ b, a, b)
    check(lambda x: arith.ExtUIOp(x, i32), a.astype(np.int32), a)
    check(lambda x: arith.ExtSIOp(x, i32), -a.astype(np.int32), a)
    check(lambda x: arith.UIToFPOp(x, f32), a.astype(np.float32), a)
    check(lambda x: arith.TruncIOp(x, i1), np.array([False, True]), np.array([2, 3], np.int32))


def test_conversions():
    floats = np.array([-2.7, 2.7, 0.5], np.float32)
    check(lambda x: arith.FPToSIOp(x, i32), np.array([-2, 2, 0], np.int32), floats)
    check(lambda x: arith.FPToUIOp(x, i8), np.array([-56, 2, 0], np.int8), np.array([200, 2.7, 0.5], np.float32))
    check(lambda x: arith.ExtFOp(x, f64), floats.astype(np.float64), floats)
    check(lambda x: arith.TruncFOp(x, f16), floats.astype(np.float16), floats)
    check(lambda x: arith.SIToFPOp(x, f32), np.array([-1], np.float32), np.array([-1], np.int8))
    check(lambda x: arith.UIToFPOp(x, f32), np.array([255], np.float32), np.array([-1], np.int8))
    check(lambda x: arith.ExtUIOp(x, i64), np.array([255]), np.array([-1], np.int8))
    check(lambda x: arith.TruncIOp(x, i8), np.array([-1], np.int8), np.array([255], np.int32))
    check(lambda x: arith.BitcastOp(x, i32), floats.view(np.int32), floats)


def test_extended_arithmetic():
    a, b = np.array([-1, 2**62]), np.array([-1, 8])
    total, overflow = apply(arith.AddUIExtendedOp, a, b)
    assert (total.tolist(), overflow.tolist()) == ([-2, 2**62 + 8], [True, False])
    assert [half.tolist() for half in apply(arith.MulSIExtendedOp, a, b)] == [[1, 0], [0, 2]]
    assert [half.tolist() for half in apply(arith.MulUIExtendedOp, a, b)] == [[1, 0], [-2, 2]]


PREDICATES = {
    "false": [0, 0, 0, 0],
    "oeq": [0, 1, 0, 0],
    "ogt": [0, 0, 1, 0],
    "oge": [0, 1, 1, 0],
    "olt": [1, 0, 0, 0],
    "ole": [1, 1, 0, 0],
    "one": [1, 0, 1, 0],
    "ord": [1, 1, 1, 0],
    "ueq": [0, 1, 0, 1],
    "ugt": [0, 0, 1, 1],
    "uge": [0, 1, 1, 1],
    "ult": [1, 0, 0, 1],
    "ule": [1, 1, 0, 1],
    "une": [1, 0, 1, 1],
    "uno": [0, 0, 0, 1],
    "true": [1, 1, 1, 1],
}


@pytest.mark.parametrize("predicate", PREDICATES)
def test_compare_floats(predicate):
    a, b = np.array([1, 2, 3, NAN], np.float32), np.array(2, np.float32)
    check(lambda x, y: arith.CmpfOp(x, y, predicate), np.array(PREDICATES[predicate], bool), a, b)


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("eq", [0, 1, 0]),
        ("ne", [1, 0, 1]),
        ("slt", [1, 0, 0]),
        ("sle", [1, 1, 0]),
        ("sgt", [0, 0, 1]),
        ("sge", [0, 1, 1]),
        ("ult", [0, 0, 0]),
        ("ule", [0, 1, 0]),
        ("ugt", [1, 0, 1]),
        ("uge", [1, 1, 1]),
    ],
)
def test_compare_integers(predicate, expected):
    a, b = np.array([-1, 2, 3], np.int32), np.array(2, np.int32)
    check(lambda x, y: arith.CmpiOp(x, y, predicate), np.array(expected, bool), a, b)


def test_select_and_constants():
    choice, x = np.array([True, False]), np.array([1, 2], np.float32)
    check(lambda c, a: arith.SelectOp(c, a, a), x, choice, x)
    block = Block()
    constants = [arith.ConstantOp.from_int_and_width(-1, 8), arith.ConstantOp.from_int_and_width(1, 1)]
    block.add_ops([*constants, YieldOp(*(constant.result for constant in constants))])
    small, true = evaluate_region(Region(block), [])
    assert (small.dtype, int(small), true.dtype, bool(true)) == (np.int8, -1, np.bool_, True)
