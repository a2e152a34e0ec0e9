"""Arithmetic on scalars and vectors alike. Python numbers fold at once and take the type of the other operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlir.dialects import arith, llvm, math, vector

from sparsec.ir.dims import Sym
from sparsec.targets.builder import elements
from sparsec.targets.builder.sizes import Sizes
from sparsec.targets.builder.value import Operand, Value

_COMPARISONS = {"eq": 0, "ne": 1, "lt": 2, "le": 3, "gt": 4, "ge": 5}
# MLIR's arith.CmpFPredicate: ordered, but for "ne", which is true on NaN as in C; the u names are true on NaN.
_FLOAT_PREDICATES = {"eq": 1, "gt": 2, "ge": 3, "lt": 4, "le": 5, "one": 6, "ord": 7}
_FLOAT_PREDICATES |= {"ueq": 8, "ugt": 9, "uge": 10, "ult": 11, "ule": 12, "ne": 13, "uno": 14}

_X86_EXTREMA = {4: "llvm.x86.sse.{}.ps", 8: "llvm.x86.avx.{}.ps.256", 16: "llvm.x86.avx512.{}.ps.512"}


class Arithmetic(Sizes):
    """Operators, comparisons, minima and maxima, multiply-add."""

    def match(self, x: Operand, y: Operand) -> tuple[Value, Value]:
        """Both operands as values of one type: numbers become constants, scalars are broadcast to vectors."""
        x, y = (self.size(operand) if isinstance(operand, Sym) else operand for operand in (x, y))
        if not isinstance(x, Value):
            assert isinstance(y, Value), "one operand must be a Value"
            x = self.constant(x, y.element, y.lanes)
        if not isinstance(y, Value):
            y = self.constant(y, x.element, x.lanes)
        if x.element != y.element:
            raise TypeError(f"operands are {x} and {y}: convert one of them")
        if x.lanes is None and y.lanes is not None:
            x = self.broadcast(x, y.lanes)
        if y.lanes is None and x.lanes is not None:
            y = self.broadcast(y, x.lanes)
        if x.lanes != y.lanes:
            raise TypeError(f"operands are {x} and {y}: the lanes differ")
        return x, y

    def broadcast(self, x: Operand, lanes: int | None = None, element: str = "f32") -> Value:
        """A vector with `x` in all lanes; the ISA's number of lanes by default."""
        lanes = lanes or self.isa.lanes
        if isinstance(x, Sym):
            raise TypeError(f"convert the size {x} before it is broadcast")
        if not isinstance(x, Value):
            return self.constant(x, element, lanes)
        if x.lanes is not None:
            raise TypeError(f"{x} is a vector already")
        return Value(self, vector.broadcast(self.type(x.element, lanes), x.ir), x.element, lanes)

    def add(self, x: Operand, y: Operand) -> Value:
        """x + y."""
        if isinstance(x, Value) and isinstance(y, int) and not elements.is_float(x.element):
            if y == 0:
                return x
            if x.element == "index" and x.lanes is None:
                return Value(self, x.base, x.element, None, x.addend + y)
        x, y = self.match(x, y)
        if x.element == "index" and x.lanes is None:
            return Value(self, arith.addi(x.base, y.base), x.element, None, x.addend + y.addend)
        return self._binary(x, y, arith.addf, arith.addi, arith.addi)

    def sub(self, x: Operand, y: Operand) -> Value:
        """x - y."""
        if isinstance(x, Value) and isinstance(y, int) and not elements.is_float(x.element):
            return self.add(x, -y)
        x, y = self.match(x, y)
        if x.element == "index" and x.lanes is None:
            return Value(self, arith.subi(x.base, y.base), x.element, None, x.addend - y.addend)
        return self._binary(x, y, arith.subf, arith.subi, arith.subi)

    def mul(self, x: Operand, y: Operand) -> Any:
        """x * y; the Python int 0 where an integer is multiplied by it."""
        if isinstance(x, Value) and isinstance(y, int) and not elements.is_float(x.element) and x.lanes is None:
            if y in (0, 1):
                return x if y else 0
            if x.element == "index":
                product = arith.muli(x.base, self.constant(y).ir)
                return Value(self, product, x.element, None, x.addend * y)
        return self._binary(*self.match(x, y), arith.mulf, arith.muli, arith.muli)

    def div(self, x: Operand, y: Operand) -> Value:
        """x / y. Integers truncate towards zero, as in C; an `index` is taken as unsigned."""
        if isinstance(y, int) and y == 1 and isinstance(x, Value):
            return x
        return self._binary(*self.match(x, y), arith.divf, arith.divsi, arith.divui)

    def rem(self, x: Operand, y: Operand) -> Any:
        """The remainder of integer division, with the sign of x, as in C; an `index` is taken as unsigned."""
        if isinstance(y, int) and y == 1 and isinstance(x, Value) and x.lanes is None:
            return 0
        x, y = self.match(x, y)
        if elements.is_float(x.element):
            raise TypeError("the remainder of floats is vector_math.fmod: LLVM's calls libm")
        return self._binary(x, y, arith.remf, arith.remsi, arith.remui)

    def neg(self, x: Value) -> Value:
        """-x."""
        return self._like(x, arith.negf(x.ir)) if elements.is_float(x.element) else self.sub(0, x)

    def bitand(self, x: Operand, y: Operand) -> Value:
        """x & y."""
        return self._binary(*self.match(x, y), None, arith.andi, arith.andi)

    def bitor(self, x: Operand, y: Operand) -> Value:
        """x | y."""
        return self._binary(*self.match(x, y), None, arith.ori, arith.ori)

    def bitxor(self, x: Operand, y: Operand) -> Value:
        """x ^ y."""
        return self._binary(*self.match(x, y), None, arith.xori, arith.xori)

    def shl(self, x: Operand, y: Operand) -> Value:
        """x << y; y must be below the width."""
        return self._binary(*self.match(x, y), None, arith.shli, arith.shli)

    def shr(self, x: Operand, y: Operand) -> Value:
        """x >> y: arithmetic for signed elements, logical for unsigned ones and `index`."""
        return self._binary(*self.match(x, y), None, arith.shrsi, arith.shrui)

    def compare(self, predicate: str, x: Operand, y: Operand) -> Value:
        """An i1: eq, ne, lt, le, gt, ge; on floats also one, ord, uno and ueq, ult, ule, ugt, uge (true on NaN)."""
        x, y = self.match(x, y)
        if elements.is_float(x.element):
            result = arith.cmpf(_FLOAT_PREDICATES[predicate], x.ir, y.ir)
        else:
            number = _COMPARISONS[predicate]
            unsigned = elements.is_unsigned(x.element) and number >= 2
            result = arith.cmpi(number + 4 if unsigned else number, x.ir, y.ir)
        return Value(self, result, "i1", x.lanes)

    def select(self, condition: Value | bool, x: Operand, y: Operand) -> Value:
        """x where the condition holds, else y."""
        x, y = self.match(x, y)
        if isinstance(condition, bool):
            return x if condition else y
        if condition.lanes is not None and x.lanes is None:
            x, y = self.broadcast(x, condition.lanes), self.broadcast(y, condition.lanes)
        if self.isa.relaxed and condition.lanes is not None and elements.is_float(x.element):
            return self._select_bits(condition, x, y)
        return self._like(x, arith.select(condition.ir, x.ir, y.ir))

    def max(self, x: Operand, y: Operand) -> Value:
        """The larger one; NaN where an operand is NaN."""
        return self._extremum(x, y, "lt", arith.maximumf, arith.maxsi, arith.maxui)

    def min(self, x: Operand, y: Operand) -> Value:
        """The smaller one; NaN where an operand is NaN."""
        return self._extremum(x, y, "gt", arith.minimumf, arith.minsi, arith.minui)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z on floats: fused where the ISA has it, else rounded twice."""
        x, y = self.match(x, y)
        x, z = self.match(x, z)
        y, z = self.match(y, z)
        if not self.isa.fma or (x.lanes is None and self.isa.wasm):
            return x * y + z
        if x.lanes is None:
            return self._like(x, llvm.intr_fmuladd(x.ir, y.ir, z.ir))
        return self._like(x, vector.fma(x.ir, y.ir, z.ir))

    def is_zmm(self, x: Value) -> bool:
        """Whether `scale` and `reciprocal_estimate`, which only AVX-512 has, can be used on `x`."""
        return self.isa.x86 and self.isa.masked_arithmetic and x.element == "f32" and x.lanes == 16

    def scale(self, x: Value, exponent: Value) -> Value:
        """x · 2^exponent, `exponent` a whole number as a float; overflow and denormal results as IEEE 754 says."""
        mask, rounding = self.constant(-1, "i16").ir, self.constant(4, "i32").ir
        return self._zmm("llvm.x86.avx512.mask.scalef.ps.512", x.ir, exponent.ir, x.ir, mask, rounding)

    def reciprocal_estimate(self, x: Value) -> Value:
        """1 / x with a relative error below 2^-14."""
        return self._zmm("llvm.x86.avx512.rcp14.ps.512", x.ir, x.ir, self.constant(-1, "i16").ir)

    def _zmm(self, name: str, *operands: Any) -> Value:
        call = llvm.CallIntrinsicOp(self.type("f32", 16), name, list(operands), [], [])
        return Value(self, call.operation.results[0], "f32", 16)

    def sqrt(self, x: Value) -> Value:
        """The square root, correctly rounded."""
        return self._like(x, math.sqrt(x.ir))

    def abs(self, x: Value) -> Value:
        """|x| of floats and signed integers."""
        return self._like(x, (math.absf if elements.is_float(x.element) else math.absi)(x.ir))

    def count_bits(self, x: Value) -> Value:
        """How many bits of an integer are set."""
        return self._like(x, math.ctpop(x.ir))

    def floor(self, x: Value) -> Value:
        """The largest whole number not above x, as a float."""
        return self._like(x, math.floor(x.ir))

    def ceil(self, x: Value) -> Value:
        """The smallest whole number not below x, as a float."""
        return self._like(x, math.ceil(x.ir))

    def trunc(self, x: Value) -> Value:
        """x without its fraction, as a float."""
        return self._like(x, math.trunc(x.ir))

    def round_even(self, x: Value) -> Value:
        """The nearest whole number, ties to even, as a float."""
        return self._like(x, math.roundeven(x.ir))

    def _select_bits(self, condition: Value, x: Value, y: Value) -> Value:
        """`select` through wasm's bitselect. LLVM makes relaxed_max of x > y ? x : y, which loses NaN."""
        lanes, width = condition.lanes or 1, elements.bits(x.element)
        if lanes * width > 128 and lanes % 2 == 0:
            halves = [[self.half(v, side) for v in (condition, x, y)] for side in (0, 1)]
            return self.concat(*(self._select_bits(*half) for half in halves))
        if lanes * width != 128:
            return self._like(x, arith.select(condition.ir, x.ir, y.ir))
        kind = self.type(f"i{width}", lanes)
        mask = arith.extsi(kind, condition.ir)
        bits = (arith.bitcast(kind, v.ir) for v in (x, y))
        chosen = llvm.CallIntrinsicOp(kind, "llvm.wasm.bitselect", [*bits, mask], [], []).results
        return self._like(x, arith.bitcast(x.ir.type, chosen))

    def concat(self, x: Value, y: Value) -> Value:
        """The lanes of `x`, then those of `y`; both have equally many."""
        lanes = 2 * (x.lanes or 1)
        return Value(self, vector.shuffle(x.ir, y.ir, list(range(lanes))), x.element, lanes)

    def half(self, x: Value, side: int) -> Value:
        """The low (0) or high (1) half of a vector's lanes."""
        lanes = (x.lanes or 2) // 2
        chosen = list(range(side * lanes, side * lanes + lanes))
        return Value(self, vector.shuffle(x.ir, x.ir, chosen), x.element, lanes)

    def _extremum(self, x: Operand, y: Operand, worse: str, ordered: Any, signed: Any, unsigned: Any) -> Value:
        # x86 has no maximum that keeps NaN; against a number maxps does, in the operand order that this select gives,
        # else it takes 3 instructions (2 on AVX-512). LLVM's own sequence takes 6, as it also tells 0 from -0. So does
        # what V8 makes of f32x4.max, in 8; f32x4.pmax is maxps. Depthwise layers with a ReLU take 17 % less time by it.
        if not isinstance(x, Value):
            x, y = y, x
        number = not isinstance(y, Value) and y == y
        if self.isa.x86 and number and isinstance(x, Value) and elements.is_float(x.element):
            return self.select(self.compare(worse, x, y), y, x)
        x, y = self.match(x, y)
        if self.isa.wasm and elements.is_float(x.element) and elements.bits(x.element) * (x.lanes or 1) == 128:
            if number:
                return self._wasm_extremum(x, y, worse)
            return self.select(self.compare("ord", x, x), self._wasm_extremum(y, x, worse), x)
        if self.isa.x86 and elements.is_float(x.element):
            return self.select(self.compare("ord", x, x), self._x86_extremum(x, y, worse), x)
        if x.element == "index":
            unsigned = signed
        return self._binary(x, y, ordered, signed, unsigned)

    def _wasm_extremum(self, x: Value, y: Value, worse: str) -> Value:
        """pmax or pmin: x where an operand is NaN."""
        name = f"llvm.wasm.p{'max' if worse == 'lt' else 'min'}"
        return self._like(x, llvm.CallIntrinsicOp(x.ir.type, name, [x.ir, y.ir], [], []).results[0])

    def _x86_extremum(self, x: Value, y: Value, worse: str) -> Value:
        """maxps or minps, y where an operand is NaN; as intrinsics, since LLVM takes a select apart again."""
        if x.element != "f32" or x.lanes not in _X86_EXTREMA or x.lanes > self.isa.lanes:
            return self.select(self.compare(worse, y, x), x, y)
        operands = [x.ir, y.ir] + ([self.constant(4, "i32").ir] if x.lanes == 16 else [])
        name = _X86_EXTREMA[x.lanes].format("max" if worse == "lt" else "min")
        call = llvm.CallIntrinsicOp(self.type(x.element, x.lanes), name, operands, [], [])
        return self._like(x, call.results)

    def _binary(self, x: Value, y: Value, real: Any, signed: Any, unsigned: Any) -> Value:
        if elements.is_float(x.element):
            if real is None:
                raise TypeError(f"{x} is a float: bitcast it first")
            return self._like(x, real(x.ir, y.ir))
        operation: Callable[..., Any] = unsigned if elements.is_unsigned(x.element) or x.element == "index" else signed
        return self._like(x, operation(x.ir, y.ir))

    def _like(self, x: Value, result: Any) -> Value:
        return Value(self, result, x.element, x.lanes)
