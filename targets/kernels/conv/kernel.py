"""What all convolution kernels share: chunks and panels, traffic between caches, and the epilogue."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from sparsec.chains import Walk
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.conv.shape import ConvShape, Extra, Tile
from sparsec.targets.kernels.region import Body

TOGETHER = 4  # vectors that go through a long epilogue side by side, to hide latencies
SUMS_BYTES = 512 * 1024  # of a panel's sums, from which on they count as too large for the L2


@dataclass(frozen=True)
class ConvKernel(Kernel):
    """A convolution with packed weights, by the table's `row`. Arguments: source, weights, epilogue operands, target.

    K is walked in blocks of `block` input channels; between blocks, partial sums lie in the target. A chunk is one
    panel for one of `splits` parts of the outputs (of the groups, where there are several). Chunks of one panel that
    follow one another share its packing and its blocks of K in L1; but where there are far more sums than rows of B,
    one part after the other is finished, so that its sums stay in L2 (3072 × 768 on 128 pixels: 8 % faster).
    """

    row: str
    shape: ConvShape
    extras: tuple[Extra, ...]
    epilogue: Body
    block: int
    splits: int

    weight_element: ClassVar[str]
    begins: ClassVar[bool] = False  # whether all sums begin as `Output.begin` says

    @property
    def name(self) -> str:
        return self.row

    @property
    @abstractmethod
    def layout(self) -> str:
        """Names the order of the packed weights: equal names, equal bytes."""

    @abstractmethod
    def pack(self, weight: np.ndarray) -> np.ndarray:
        """[M, C, KH, KW] as the kernel reads it."""

    @abstractmethod
    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core (see `CostModel`)."""

    def traffic(self, caches: Caches, stream: float, passes: int | None = None) -> dict[str, float]:
        """Bytes of weights, read in each of `passes` (panels) anew where the L2 does not hold them, and of activations.

        With them come the elementary functions of the epilogue, 16 elements at a time.
        The source has been written just before: where all activations do not fit in the L2, a part of each is beyond.
        """
        shape = self.shape
        written = 4 * shape.target.images * shape.target.image_size
        read = 4 * shape.source.images * shape.source.image_size + written * sum(x.full for x in self.extras)
        beyond = caches.beyond(read + written)
        passes = passes or (shape.panels if shape.groups == 1 else 1)
        return {
            "call": 1,
            "far byte": stream * (passes if stream > caches.l2 / 2 else 1),
            "near byte": read + written,
            "far read byte": beyond * read,
            "far written byte": beyond * written,
            "epilogue function": self.epilogue.long_ops * written / LINE_BYTES,
        }

    @property
    def carried(self) -> int | None:
        """The operand of the epilogue that sums begin with, as it lies as the result does and is only added to them.

        Then it may lie in the same memory.
        """
        if not self.begins:
            return None
        fits = (i for i, x in enumerate(self.extras) if x.full and x.element == "f32" and self.epilogue.adds(i + 1))
        return next(fits, None)

    @property
    def overwrites(self) -> tuple[int, ...]:
        return () if self.carried is None else (2 + self.carried,)

    @property
    def blocks(self) -> int:
        """Blocks of K."""
        return -(-self.shape.channels // self.block)

    @property
    def singly(self) -> bool:
        """Whether the parts of a panel are computed one after the other, through all of K."""
        shape = self.shape
        return shape.direct and shape.outputs >= 2 * shape.depth and shape.sums_bytes > SUMS_BYTES

    @property
    def chunks(self) -> int:
        return self.shape.panels * self.splits

    @property
    def group(self) -> int:
        return 1 if self.shape.direct else self.splits

    @property
    def walk(self) -> Walk | None:
        """Panel by panel; None where chunks are other than parts of panels, and the kernel does not say which."""
        shape = self.shape
        if shape.sized:
            return None
        return shape.walk(shape.target.rows, self.splits) if self.chunks == shape.panels * self.splits else None

    def splits_by(self, images: int) -> bool:
        """Chunks are parts of panels or of images, in order."""
        return self.shape.target.images == images and self.chunks % images == 0

    def _channels(self, b: Builder, block: Index) -> Index:
        """How many input channels a block has."""
        total = self.shape.channels
        if total % self.block == 0:
            return self.block
        if isinstance(block, int):
            return min(self.block, total - block * self.block)
        return b.min(b.as_index(self.block), total - block * self.block)

    @contextmanager
    def _panels(self, b: Builder, begin: Value, end: Value) -> Iterator[tuple[Index, Index, Index]]:
        """The panels of the chunks [begin, end), each with the range of its parts that is wanted."""
        parts = self.splits
        if parts == 1:
            with b.loop(begin, end) as panel:
                yield panel, 0, 1
            return
        with b.loop(begin // parts, (end + (parts - 1)) // parts) as panel:
            first = panel * parts
            yield panel, b.max(begin - first, b.constant(0)), b.min(end - first, b.constant(parts))

    @contextmanager
    def _groups(self, b: Builder, low: Index, high: Index) -> Iterator[tuple[Index, Index, Index]]:
        """The groups that the parts [low, high) stand for, each whole; without groups, the parts as one or singly."""
        groups = self.shape.groups
        if groups == 1 and self.singly:
            with b.loop(low, high) as part:
                yield 0, part, part + 1
            return
        if groups == 1:
            yield 0, low, high
            return
        with b.loop(dealt(low, groups, self.splits), dealt(high, groups, self.splits)) as group:
            yield group, 0, 1


@dataclass(frozen=True)
class Work:
    """One block of K of one panel: `depth` rows of B from `rows` on, for the parts [low, high) of a group's outputs."""

    rows: Ref
    weights: Ref
    output: Output
    group: Index
    block: Index
    depth: Index
    low: Index
    high: Index
    strips: Value | None = None
    """How many strips of tokens there are in this panel, where only the run knows."""
    scratch: Ref | None = None
    near: Ref | None = None
    """The columns of one tile in scratch, one row of B behind the other, where the kernel copies them."""


class Output:
    """The panel of results of one group, with the operands of the epilogue."""

    def __init__(
        self,
        b: Builder,
        kernel: ConvKernel,
        extras: Sequence[Ref],
        target: Ref,
        image: Index,
        panel: Index,
        group: Index,
    ) -> None:
        self.b, self.kernel = b, kernel
        planes = kernel.shape.target
        channel = group * kernel.shape.outputs
        start = planes.image(image) + panel * planes.panel_size + channel * planes.stride
        self._target = target + start
        self._extras = [
            ref + (start if extra.full else image * extra.image + channel * extra.channel)
            for ref, extra in zip(extras, kernel.extras, strict=True)
        ]

    def begin(self, tile: Tile, rows: Sequence[Index], column: Index, block: Index) -> list[Value]:
        """The sums before a block: zero, an operand, or what the blocks before it left; `tile.vectors` for each row."""
        b = self.b
        sums = [b.constant(0.0, "f32", b.isa.lanes)] * (len(rows) * tile.vectors)
        load = lambda ref: [x for row in rows for x in self._load(ref, tile, row, column)]  # noqa: E731
        return self._begun(sums, load, block)

    def _begun(self, sums: list[Value], load: Callable[[Ref], list[Value]], block: Index) -> list[Value]:
        """`load` reads all sums from where they or an operand lie."""
        carried = self.kernel.carried
        first = None if carried is None else self._extras[carried]
        if self.kernel.blocks == 1:
            return sums if first is None else load(first)
        with self.b.if_(block != 0, carry=sums) as branch:
            sums[:] = load(self._target)
        if first is not None:
            with branch.else_():
                sums[:] = load(first)
        return sums

    def finish(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index, block: Index) -> None:
        """Stores the sums after a block, through the epilogue after the last one."""
        if self.kernel.epilogue.is_identity:
            self._store(sums, tile, rows, column)
        elif self.kernel.blocks == 1:
            self._conclude(sums, tile, rows, column)
        else:
            with self.b.if_(block == self.kernel.blocks - 1) as branch:
                self._conclude(sums, tile, rows, column)
            with branch.else_():
                self._store(sums, tile, rows, column)

    def begin_pixel(self, rows: Sequence[Index], column: Index, block: Index) -> list[Value]:
        """As `begin`, for one pixel: a vector with a lane for each of a few rows that follow one another."""
        sums = [self.b.constant(0.0, "f32", self.b.isa.lanes)]
        return self._begun(sums, lambda ref: [self._pixel(ref, rows, column)], block)

    def finish_pixel(self, sums: Value, rows: Sequence[Index], column: Index, block: Index) -> None:
        """As `finish`, for one pixel."""
        results = [sums]
        if not self.kernel.epilogue.is_identity:
            with self.b.if_(block == self.kernel.blocks - 1, carry=results):
                values = [self._pixel_extra(i, rows, column) for i in range(len(self._extras))]
                results[:] = self.kernel.epilogue.emit(self.b, [sums, *values])
        for lane, row in enumerate(rows):
            place = column + row * self.kernel.shape.target.stride
            self.b.store(self.b.extract(results[0], lane), self._target, place)

    def _pixel_extra(self, index: int, rows: Sequence[Index], column: Index) -> Value:
        ref, extra = self._extras[index], self.kernel.extras[index]
        if index == self.kernel.carried:
            return self._nothing
        if extra.full:
            return self._pixel(ref, rows, column)
        if extra.channel:
            return self.b.vload(ref, rows[0], len(rows))
        return self.b.load(ref)

    def _pixel(self, ref: Ref, rows: Sequence[Index], column: Index) -> Value:
        places = [column + row * self.kernel.shape.target.stride for row in rows]
        spare = [self.b.constant(0.0, "f32")] * (self.b.isa.lanes - len(rows))
        return self.b.vector_of([*(self.b.load(ref, place) for place in places), *spare])

    def ask_for(self, tile: Tile, row: Index, column: Index, block: Index) -> None:
        """Prefetches the results of an output that comes soon in the first block, in the last what is added to them."""
        extras = zip(self._extras, self.kernel.extras, strict=True)
        full = [ref for ref, extra in extras if extra.full]
        step = 1 if self.b.isa.x86 else max(1, LINE_BYTES // (4 * self.b.isa.lanes))  # short vectors share their lines
        places = [offset for offset, _ in self._places(tile, row, column)][::step]
        with self.b.if_(block == 0):
            for offset in places:
                self.b.prefetch(self._target, offset, write=True)
        if full:
            with self.b.if_(block == self.kernel.blocks - 1):
                for ref, offset in product(full, places):
                    self.b.prefetch(ref, offset)

    def _conclude(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        """Stores results. A long epilogue goes over the stored sums in a loop, vector by vector.

        Written out for the 24 sums of a tile, a SiLU makes YOLOv8n compile three times as long.
        """
        if not self.kernel.epilogue.is_long:
            self._store(self._epilogue(sums, tile, rows, column), tile, rows, column)
            return
        self._store(sums, tile, rows, column)
        lanes, count = self.b.isa.lanes, min(TOGETHER, tile.vectors)
        whole = tile.vectors // count - (tile.tail is not None and tile.vectors % count == 0)
        step = TOGETHER // count if len(rows) % (TOGETHER // count) == 0 else 1
        with self.b.loop(0, len(rows), step) as index:
            some = [rows[0] + index + i for i in range(step)]
            with self.b.loop(0, whole) as part:
                self.revise(Tile(0, count), some, column + part * (count * lanes))
            if rest := tile.vectors - whole * count:
                self.revise(Tile(0, rest, tail=tile.tail), some, column + whole * (count * lanes))

    def revise(self, tile: Tile, rows: Sequence[Index], column: Index) -> None:
        """The epilogue on stored sums."""
        sums = [value for row in rows for value in self._load(self._target, tile, row, column)]
        self._store(self._epilogue(sums, tile, rows, column), tile, rows, column)

    def _epilogue(self, sums: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> list[Value]:
        results: list[Value] = []
        for index in range(len(rows)):
            extras = zip(self._extras, self.kernel.extras, strict=True)
            columns = [
                [self._nothing] * tile.vectors
                if number == self.kernel.carried
                else self._extra(ref, extra, tile, rows, index, column)
                for number, (ref, extra) in enumerate(extras)
            ]
            for vector in range(tile.vectors):
                arguments = [sums[index * tile.vectors + vector], *(values[vector] for values in columns)]
                results += self.kernel.epilogue.emit(self.b, arguments)
        return results

    @property
    def _nothing(self) -> Value:
        """What the epilogue adds for an operand that is in the sums already: x + -0.0 is x, and no instruction."""
        return self.b.constant(-0.0, "f32", self.b.isa.lanes)

    def _extra(
        self, ref: Ref, extra: Extra, tile: Tile, rows: Sequence[Index], index: int, column: Index
    ) -> list[Value]:
        """What an operand of the epilogue gives each vector of rows[index]."""
        if extra.full:
            return self._load(ref, tile, rows[index], column)
        return [self.b.load(ref, rows[index] * extra.channel)] * tile.vectors

    def _load(self, ref: Ref, tile: Tile, row: Index, column: Index) -> list[Value]:
        return [self.b.vload(ref, offset, count) for offset, count in self._places(tile, row, column)]

    def _store(self, values: Sequence[Value], tile: Tile, rows: Sequence[Index], column: Index) -> None:
        places = [place for row in rows for place in self._places(tile, row, column)]
        for value, (offset, count) in zip(values, places, strict=True):
            self.b.vstore(value, self._target, offset, count)

    def _places(self, tile: Tile, row: Index, column: Index) -> Iterator[tuple[Index, int | None]]:
        """Offset and number of lanes (None: all) of each vector of a row."""
        for vector in range(tile.vectors):
            count = tile.tail if vector == tile.vectors - 1 else None
            yield column + (row * self.kernel.shape.target.stride + vector * self.b.isa.lanes), count


def dealt(part: Index, total: int, parts: int) -> Index:
    """Where a part of `total` pieces begins: the parts differ by one piece at most.

    Two threads have half of them each; with the last parts empty, one of two computed 16 of 22 groups of outputs.
    """
    return part * total if parts == 1 else part * total // parts


def divide(flat: Index, size: int, count: int) -> tuple[Index, Index]:
    """Quotient and remainder of `flat`, which is below count * size."""
    if count == 1:
        return 0, flat
    return flat if size == 1 else flat // size, 0 if size == 1 else flat % size
