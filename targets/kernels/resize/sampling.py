"""What one interpolated element is computed from and how it is stored, on scalars and vectors."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.targets.builder import Builder, Value, elements

_EXACT_IN_F32 = ("f32", "f16", "i8", "u8", "i16", "i1")


@dataclass(frozen=True)
class Sampling:
    """`mode` of sp.resize on elements of type `element`; `extrapolation` is stored outside the input, if at all."""

    mode: str
    element: str
    extrapolation: float | None

    @property
    def nearest(self) -> bool:
        """Whether elements are copied."""
        return self.mode == "nearest"

    @property
    def computed(self) -> str:
        """The type of weights and sums."""
        return "f32" if self.element in _EXACT_IN_F32 else "f64"

    def load(self, b: Builder, x: Value) -> Value:
        """An input as a term of a sum."""
        return x if self.nearest else b.convert(x, self.computed)

    def store(self, b: Builder, x: Value) -> Value:
        """A sum as an element of the result: integers are rounded and saturate."""
        if self.nearest or elements.is_float(self.element):
            return b.convert(x, self.element)
        bits, unsigned = elements.bits(self.element), elements.is_unsigned(self.element)
        low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        whole = b.min(b.max(b.round_even(x), float(low)), float(high))
        wide = "i64" if bits > 32 else "i32"
        result = b.convert(b.convert(whole, wide), self.element)
        # 2^63 - 1 is no f64: the sum that rounds up to 2^63 would wrap.
        return b.select(whole >= float(high), high, result) if bits == 64 else result

    def outside(self, b: Builder, x: Value, kept: Value) -> Value:
        """`x` where `kept` is not 0, else the extrapolation value; `x` is a sum, or an element if nearest."""
        value = self.extrapolation or 0.0
        filler = value if elements.is_float(x.element) else int(value)
        return b.select(kept != 0.0, x, filler)
