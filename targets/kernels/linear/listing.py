"""Lists of the places at which something holds, written without branches."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Index, Ref, Value


def list_lanes(b: Builder, wanted: Value, at: Index, places: Ref, count: Value) -> Value:
    """Stores `at` + lane for every lane that is `wanted` behind the first `count` of `places`; gives the new count.

    With AVX-512 that is one compression, elsewhere each place is stored, and the next one over it if it is not wanted;
    up to a vector behind the last place is written.
    """
    lanes = wanted.lanes or 1
    if b.isa.masked_arithmetic and lanes == b.isa.lanes:
        numbers = b.iota("i32") + b.convert(at, "i32")
        kept = b.call_intrinsic("llvm.experimental.vector.compress", [numbers, wanted, numbers], "i32", lanes)
        b.vstore(kept, places, count)
        return count + b.convert(b.count_bits(b.extract(b.bitcast(wanted, f"u{lanes}"), 0)), "index")
    for lane in range(lanes):
        b.store(b.convert(at + lane, "i32"), places, count)
        count = count + b.convert(b.convert(b.extract(wanted, lane), "u32"), "index")
    return count
