"""Element types by name: `f32`, `bf16`, `i8` (signed), `u8` (unsigned), `i1`, `index`. MLIR does not know the sign."""

from __future__ import annotations

from mlir import ir

_BITS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64, "i1": 1, "index": 64}
_BITS |= {f"{sign}{bits}": bits for sign in "iu" for bits in (8, 16, 32, 64)}


def bits(element: str) -> int:
    """Bits of one element as a value."""
    return _BITS[element]


def size(element: str) -> int:
    """Bytes of one element in memory; `i1` is stored in a byte."""
    return max(_BITS[element] // 8, 1)


def is_float(element: str) -> bool:
    """Whether this is a floating-point type."""
    return element in ("f16", "bf16", "f32", "f64")


def is_unsigned(element: str) -> bool:
    """Whether integers of this type compare, divide, shift and extend without a sign."""
    return element[0] == "u" or element == "i1"


def scalar_type(element: str) -> ir.Type:
    """The MLIR type of one element, in the current context."""
    floats = {"f16": ir.F16Type, "bf16": ir.BF16Type, "f32": ir.F32Type, "f64": ir.F64Type}
    if element in floats:
        return floats[element].get()
    return ir.IndexType.get() if element == "index" else ir.IntegerType.get_signless(_BITS[element])
