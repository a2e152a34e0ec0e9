"""Where the rows of a 4-D activation lie, in panels and in row-major order alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from sparsec.ir import TensorType
from sparsec.ir.dims import fixed, is_symbolic
from sparsec.targets.builder import Index


@dataclass(frozen=True)
class Planes:
    """[N, C, H, W] in panels of `rows` image rows, `stride` elements from one channel to the next (see `Panel`).

    Row-major is the case of one panel an image without padding. Offsets are in elements.
    """

    images: int
    channels: int
    height: int
    width: int
    rows: int
    stride: int
    pitch: int = 0  # elements from one panel to the next, where there are others' channels between

    pairs: ClassVar[bool] = False

    @classmethod
    def of(cls, type_: TensorType) -> Planes:
        """The planes of a 4-D value. Raises NotFixed where only the run knows its sizes."""
        return cls._of(type_, type_.static_shape)

    @classmethod
    def sized(cls, type_: TensorType) -> Planes:
        """As `of`; images and heights may be symbolic, which the reader of these planes must expect."""
        for size in (type_.shape[1], type_.shape[3]):
            fixed(size)
        return cls._of(type_, cast("tuple[int, ...]", type_.shape))

    @classmethod
    def _of(cls, type_: TensorType, shape: tuple[int, ...]) -> Planes:
        images, channels, height, width = shape
        if type_.panel is None:
            return cls(
                images, channels, height, width, height if is_symbolic(height) else max(height, 1), height * width
            )
        kind = PairedPlanes if type_.panel.pairs else cls
        return kind(images, channels, height, width, type_.panel.rows, type_.panel.stride, type_.panel.pitch)

    def kept(self, pairs: bool) -> Planes:
        """The same panels in pairs, or not."""
        if pairs == self.pairs:
            return self
        kind = PairedPlanes if pairs else Planes
        return kind(self.images, self.channels, self.height, self.width, self.rows, self.stride)

    @property
    def planes(self) -> int:
        """Planes of one panel."""
        return self.channels

    @property
    def panels(self) -> int:
        """Panels of one image."""
        return 1 if self.height == self.rows else (self.height + (self.rows - 1)) // self.rows

    @property
    def panel_size(self) -> int:
        """Elements from one panel to the next: all channels."""
        return self.pitch or self.planes * self.stride

    @property
    def image_size(self) -> int:
        """Elements of one image."""
        return self.panels * self.panel_size

    def image(self, n: Index) -> Index:
        """Where image `n` starts."""
        return n * self.image_size

    def fixed_row(self, row: int) -> int:
        """Where an image row starts in channel 0 of image 0."""
        if is_symbolic(self.rows):
            return row * self.width
        return row // self.rows * self.panel_size + row % self.rows * self.width

    def row(self, base: Index, step: int, row: int) -> Index:
        """Where image row `base * step + row` starts in channel 0 of image 0; `row` may be negative, the sum not."""
        if isinstance(base, int):
            return self.fixed_row(base * step + row)
        if step % self.rows == 0:
            return base * (step // self.rows * self.panel_size) + self.fixed_row(row)
        place = base * step + row
        if self.panels == 1:
            return place * self.width
        return place // self.rows * self.panel_size + place % self.rows * self.width

    def place(self, base: Index, step: int, row: int) -> int | None:
        """How far into its panel that row starts; None where only the run knows."""
        if isinstance(base, int):
            return (base * step + row) % self.rows * self.width
        return row % self.rows * self.width if step % self.rows == 0 else None

    def gap(self, base: Index, step: int, row: int, other: int) -> int | None:
        """How far `other` lies behind `row`, both counted from `base * step`; None where only the run knows."""
        if isinstance(base, int):
            return self.fixed_row(base * step + other) - self.fixed_row(base * step + row)
        if step % self.rows == 0:
            return self.fixed_row(other) - self.fixed_row(row)
        return (other - row) * self.width if self.panels == 1 else None


@dataclass(frozen=True)
class PairedPlanes(Planes):
    """Two channels of bf16 in 32 bits: an even number of channels, in half as many planes. Elements are pairs."""

    pairs: ClassVar[bool] = True

    @property
    def planes(self) -> int:
        return self.channels // 2
