"""What each scalar `arith` and `math` op is in terms of the builder: one table, used on scalars and vectors alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Operation

from sparsec.targets import vector_math
from sparsec.targets.builder import Builder, Value, elements

Scalar = Value | int | float


@dataclass(frozen=True)
class Context:
    """The op that a rule is for, and the element type of its result."""

    op: Operation
    element: str

    @property
    def predicate(self) -> int:
        """The predicate of a comparison."""
        attribute = self.op.properties["predicate"]
        assert isinstance(attribute, IntegerAttr)
        return attribute.value.data


Rule = Callable[..., Value]

_INTEGER_PREDICATES = ("eq", "ne", "lt", "le", "gt", "ge", "lt", "le", "gt", "ge")
_FLOAT_PREDICATES = ("false", "eq", "gt", "ge", "lt", "le", "one", "ord")
_FLOAT_PREDICATES += ("ueq", "ugt", "uge", "ult", "ule", "ne", "uno", "true")


def _bits(b: Builder, x: Value, sign: str) -> Value:
    """An integer taken as signed (`i`) or unsigned (`u`); i1 has no sign."""
    if x.element == "i1":
        return x
    return b.bitcast(x, f"{sign}{elements.bits(x.element)}")


def _plain(function: Callable[..., Value]) -> Rule:
    return lambda b, at, *operands: function(b, *operands)


def _on(sign: str, function: Callable[..., Value]) -> Rule:
    return lambda b, at, *operands: function(b, *(_bits(b, x, sign) if isinstance(x, Value) else x for x in operands))


def _math(function: Callable[..., Value]) -> Rule:
    """A function of f32; f64 is computed in f32."""

    def rule(b: Builder, at: Context, *operands: Scalar) -> Value:
        return function(b, *(b.convert(x, "f32") if isinstance(x, Value) else x for x in operands))

    return rule


def _divide(b: Builder, x: Scalar, y: Scalar) -> Value:
    """x / y with 0 for y = 0: lanes beyond a tail hold zeros, and x86 traps on them; also on -2^n / -1."""
    x, y, zero, minus = _divisible(b, x, y)
    quotient = b.select(zero, 0, x / y)
    return quotient if minus is None else b.select(minus, -x, quotient)


def _divide_floats(b: Builder, at: Context, x: Scalar, y: Scalar) -> Value:
    """x / y; the 1 / (1 + e^z) of sigmoid and swish as a reciprocal."""
    numerator, denominator = b.match(x, y)
    one_over_sum = not isinstance(x, Value) and x == 1.0 and _is_one_plus(at.op.operands[1].owner, math.ExpOp)
    if one_over_sum and at.element == "f32":
        return vector_math.reciprocal_above_one(b, denominator)
    return numerator / denominator


def _for_sum(name: str) -> Rule:
    """A function of floats; where only sums with 1 read it, as in sigmoid and GELU, the one that is made for these."""
    function, cheaper = getattr(vector_math, name), getattr(vector_math, f"{name}_for_sum")

    def rule(b: Builder, at: Context, x: Value) -> Value:
        in_sums = all(_is_one_plus(use.operation, type(at.op)) for use in at.op.results[0].uses)
        return (cheaper if in_sums else function)(b, b.convert(x, "f32"))

    return rule


def _is_one_plus(op: object, kind: type) -> bool:
    """Whether `op` adds 1 to the result of one of `kind`."""
    return (
        isinstance(op, arith.AddfOp)
        and any(isinstance(x.owner, kind) for x in op.operands)
        and any(isinstance(x.owner, arith.ConstantOp) and _number(x.owner) == 1.0 for x in op.operands)
    )


def _number(op: arith.ConstantOp) -> float | None:
    return op.value.value.data if isinstance(op.value, FloatAttr) else None


def _remainder(b: Builder, x: Scalar, y: Scalar) -> Value:
    """The remainder of `_divide`, with the sign of x; 0 for y = 0."""
    x, y, zero, minus = _divisible(b, x, y)
    rest = x % y
    return b.select(zero if minus is None else zero | minus, 0, rest)


def _divisible(b: Builder, x: Scalar, y: Scalar) -> tuple[Value, Value, Value, Value | None]:
    """x; y with 0 and -1 replaced by 1; where it was 0; where it was -1 (None if unsigned)."""
    x, y = b.match(x, y)
    zero = b.compare("eq", y, 0)
    minus = None if elements.is_unsigned(y.element) or y.element == "index" else b.compare("eq", y, -1)
    bad = zero if minus is None else zero | minus
    return x, b.select(bad, 1, y), zero, minus


def _floor_divide(b: Builder, x: Scalar, y: Scalar) -> Value:
    x, y = b.match(x, y)
    rest = _remainder(b, x, y)
    return _divide(b, x, y) - b.convert((rest != 0) & ((rest ^ y) < 0), x.element)


def _ceil_divide(b: Builder, x: Scalar, y: Scalar) -> Value:
    x, y = b.match(x, y)
    rest = _remainder(b, x, y)
    return _divide(b, x, y) + b.convert((rest != 0) & ((rest ^ y) >= 0), x.element)


def _ceil_divide_unsigned(b: Builder, x: Scalar, y: Scalar) -> Value:
    x, y = b.match(x, y)
    return _divide(b, x, y) + b.convert(_remainder(b, x, y) != 0, x.element)


def _shift_left(b: Builder, x: Scalar, y: Scalar) -> Value:
    """0 where all bits are shifted out, which the instructions do not agree on."""
    x, y = b.match(x, y)
    width = elements.bits(x.element)
    inside = _bits(b, y, "u") < width
    return b.select(inside, x << b.select(inside, y, 0), 0)


def _shift_right(b: Builder, x: Scalar, y: Scalar) -> Value:
    x, y = b.match(x, y)
    width = elements.bits(x.element)
    inside = _bits(b, y, "u") < width
    if elements.is_unsigned(x.element):
        return b.select(inside, x >> b.select(inside, y, 0), 0)
    return x >> b.select(inside, y, width - 1)


def _compare_floats(b: Builder, at: Context, x: Scalar, y: Scalar) -> Value:
    name = _FLOAT_PREDICATES[at.predicate]
    if name in ("false", "true"):
        lanes = b.match(x, y)[0].lanes
        return b.constant(int(name == "true"), "i1", lanes)
    return b.compare(name, x, y)


def _compare_integers(b: Builder, at: Context, x: Scalar, y: Scalar) -> Value:
    x, y = b.match(x, y)
    signed = at.predicate < 6
    if signed and x.element == "i1":  # as a signed number, true is -1
        x, y = y, x
    sign = "i" if signed else "u"
    return b.compare(_INTEGER_PREDICATES[at.predicate], _bits(b, x, sign), _bits(b, y, sign))


def _extend_signed(b: Builder, at: Context, x: Value) -> Value:
    if x.element == "i1":
        return -b.convert(x, at.element)
    return b.convert(_bits(b, x, "i"), at.element)


def _extend(b: Builder, at: Context, x: Value) -> Value:
    return b.convert(_bits(b, x, "u"), at.element)


def _signed_to_float(b: Builder, at: Context, x: Value) -> Value:
    x = -b.convert(x, "i32") if x.element == "i1" else x
    return b.convert(_bits(b, x, "i"), at.element)


def _to_integer(b: Builder, at: Context, x: Value) -> Value:
    """By way of 32 or 64 bits, so that narrow results wrap on every ISA."""
    wide = "i64" if elements.bits(at.element) > 32 or at.element in ("index", "u32") else "i32"
    return _truncate(b, at, b.convert(x, wide))


def _truncate(b: Builder, at: Context, x: Value) -> Value:
    return (x & 1) != 0 if at.element == "i1" else b.convert(x, at.element)


def _power(b: Builder, x: Scalar, y: Scalar) -> Value:
    """Small constant exponents are products, as in GELU's x³ and the x² of a variance."""
    if isinstance(x, Value) and not isinstance(y, Value) and y in (2.0, 3.0):
        return x * x if y == 2.0 else x * x * x
    return vector_math.pow(b, *b.match(x, y))


