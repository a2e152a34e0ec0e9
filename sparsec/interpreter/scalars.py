"""Regions of scalar `arith` and `math` ops, evaluated on whole arrays that broadcast against one another.

Floats keep their type (f32 stays f32); integers wrap; signed and unsigned ops see the same bits. What MLIR calls poison
(integer division by zero, a float outside the integer's range) gives whatever NumPy gives.
"""

from __future__ import annotations

import math as libm
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr
from xdsl.ir import Attribute, Operation, Region, SSAValue

from sparsec.errors import SparsecError
from sparsec.ir import YieldOp
from sparsec.ir.types import dtype_of

Scalar = Callable[..., np.ndarray]


def evaluate_region(region: Region, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the region yields for these arguments; shapes are those that broadcasting gives, not yet the op's."""
    block = region.block
    values: dict[SSAValue, np.ndarray] = dict(zip(block.args, arguments, strict=True))
    with np.errstate(all="ignore"):
        for op in block.ops:
            operands = [values[operand] for operand in op.operands]
            if isinstance(op, YieldOp):
                return operands
            values.update(zip(op.results, _evaluate(op, operands), strict=True))
    raise SparsecError("the region does not end in sp.yield")


def _evaluate(op: Operation, operands: list[np.ndarray]) -> list[np.ndarray]:
    if (several := _SEVERAL.get(type(op))) is not None:
        found = several(*operands)
    elif (simple := _SIMPLE.get(type(op))) is not None:
        found = [simple(*operands)]
    elif (attributed := _ATTRIBUTED.get(type(op))) is not None:
        found = [attributed(op, *operands)]
    else:
        raise SparsecError(f"{op.name} has no meaning inside a region of sp ops")
    return [_convert(array, _dtype(result.type)) for array, result in zip(found, op.results, strict=True)]


def _dtype(element: Attribute) -> np.dtype:
    return np.dtype(np.int64) if isinstance(element, IndexType) else dtype_of(element)


def _convert(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` as `dtype`; integers wrap, so that i1 keeps the lowest bit."""
    if dtype == np.bool_ and array.dtype != np.bool_:
        array = (array & 1) != 0
    return array.astype(dtype, copy=False)


def _signed(x: np.ndarray) -> np.ndarray:
    """The bits of `x` as a signed integer; true is -1."""
    if x.dtype == np.bool_:
        return -x.astype(np.int8)
    return x.view(f"i{x.itemsize}")


def _unsigned(x: np.ndarray) -> np.ndarray:
    """The bits of `x` as an unsigned integer; true is 1."""
    return x.astype(np.uint8) if x.dtype == np.bool_ else x.view(f"u{x.itemsize}")


def _on_signed(function: Scalar) -> Scalar:
    return lambda *operands: function(*map(_signed, operands))


def _on_unsigned(function: Scalar) -> Scalar:
    return lambda *operands: function(*map(_unsigned, operands))


def _width(x: np.ndarray) -> int:
    return 1 if x.dtype == np.bool_ else x.itemsize * 8


def _truncating_division(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a - np.fmod(a, b)) // b


def _add_extended(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    return _split(_unsigned(a).astype(object) + _unsigned(b).astype(object), _width(a))


def _multiply_extended(bits: Callable[[np.ndarray], np.ndarray]) -> Callable[..., list[np.ndarray]]:
    return lambda a, b: _split(bits(a).astype(object) * bits(b).astype(object), _width(a))


def _split(total: np.ndarray, width: int) -> list[np.ndarray]:
    """The low and the high half of exact integers, each with its sign bit in place."""
    halves = (total & ((1 << width) - 1), (total >> width) & ((1 << width) - 1))
    return [np.asarray(half, dtype=object).astype(np.uint64) for half in halves]


def _convert_to_integer(op: Operation, x: np.ndarray) -> np.ndarray:
    """Truncates towards zero. By way of int64, so that narrow results wrap alike on every machine."""
    return np.trunc(x).astype(np.int64)


def _constant(op: arith.ConstantOp) -> np.ndarray:
    if not isinstance(op.value, FloatAttr | IntegerAttr):
        raise SparsecError(f"arith.constant {op.value} is not a scalar")
    dtype = _dtype(op.result.type)
    number = op.value.value.data
    if dtype.kind in "iu":  # an i8 constant may be written 255 or -1
        number = (int(number) + (1 << 63)) % (1 << 64) - (1 << 63)
        return np.asarray(np.int64(number)).astype(dtype)
    return np.asarray(number).astype(dtype)


def _compare_integers(op: arith.CmpiOp, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    name = arith.CMPI_COMPARISON_OPERATIONS[op.predicate.value.data]
    bits = _unsigned if name[0] == "u" else _signed
    return _COMPARISONS[name[-2:]](bits(a), bits(b))


def _compare_floats(op: arith.CmpfOp, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    name = arith.CMPF_COMPARISON_OPERATIONS[op.predicate.value.data]
    unordered = np.isnan(a) | np.isnan(b)
    match name:
        case "false" | "true":
            return np.full(unordered.shape, name == "true")
        case "ord" | "uno":
            return unordered == (name == "uno")
    compared = _COMPARISONS[name[1:]](a, b)
    return compared | unordered if name[0] == "u" else compared & ~unordered


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """One rounding for f32 and f16: their products are exact in f64."""
    return a.astype(np.float64) * b + c


def _erf(x: np.ndarray) -> np.ndarray:
    """The C library's erf in f64, which NumPy does not have; 50 ns an element."""
    return np.fromiter(map(libm.erf, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def _round_half_away(x: np.ndarray) -> np.ndarray:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x), whole)


def _integer_power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """A negative exponent gives the truncated reciprocal: 0 but for bases 1 and -1."""
    power = np.power(base, np.abs(exponent))
    return np.where((exponent < 0) & (np.abs(base) != 1), 0, power)


def _leading_zeros(x: np.ndarray) -> np.ndarray:
    width, bits = _width(x), _unsigned(x)
    for shift in (1, 2, 4, 8, 16, 32):
        if shift < width:
            bits = bits | (bits >> shift)
    return width - np.bitwise_count(bits)


def _trailing_zeros(x: np.ndarray) -> np.ndarray:
    bits = _unsigned(x)
    return np.minimum(np.bitwise_count((bits & (~bits + 1)) - 1), _width(x))


_COMPARISONS: dict[str, Scalar] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}

_SEVERAL: dict[type[Operation], Callable[..., list[np.ndarray]]] = {
    arith.AddUIExtendedOp: _add_extended,
    arith.MulSIExtendedOp: _multiply_extended(_signed),
    arith.MulUIExtendedOp: _multiply_extended(_unsigned),
}

_ATTRIBUTED: dict[type[Operation], Scalar] = {
    arith.ConstantOp: _constant,
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.BitcastOp: lambda op, x: x.view(_dtype(op.result.type)),
    arith.FPToSIOp: _convert_to_integer,
    arith.FPToUIOp: _convert_to_integer,
}

_SIMPLE: dict[type[Operation], Scalar] = {
    arith.AddfOp: np.add,
    arith.SubfOp: np.subtract,
    arith.MulfOp: np.multiply,
    arith.DivfOp: np.divide,
    arith.NegfOp: np.negative,
    arith.MaximumfOp: np.maximum,
    arith.MinimumfOp: np.minimum,
    arith.MaxnumfOp: np.fmax,
    arith.MinnumfOp: np.fmin,
    arith.AddiOp: _on_unsigned(np.add),
    arith.SubiOp: _on_unsigned(np.subtract),
    arith.MuliOp: _on_unsigned(np.multiply),
    arith.DivSIOp: _on_signed(_truncating_division),
    arith.DivUIOp: _on_unsigned(np.floor_divide),
    arith.FloorDivSIOp: _on_signed(np.floor_divide),
    arith.CeilDivSIOp: _on_signed(lambda a, b: -(-a // b)),
    arith.CeilDivUIOp: _on_unsigned(lambda a, b: a // b + (a % b != 0)),
    arith.RemSIOp: _on_signed(np.fmod),
    arith.RemUIOp: _on_unsigned(np.remainder),
    arith.MaxSIOp: _on_signed(np.maximum),
    arith.MinSIOp: _on_signed(np.minimum),
    arith.MaxUIOp: _on_unsigned(np.maximum),
    arith.MinUIOp: _on_unsigned(np.minimum),
    arith.AndIOp: np.bitwise_and,
    arith.OrIOp: np.bitwise_or,
    arith.XOrIOp: np.bitwise_xor,
    arith.ShLIOp: _on_unsigned(np.left_shift),
    arith.ShRSIOp: _on_signed(np.right_shift),
    arith.ShRUIOp: _on_unsigned(np.right_shift),
    arith.SelectOp: np.where,
    arith.IndexCastOp: _signed,
    arith.SIToFPOp: _signed,
    arith.UIToFPOp: _unsigned,
    arith.ExtFOp: np.asarray,
    arith.TruncFOp: np.asarray,
    arith.TruncIOp: np.asarray,
    arith.ExtSIOp: _signed,
    arith.ExtUIOp: _unsigned,
    math.AbsFOp: np.abs,
    math.AbsIOp: _on_signed(np.abs),
    math.AcosOp: np.arccos,
    math.AcoshOp: np.arccosh,
    math.AsinOp: np.arcsin,
    math.AsinhOp: np.arcsinh,
    math.AtanOp: np.arctan,
    math.AtanhOp: np.arctanh,
    math.Atan2Op: np.arctan2,
    math.CbrtOp: np.cbrt,
    math.CeilOp: np.ceil,
    math.CopySignOp: np.copysign,
    math.CosOp: np.cos,
    math.CoshOp: np.cosh,
    math.CountLeadingZerosOp: _leading_zeros,
    math.CountTrailingZerosOp: _trailing_zeros,
    math.CtPopOp: _on_unsigned(np.bitwise_count),
    math.ErfOp: _erf,
    math.Exp2Op: np.exp2,
    math.ExpM1Op: np.expm1,
    math.ExpOp: np.exp,
    math.FPowIOp: lambda x, n: np.power(x, n.astype(x.dtype)),
    math.FloorOp: np.floor,
    math.FmaOp: _fma,
    math.IPowIOp: _on_signed(_integer_power),
    math.Log10Op: np.log10,
    math.Log1pOp: np.log1p,
    math.Log2Op: np.log2,
    math.LogOp: np.log,
    math.PowFOp: np.power,
    math.RoundEvenOp: np.rint,
    math.RoundOp: _round_half_away,
    math.RsqrtOp: lambda x: 1 / np.sqrt(x),
    math.SinOp: np.sin,
    math.SinhOp: np.sinh,
    math.SqrtOp: np.sqrt,
    math.TanOp: np.tan,
    math.TanhOp: np.tanh,
    math.TruncOp: np.trunc,
}

SCALARS = frozenset((*_SIMPLE, *_ATTRIBUTED, *_SEVERAL))
