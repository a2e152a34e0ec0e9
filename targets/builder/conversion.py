"""Conversions between element types, bit casts, and moving elements between lanes."""

from __future__ import annotations

from collections.abc import Sequence

from mlir import ir
from mlir.dialects import arith, vector

from sparsec.ir.dims import Sym
from sparsec.targets.builder import elements
from sparsec.targets.builder.arithmetic import Arithmetic
from sparsec.targets.builder.value import Operand, Value

_DYNAMIC_POSITION = -(2**63)


class Conversion(Arithmetic):
    """Conversions, shuffles and horizontal reductions."""

    def convert(self, x: Operand, element: str) -> Value:
        """`x` as `element`: integers wrap or extend by their sign, floats round to nearest even or are cut to integers.

        Conversion to i1 tests for not zero; a float outside the integer's range gives an arbitrary integer. A Python
        number, such as the index of a loop that runs once, becomes a constant.
        """
        if isinstance(x, Sym):
            x = self.size(x)
        if not isinstance(x, Value):
            return self.constant(x, element)
        if x.element == element:
            return x
        if element == "i1":
            return self.compare("ne", x, 0)
        if "index" in (x.element, element):
            return self._convert_index(x, element)
        if x.element in ("f16", "bf16") and element != "f32":
            return self.convert(self.convert(x, "f32"), element)
        if element in ("f16", "bf16") and x.element != "f32":
            return self.convert(self.convert(x, "f32"), element)
        if "bf16" in (x.element, element):
            return self._from_bf16(x) if x.element == "bf16" else self._to_bf16(x)
        if "f16" in (x.element, element) and not self.isa.half:
            return self._from_f16(x) if x.element == "f16" else self._to_f16(x)
        return self._cast(x, element)

    def bitcast(self, x: Value, element: str) -> Value:
        """The bits of `x` as elements of type `element`, which may be narrower or wider in a vector."""
        have, want = elements.bits(x.element), elements.bits(element)
        if x.lanes is None or have == want:
            same = self.type(x.element) == self.type(element)
            result = x.ir if same else arith.bitcast(self.type(element, x.lanes), x.ir)
            return Value(self, result, element, x.lanes)
        lanes = x.lanes * have // want
        return Value(self, vector.bitcast(self.type(element, lanes), x.ir), element, lanes)

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """The chosen lanes of `x` followed by `y`."""
        return Value(self, vector.shuffle(x.ir, y.ir, list(lanes)), x.element, len(lanes))

    def permute(self, x: Value, lanes: Sequence[int]) -> Value:
        """The chosen lanes of `x`."""
        return self.shuffle(x, x, lanes)

    def slice(self, x: Value, start: int, lanes: int) -> Value:
        """`lanes` lanes of `x` from `start` on."""
        return x if lanes == x.lanes else self.permute(x, range(start, start + lanes))

    def interleave(self, x: Value, y: Value) -> Value:
        """x[0], y[0], x[1], y[1], ..."""
        assert x.lanes is not None
        return self.shuffle(x, y, [lane + side * x.lanes for lane in range(x.lanes) for side in (0, 1)])

    def extract(self, x: Value, lane: int | Value) -> Value:
        """One lane as a scalar."""
        if isinstance(lane, int):
            return Value(self, vector.extract(x.ir, [], [lane]), x.element)
        return Value(self, vector.extract(x.ir, [lane.ir], [_DYNAMIC_POSITION]), x.element)

    def insert(self, x: Value, scalar: Value, lane: int) -> Value:
        """`x` with one lane replaced."""
        return Value(self, vector.insert(scalar.ir, x.ir, [], [lane]), x.element, x.lanes)

    def vector_of(self, scalars: Sequence[Value]) -> Value:
        """A vector with one scalar a lane."""
        kind = self.type(scalars[0].element, len(scalars))
        return Value(self, vector.from_elements(kind, [x.ir for x in scalars]), scalars[0].element, len(scalars))

    def reduce(self, kind: str, x: Value) -> Value:
        """All lanes folded into a scalar: add, mul (a tree, in any order), max, min (NaN wins), and, or, xor."""
        real = elements.is_float(x.element)
        if kind in ("max", "min"):
            names = ("maximumf", "maxsi", "maxui") if kind == "max" else ("minimumf", "minsi", "minui")
            unsigned = elements.is_unsigned(x.element)
            if real and self.isa.x86:
                return self._reduce_by_halves(kind, x)
            kind = names[0] if real else names[2 if unsigned else 1]
        attribute = ir.Attribute.parse(f"#vector.kind<{kind}>")
        relaxed = ir.Attribute.parse("#arith.fastmath<reassoc>") if real else None
        return Value(self, vector.reduction(self.type(x.element), attribute, x.ir, fastmath=relaxed), x.element)

    def _reduce_by_halves(self, kind: str, x: Value) -> Value:
        """A tree of maxima. LLVM folds the lanes one after the other where NaN must win on x86."""
        while (lanes := x.lanes or 1) > 1:
            if lanes % 2:
                rest = self.slice(x, 1, lanes - 1)
                fold = self.max if kind == "max" else self.min
                return fold(self.extract(x, 0), self._reduce_by_halves(kind, rest))
            low, high = self.half(x, 0), self.half(x, 1)
            x = self.max(low, high) if kind == "max" else self.min(low, high)
        return self.extract(x, 0)

    def _convert_index(self, x: Value, element: str) -> Value:
        if elements.is_float(element) or elements.is_float(x.element) or x.element == "i1":
            return self.convert(self.convert(x, self.index_int), element)
        cast = arith.index_castui if elements.is_unsigned(x.element) else arith.index_cast
        return Value(self, cast(self.type(element, x.lanes), x.ir), element, x.lanes)

    def _cast(self, x: Value, element: str) -> Value:
        real, to_real = elements.is_float(x.element), elements.is_float(element)
        have, want = elements.bits(x.element), elements.bits(element)
        unsigned = elements.is_unsigned(x.element)
        if real and to_real:
            cast = arith.extf if want > have else arith.truncf
        elif to_real:
            cast = arith.uitofp if unsigned else arith.sitofp
        elif real:
            cast = arith.fptoui if elements.is_unsigned(element) else arith.fptosi
        elif have == want:
            return self.bitcast(x, element)
        elif want < have:
            cast = arith.trunci
        else:
            cast = arith.extui if unsigned else arith.extsi
        return Value(self, cast(self.type(element, x.lanes), x.ir), element, x.lanes)

    def _from_bf16(self, x: Value) -> Value:
        bits = self.convert(self.bitcast(x, "u16"), "u32")
        return self.bitcast(bits << 16, "f32")

    def _to_bf16(self, x: Value) -> Value:
        bits = self.bitcast(x, "u32")
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        quiet = (bits >> 16) | 0x40
        return self.bitcast(self.convert(self.select(x != x, quiet, rounded), "u16"), "bf16")

    def _from_f16(self, x: Value) -> Value:
        """f16 → f32 with integers (wasm): the exponent is moved by a multiplication, which normalises denormals too."""
        bits = self.convert(self.bitcast(x, "u16"), "u32")
        magnitude = (bits & 0x7FFF) << 13
        scaled = self.bitcast(self.bitcast(magnitude, "f32") * 2.0**112, "u32")
        special = self.select(magnitude >= 0x7C00 << 13, magnitude | 0x7F800000, scaled)
        return self.bitcast(special | ((bits & 0x8000) << 16), "f32")

    def _to_f16(self, x: Value) -> Value:
        """f32 → f16 with integers (wasm), rounding to nearest even; after F. Giesen's float_to_half_fast3_rtne."""
        bits = self.bitcast(x, "u32")
        sign = (bits >> 16) & 0x8000
        magnitude = bits & 0x7FFFFFFF
        denormal = self.bitcast(self.bitcast(magnitude, "f32") + 0.5, "u32") - 0x3F000000
        normal = (magnitude - 0x37FFF001 + ((magnitude >> 13) & 1)) >> 13
        special = self.select(magnitude > 0x7F800000, self.constant(0x7E00, "u32", x.lanes), 0x7C00)
        finite = self.select(magnitude < 0x38800000, denormal, normal)
        half = self.select(magnitude >= 0x47800000, special, finite) | sign
        return self.bitcast(self.convert(half, "u16"), "f16")
