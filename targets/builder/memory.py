"""Loads and stores. Offsets count elements of the reference; nothing outside the counted elements is touched."""

from __future__ import annotations

from mlir import ir
from mlir.dialects import llvm

from sparsec.ir.dims import Dim
from sparsec.targets.builder import elements
from sparsec.targets.builder.conversion import Conversion
from sparsec.targets.builder.value import Index, Ref, Value


class Memory(Conversion):
    """Scalar, vector, masked, strided and gathering memory access."""

    def load(self, ref: Ref, offset: Index = 0) -> Value:
        """One element."""
        return self._load(ref, offset, None, elements.size(ref.element))

    def store(self, value: Value, ref: Ref, offset: Index = 0) -> None:
        """Stores one element."""
        self._store(value, ref, offset, elements.size(ref.element))

    def vload(
        self,
        ref: Ref,
        offset: Index = 0,
        count: Index | None = None,
        *,
        lanes: int | None = None,
        mask: Value | None = None,
        align: int = 0,
    ) -> Value:
        """`lanes` (default: the ISA's) elements from `offset` on, at any alignment of the element's size.

        With `count`, only that many are read and the other lanes are zero; `mask` says it lane by lane.
        """
        lanes, align = lanes or self.isa.lanes, align or elements.size(ref.element)
        if isinstance(count, int) and count >= lanes:
            count = None
        if count is None and mask is None:
            return self._load(ref, offset, lanes, align)
        mask = mask if mask is not None else self.mask(count, lanes)  # type: ignore[arg-type]
        stored = _stored(ref.element)
        kind, zero = self.type(stored, lanes), self.constant(0, stored, lanes).ir
        loaded = llvm.intr_masked_load(kind, ref.address(offset), mask.ir, align, pass_thru=zero)
        return self._loaded(loaded, ref.element, lanes)

    def vload_expanded(self, ref: Ref, bits: Value, offset: Index = 0) -> Value:
        """A lane for each of the bits, from the lowest on: the next element from `offset` on for a one, else zero.

        AVX-512 has an instruction for it; it may read a whole vector, all other ISAs read what they take.
        """
        lanes = elements.size(bits.element) * 8
        mask = llvm.bitcast(self.type("i1", lanes), bits.ir)
        zero, kind = self.constant(0, ref.element, lanes).ir, self.type(ref.element, lanes)
        if self.isa.lanes * 4 == 64:
            vector = self._load(ref, offset, lanes, elements.size(ref.element)).ir
            name = f"llvm.x86.avx512.mask.expand.v{lanes}{ref.element}"
            call = llvm.CallIntrinsicOp(kind, name, [vector, zero, mask], [], [])
            return Value(self, call.results, ref.element, lanes)
        loaded = llvm.intr_masked_expandload(kind, ref.address(offset), mask, zero)
        return Value(self, loaded, ref.element, lanes)

    def vload_splats(self, ref: Ref, offset: Index, count: int) -> list[Value]:
        """The `count` elements from `offset` on, each in all lanes of a vector.

        Where instructions take one lane of a vector for all, the elements are loaded as vectors.
        """
        if not self.isa.lane_operands:
            return [self.broadcast(self.load(ref, offset + i)) for i in range(count)]
        splats: list[Value] = []
        while len(splats) < count:
            lanes = next(lanes for lanes in (4, 2, 1) if lanes <= count - len(splats))
            vector = self.vload(ref, offset + len(splats), lanes=lanes)
            splats += [self.broadcast(self.extract(vector, lane)) for lane in range(lanes)]
        return splats

    def vstore(
        self,
        value: Value,
        ref: Ref,
        offset: Index = 0,
        count: Index | None = None,
        *,
        mask: Value | None = None,
        align: int = 0,
        nontemporal: bool = False,
    ) -> None:
        """Stores a vector; with `count` only its first elements, with `mask` only the chosen ones.

        `nontemporal` keeps the data out of the caches and needs `align` of the vector's size.
        """
        if value.lanes is None:
            raise TypeError("vstore stores a vector: use store for a scalar")
        align = align or elements.size(ref.element)
        if isinstance(count, int) and count >= value.lanes:
            count = None
        if count is None and mask is None:
            self._store(value, ref, offset, align, nontemporal)
            return
        mask = mask if mask is not None else self.mask(count, value.lanes)  # type: ignore[arg-type]
        llvm.intr_masked_store(self._storable(value, ref), ref.address(offset), mask.ir, align)

    def mask(self, count: Index, lanes: int | None = None) -> Value:
        """An i1 vector that is true in the first `count` lanes."""
        lanes = lanes or self.isa.lanes
        if isinstance(count, int):
            return self.constants([int(lane < count) for lane in range(lanes)], "i1")
        return self.iota("i32", lanes) < self.broadcast(self.convert(count, "i32"), lanes)

    def vload_strided(
        self, ref: Ref, offset: Index = 0, stride: Dim = 2, count: int | None = None, *, lanes: int | None = None
    ) -> Value:
        """The first `count` of the elements offset, offset + stride, ..., then zeros. Reads nothing beyond the last."""
        lanes = lanes or self.isa.lanes
        count = min(lanes if count is None else count, lanes)
        if stride == 1:
            return self.vload(ref, offset, count, lanes=lanes)
        if stride == 2 and count == lanes and lanes > 1:
            # The second load starts one element early, so that it ends at the last element wanted.
            low = self.vload(ref, offset, lanes=lanes)
            high = self.vload(ref + (lanes - 1), offset, lanes=lanes)
            half = (lanes + 1) // 2
            tail = [lanes + 2 * lane - (lanes - 1) for lane in range(half, lanes)]
            return self.shuffle(low, high, [2 * lane for lane in range(half)] + tail)
        scalars = [self.load(ref + lane * stride, offset) for lane in range(count)]
        zero = self.constant(0, ref.element)
        return self.vector_of(scalars + [zero] * (lanes - count))

    def gather(self, ref: Ref, offsets: Value, mask: Value | None = None) -> Value:
        """The elements at `offsets`, an integer vector; lanes outside the mask are zero and not read."""
        lanes = offsets.lanes
        assert lanes is not None, "gather takes a vector of offsets"
        if not self.isa.gather and mask is None:
            places = [self.convert(self.extract(offsets, lane), "index") for lane in range(lanes)]
            return self.vector_of([self.load(ref, place) for place in places])
        mask = mask if mask is not None else self.constant(1, "i1", lanes)
        stored = _stored(ref.element)
        start = self.displace_bytes(ref.pointer, ref.addend)
        pointers = self.displace(start, self.convert(offsets, "index").ir, ref.element)
        zero = self.constant(0, stored, lanes).ir
        kind, size = self.type(stored, lanes), elements.size(stored)
        return self._loaded(llvm.intr_masked_gather(kind, pointers, mask.ir, [zero], size), ref.element, lanes)

    def prefetch(self, ref: Ref, offset: Index = 0, *, locality: int = 3, write: bool = False) -> None:
        """Asks for the cache line of an element, which need not exist; locality 3 keeps it in all caches, 0 in none.

        WebAssembly has no such instruction, and addresses that nobody uses would only cost additions in loops.
        """
        if self.isa.wasm:
            return
        llvm.intr_prefetch(ref.address(offset), int(write), locality, 1)

    def memcpy(self, target: Ref, source: Ref, nbytes: Index) -> None:
        """Copies bytes between places that do not overlap."""
        llvm.intr_memcpy(target.address(), source.address(), self._size(nbytes), False)

    def memset(self, target: Ref, byte: int, nbytes: Index) -> None:
        """Fills with one byte."""
        llvm.intr_memset(target.address(), self.constant(byte, "i8").ir, self._size(nbytes), False)

    def _size(self, nbytes: Index) -> ir.Value:
        if isinstance(nbytes, int):
            return self.constant(nbytes, self.index_int).ir
        return self.convert(nbytes, self.index_int).ir

    def _load(self, ref: Ref, offset: Index, lanes: int | None, align: int) -> Value:
        kind = self.type(_stored(ref.element), lanes)
        return self._loaded(llvm.load(kind, ref.address(offset), alignment=align), ref.element, lanes)

    def _loaded(self, loaded: ir.Value, element: str, lanes: int | None) -> Value:
        value = Value(self, loaded, _stored(element), lanes)
        return value != 0 if element == "i1" else value

    def _store(self, value: Value, ref: Ref, offset: Index, align: int, nontemporal: bool = False) -> None:
        llvm.StoreOp(self._storable(value, ref), ref.address(offset), alignment=align, nontemporal=nontemporal)

    def _storable(self, value: Value, ref: Ref) -> ir.Value:
        if value.element != ref.element:
            raise TypeError(f"{value} cannot be stored in {ref}: convert it first")
        return self.convert(value, "i8").ir if value.element == "i1" else value.ir


def _stored(element: str) -> str:
    return "i8" if element == "i1" else element