def _integer_power_of_float(b: Builder, at: Context, x: Value, y: Value) -> Value:
    return vector_math.pow(b, b.convert(x, "f32"), b.convert(_bits(b, y, "i"), "f32"))


def _integer_power(b: Builder, x: Scalar, y: Scalar) -> Value:
    """By squaring, wrapping around. A negative exponent gives the truncated reciprocal: 0 but for bases 1 and -1."""
    x, y = b.match(x, y)
    base, exponent, result = x, b.abs(y), b.constant(1, x.element, x.lanes)
    for bit in range(elements.bits(x.element) - 1):
        result = b.select(((exponent >> bit) & 1) != 0, result * base, result)
        base = base * base
    return b.select((y < 0) & (x != 1) & (x != -1), 0, result)


def _leading_zeros(b: Builder, x: Value) -> Value:
    width = elements.bits(x.element)
    for shift in (1, 2, 4, 8, 16, 32):
        if shift < width:
            x = x | (x >> shift)
    return _count_bits(b, ~x)


def _trailing_zeros(b: Builder, x: Value) -> Value:
    return _count_bits(b, ~x & (x - 1))


def _count_bits(b: Builder, x: Value) -> Value:
    return b.count_bits(x)


_ARITH: dict[str, Rule] = {
    "addf": _plain(lambda b, x, y: x + y),
    "subf": _plain(lambda b, x, y: x - y),
    "mulf": _plain(lambda b, x, y: x * y),
    "divf": _divide_floats,
    "remf": _math(vector_math.fmod),
    "negf": _plain(lambda b, x: -x),
    "maximumf": _plain(lambda b, x, y: b.max(x, y)),
    "minimumf": _plain(lambda b, x, y: b.min(x, y)),
    "maxnumf": _plain(vector_math.maxnum),
    "minnumf": _plain(vector_math.minnum),
    "cmpf": _compare_floats,
    "cmpi": _compare_integers,
    "select": _plain(lambda b, condition, x, y: b.select(condition, x, y)),
    "addi": _plain(lambda b, x, y: x + y),
    "subi": _plain(lambda b, x, y: x - y),
    "muli": _plain(lambda b, x, y: b.mul(*b.match(x, y))),
    "andi": _plain(lambda b, x, y: x & y),
    "ori": _plain(lambda b, x, y: x | y),
    "xori": _plain(lambda b, x, y: x ^ y),
    "divsi": _on("i", _divide),
    "divui": _on("u", _divide),
    "remsi": _on("i", _remainder),
    "remui": _on("u", _remainder),
    "floordivsi": _on("i", _floor_divide),
    "ceildivsi": _on("i", _ceil_divide),
    "ceildivui": _on("u", _ceil_divide_unsigned),
    "maxsi": _on("i", lambda b, x, y: b.max(x, y)),
    "minsi": _on("i", lambda b, x, y: b.min(x, y)),
    "maxui": _on("u", lambda b, x, y: b.max(x, y)),
    "minui": _on("u", lambda b, x, y: b.min(x, y)),
    "shli": _on("u", _shift_left),
    "shrsi": _on("i", _shift_right),
    "shrui": _on("u", _shift_right),
    "extf": lambda b, at, x: b.convert(x, at.element),
    "truncf": lambda b, at, x: b.convert(x, at.element),
    "extsi": _extend_signed,
    "extui": _extend,
    "uitofp": _extend,
    "sitofp": _signed_to_float,
    "fptosi": _to_integer,
    "fptoui": _to_integer,
    "trunci": _truncate,
    "index_cast": _extend_signed,
    "bitcast": lambda b, at, x: b.bitcast(x, at.element),
}

