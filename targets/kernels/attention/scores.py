"""The score region of an attention on vectors of queries: where its operands lie, and how they come into vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.ir.dims import Dim, product
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.transpose import COLUMNS, block_rows, columns_of


@dataclass(frozen=True)
class Extra:
    """An operand of the score, broadcast to [sequences, heads, queries, keys]: the strides of its axes, 0 where it is.

    A constant that differs by query and key is `turned`: [.., keys, queries], rows padded to whole lines.
    """

    element: str
    strides: tuple[Dim, Dim, Dim, Dim]
    turned: bool = False

    @classmethod
    def of(cls, shape: tuple[Dim, ...], element: str, constant: bool) -> Extra:
        """Of a value of `shape`."""
        shape = (1,) * (4 - len(shape)) + shape
        turned = constant and shape[2] != 1 and shape[3] != 1
        if turned:
            shape = *shape[:2], shape[3], _lines(shape[2])
        strides: list[Dim] = []
        for axis in range(4):
            strides.append(0 if shape[axis] == 1 else product(shape[axis + 1 :]))
        if turned:
            strides[2], strides[3] = strides[3], strides[2]
        return cls(element, tuple(strides), turned)  # pyright: ignore[reportArgumentType]

    @property
    def by_query(self) -> bool:
        return self.strides[2] != 0

    @property
    def by_key(self) -> bool:
        return self.strides[3] != 0

    @property
    def staged(self) -> bool:
        """Whether tiles of it are turned in scratch."""
        return self.by_query and self.by_key and not self.turned

    def at(self, ref: Ref, sequence: Index, head: Index) -> Ref:
        """The operand of one head of one sequence."""
        return ref + (sequence * self.strides[0] + head * self.strides[1])


def turn(array: np.ndarray) -> np.ndarray:
    """A constant as a `turned` operand lies in memory."""
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    padding = _lines(array.shape[2]) - array.shape[2]
    turned = np.pad(array, ((0, 0), (0, 0), (0, padding), (0, 0))).swapaxes(2, 3)
    return np.ascontiguousarray(turned)


@dataclass(frozen=True)
class Staging:
    """Tiles of one operand in scratch: rows of queries as they lie, and turned, rows of keys; elements of f32."""

    queries: int
    keys: int

    @property
    def size(self) -> int:
        """Elements of scratch."""
        return 2 * self.queries * self.keys

    def fill(self, b: Builder, source: Ref, stride: Dim, counts: tuple[Index, Index], scratch: Ref) -> None:
        """Turns the tile at `source`, whose queries are `stride` apart, of which `counts` queries and keys exist."""
        lanes = b.isa.lanes
        with b.loop(0, counts[0]) as query:
            row, to = source + query * stride, scratch + query * self.keys
            with b.loop(0, counts[1] // lanes) as v:
                b.vstore(b.convert(b.vload(row, v * lanes), "f32"), to, v * lanes)
            with b.loop(b.as_index(counts[1] // lanes * lanes), counts[1]) as key:
                b.store(b.convert(b.load(row, key), "f32"), to, key)
        rows = block_rows(b)
        with b.loop(0, self.queries, rows) as query, b.loop(0, counts[1], COLUMNS) as key:
            for i, column in enumerate(columns_of(b, scratch + query * self.keys, key, self.keys)):
                b.vstore(column, self.turned(scratch), (key + i) * self.queries + query)

    def turned(self, scratch: Ref) -> Ref:
        """Where the rows of keys begin."""
        return scratch + self.queries * self.keys


@dataclass(frozen=True)
class Operands:
    """The operands of the scores of a tile: a reference each, at its first query and key, and how to read it."""

    extras: tuple[Extra, ...]
    refs: list[Ref]
    staging: Staging

    def load(self, b: Builder, query: Index, key: Index, count: Index | None) -> list[Value]:
        """The elements for a vector of queries and one key; of the queries only `count` exist, if said."""
        return [self._load(b, extra, ref, query, key, count) for extra, ref in zip(self.extras, self.refs, strict=True)]

    def _load(self, b: Builder, extra: Extra, ref: Ref, query: Index, key: Index, count: Index | None) -> Value:
        if extra.staged:
            value = b.vload(ref, key * self.staging.queries + query)
            return value if extra.element == "f32" else b.convert(value, extra.element)
        if extra.turned:
            return b.vload(ref, key * extra.strides[3] + query)
        if extra.by_query:
            return b.vload(ref, query, count)
        return b.load(ref, key if extra.by_key else 0)


def _lines(size: Dim) -> int:
    """`size` in whole lines. Only constants, whose sizes are numbers, have any."""
    assert isinstance(size, int), "constants have fixed sizes"
    return -(-size // 32) * 32
