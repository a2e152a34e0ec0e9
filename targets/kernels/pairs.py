"""bf16 in pairs along K: two neighbours of a sum in 32 bits, the earlier one low, as vdpbf16ps and AMX read them."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.targets.builder import Builder, Value

PIECES = 3  # of bf16 whose sum is an f32


def pair(b: Builder, low: Value, high: Value) -> Value:
    """Lanes of i32 from two vectors of f32, rounded to nearest even."""
    lanes = low.lanes or 1
    if b.isa.bf16_dot and lanes == 16:
        both = b.call_intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", [high, low], "bf16", 32)
        words = b.permute(b.bitcast(both, "i16"), [lane + 16 * side for lane in range(16) for side in (0, 1)])
        return b.bitcast(words, "i32")
    low_bits, high_bits = (b.convert(b.bitcast(b.convert(x, "bf16"), "u16"), "u32") for x in (low, high))
    return b.bitcast(low_bits | (high_bits << 16), "i32")


def consecutive(b: Builder, first: Value, second: Value) -> Value:
    """Pairs of neighbours of two vectors of f32 that lie one behind the other."""
    lanes = first.lanes or 1
    if b.isa.bf16_dot and lanes == 16:
        return b.bitcast(b.call_intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", [second, first], "bf16", 32), "i32")
    return pair(b, *(b.shuffle(first, second, range(side, 2 * lanes, 2)) for side in (0, 1)))


def dot(b: Builder, x: Value, y: Value, sums: Value) -> Value:
    """sums + x · y of pairs, lane by lane; without an instruction for it, two multiply-adds on widened elements."""
    if b.isa.bf16_dot and sums.lanes == 16:
        operands = [sums, b.bitcast(x, "bf16"), b.bitcast(y, "bf16")]
        return b.call_intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", operands, "f32", 16)
    for left, right in zip(widen(b, x), widen(b, y), strict=True):
        sums = b.fma(left, right, sums)
    return sums


def widen(b: Builder, x: Value) -> tuple[Value, Value]:
    """The low and the high elements of pairs as f32."""
    return b.bitcast(x << 16, "f32"), b.bitcast(x & -0x10000, "f32")


def pieces(b: Builder, low: Value, high: Value) -> list[Value]:
    """Lanes of i32 for each piece of two vectors of f32: what the pieces before it leave, rounded to nearest.

    Halves are rounded up, which takes an addition instead of four instructions, and is as near.
    """
    found: list[Value] = []
    rests = [low, high]
    for number in range(PIECES):
        bits = [b.bitcast(x, "i32") for x in rests]
        if number < PIECES - 1:  # the last ones have 8 bits at most
            bits = [(x + 0x8000) & -0x10000 for x in bits]
            rests = [x - b.bitcast(near, "f32") for x, near in zip(rests, bits, strict=True)]
        low_half = b.bitcast(b.shr(b.bitcast(bits[0], "u32"), 16), "i32")
        found.append(low_half | (bits[1] & -0x10000))
    return found


def joined(b: Builder, found: Sequence[Value]) -> tuple[Value, Value]:
    """The sums of pieces: the low and the high elements as f32."""
    first, second, third = (widen(b, piece) for piece in found)
    low, high = (x + (y + z) for x, y, z in zip(first, second, third, strict=True))
    return low, high