_MATH: dict[str, Rule] = {
    "absf": _plain(lambda b, x: b.abs(x)),
    "absi": _on("i", lambda b, x: b.abs(x)),
    "ceil": _plain(lambda b, x: b.ceil(x)),
    "floor": _plain(lambda b, x: b.floor(x)),
    "trunc": _plain(lambda b, x: b.trunc(x)),
    "roundeven": _plain(lambda b, x: b.round_even(x)),
    "sqrt": _plain(lambda b, x: b.sqrt(x)),
    "erf": _for_sum("erf"),
    "exp": _for_sum("exp"),
    "tanh": _for_sum("tanh"),
    "fma": _plain(lambda b, x, y, z: b.fma(x, y, z)),
    "round": _math(vector_math.round_away),
    "powf": _math(_power),
    "fpowi": _integer_power_of_float,
    "ipowi": _on("i", _integer_power),
    "copysign": _math(vector_math.copysign),
    "ctpop": _on("u", _count_bits),
    "ctlz": _on("u", _leading_zeros),
    "cttz": _on("u", _trailing_zeros),
    "atan2": _math(lambda b, y, x: vector_math.atan2(b, *b.match(y, x))),
}
_OTHERS = {
    "atan2",
    "copysign",
    "erf",
    "erf_for_sum",
    "exp",
    "exp2_for_sum",
    "exp_for_sum",
    "fmod",
    "maxnum",
    "minnum",
    "pow",
    "reciprocal_above_one",
    "round_away",
    "tanh",
    "tanh_for_sum",
}
_MATH |= {name: _math(getattr(vector_math, name)) for name in vector_math.__all__ if name not in _OTHERS}

RULES = {f"arith.{name}": rule for name, rule in _ARITH.items()} | {
    f"math.{name}": rule for name, rule in _MATH.items()
}
