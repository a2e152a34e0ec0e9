"""Intel's AMX: eight tile registers of 16 rows × 64 bytes; products of tiles of bf16 are added to tiles of f32.

On a Xeon of 3.1 GHz one product of 16 × 32 by 32 × 16 takes 16 cycles (3.2 TFLOP/s), a load of a tile 8 cycles from L1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref

ROWS, ROW_BYTES = 16, 64
PIXELS = 16  # sums in a row of a tile
DEPTH = 32  # elements of bf16 in a row of a tile
CONFIG_BYTES = 64


@contextmanager
def within(b: Builder, config: Ref) -> Iterator[None]:
    """The body may use tiles, where the ISA has them; `config` is 64 bytes of memory that this writes."""
    if not b.isa.tiles:
        yield
        return
    tiles = Tiles(b)
    tiles.begin(config)
    yield
    tiles.end()


@dataclass(frozen=True)
class Tiles:
    """Writes instructions on tiles by their number, 0 to 7. All have 16 rows of 64 bytes between begin and end."""

    b: Builder

    def begin(self, config: Ref) -> None:
        """Makes the tiles whole; `config` is 64 bytes of memory that this writes."""
        widths = [ROW_BYTES if tile < 8 else 0 for tile in range(16)]
        rows = [ROWS if tile < 8 else 0 for tile in range(16)]
        words = [1, *[0] * 7, *widths, *(low | high << 8 for low, high in zip(rows[::2], rows[1::2], strict=True))]
        self.b.vstore(self.b.constants(words, "i16"), config.view("i16"))
        self.b.call_effect("llvm.x86.ldtilecfg", [config])

    def end(self) -> None:
        """Gives the tiles back, so that the system need not save them."""
        self.b.call_effect("llvm.x86.tilerelease", [])

    def zero(self, tile: int) -> None:
        self.b.call_effect("llvm.x86.tilezero", [self._number(tile)])

    def load(self, tile: int, ref: Ref, stride: Index) -> None:
        """A tile whose rows lie `stride` bytes apart."""
        self.b.call_effect("llvm.x86.tileloadd64", [self._number(tile), ref, self._stride(stride)])

    def store(self, tile: int, ref: Ref, stride: Index) -> None:
        self.b.call_effect("llvm.x86.tilestored64", [self._number(tile), ref, self._stride(stride)])

    def multiply(self, sums: int, left: int, right: int) -> None:
        """Adds left [16][32] × right [16 pairs][16][2] of bf16 to sums [16][16] of f32."""
        self.b.call_effect("llvm.x86.tdpbf16ps", [self._number(tile) for tile in (sums, left, right)])

    def _number(self, tile: int):
        return self.b.constant(tile, "i8")

    def _stride(self, stride: Index):
        return self.b.convert(stride, "i64")
