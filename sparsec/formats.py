"""The meaning of weight formats: `pack` an array level by level into what a format stores, `unpack` it again.

A format's dimensions are the weight's axes; where it has fewer, the last one stands for the remaining axes flattened,
so that CSR of a [M, C, kh, kw] weight has rows of C*kh*kw elements. Tiles that reach over the edge are padded with
zeros. After MLIR's sparse_tensor and Finch: a level stores the coordinates of its children either not at all (dense),
as a list with the range of each parent (compressed), or as a list with `keep` of `tile` for each parent (n:m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from sparsec.ir import Format, Level

DENSE = Format((Level(0, "dense"), Level(1, "dense")))
CSR = Format((Level(0, "dense"), Level(1, "compressed")))


def block(rows: int, columns: int) -> Format:
    """Blocks of `rows` × `columns` elements, stored where any of them is not zero; row-major inside."""
    outer = [_tiled(0, rows, "dense"), _tiled(1, columns, "compressed")]
    inner = [Level(dim, "dense", "%", tile) for dim, tile in enumerate((rows, columns)) if tile > 1]
    return Format((*outer, *inner))


def n_m(n: int, m: int) -> Format:
    """`n` elements stored of each `m` neighbours in a row."""
    return Format((Level(0, "dense"), Level(1, "dense", "/", m), Level(1, "nm", "%", m, n)))


def k_blocked(columns: int, rows: int = 1) -> Format:
    """CSR in one slice after another of `columns` columns, so that a kernel meets a part of its input at a time.

    With `rows`, blocks of that many rows share their columns.
    """
    outer = [Level(1, "dense", "/", columns), _tiled(0, rows, "dense"), Level(1, "compressed", "%", columns)]
    return Format((*outer, *([Level(0, "dense", "%", rows)] if rows > 1 else [])))


def _tiled(dim: int, tile: int, kind) -> Level:
    return Level(dim, kind, "/", tile) if tile > 1 else Level(dim, kind)


@dataclass(frozen=True)
class LevelData:
    """What a level stores: `positions` (where each parent's children begin, then the end), `coordinates`."""

    positions: np.ndarray | None = None
    coordinates: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.positions, self.coordinates) if array is not None)


@dataclass(frozen=True)
class Packed:
    """An array in a format: data of each level, outermost first, and the stored values in that order."""

    format: Format
    shape: tuple[int, ...]
    levels: tuple[LevelData, ...]
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of values, positions (4 bytes each) and coordinates (1, 2 or 4)."""
        return self.values.nbytes + sum(level.nbytes for level in self.levels)


def pack(array: np.ndarray, format: Format) -> Packed:
    """Store `array` in `format`. Raises ValueError where the format does not fit its axes or holds too few elements."""
    check(format, array.shape)
    elements = _to_levels(array, format)
    occupied = elements != 0
    parents, data = np.zeros(1, np.int64), []
    for index, (level, extent) in enumerate(zip(format.levels, elements.shape, strict=True)):
        below = occupied.reshape(prod(elements.shape[:index]), extent, prod(elements.shape[index + 1 :]))
        data.append(_store(level, below.any(axis=2)[parents]))
        parents = _children(level, data[-1], parents, extent)
    return Packed(format, array.shape, tuple(data), elements.reshape(-1)[parents])


def unpack(packed: Packed) -> np.ndarray:
    """The array that was packed."""
    extents = [_split(packed.shape, packed.format)[axis] for axis in _axes(packed.format)]
    parents = np.zeros(1, np.int64)
    for level, data, extent in zip(packed.format.levels, packed.levels, extents, strict=True):
        parents = _children(level, data, parents, extent)
    elements = np.zeros(prod(extents), packed.values.dtype)
    elements[parents] = packed.values
    return _from_levels(elements, packed.shape, packed.format)


def stored_elements(array: np.ndarray, format: Format) -> int:
    """How many elements `format` stores of `array`, zeros in blocks and at the edges included."""
    return pack(array, format).values.size


def nbytes(array: np.ndarray, format: Format) -> int:
    """Bytes of `array` in `format`, as `Packed.nbytes` counts them."""
    return pack(array, format).nbytes


def check(format: Format, shape: Sequence[int]) -> None:
    """Raises ValueError where `format` does not say once and fully how each axis of `shape` is stored."""
    rank = _rank(format)
    if not 0 < rank <= len(shape):
        raise ValueError(f"format {format} has {rank} dimensions, the weight {len(shape)}")
    for dim in range(rank):
        levels = sorted((level for level in format.levels if level.dim == dim), key=lambda level: level.part)
        parts, tiles = [level.part for level in levels], {level.tile for level in levels}
        if parts not in ([""], ["%", "/"]) or len(tiles) > 1 or min(tiles) < 1:
            raise ValueError(f"format {format} does not store d{dim} as one level or as one / and one % of a tile")
    for level in format.levels:
        if level.kind == "nm" and not (level.part == "%" and 0 < level.keep <= level.tile):
            raise ValueError(f"format {format}: an n:m level keeps 1 to m elements of a tile, not {level}")


def _store(level: Level, needed: np.ndarray) -> LevelData:
    """What the level stores, where `needed` [parents, extent] says which coordinates lead to a non-zero."""
    small = np.min_scalar_type(max(needed.shape[1] - 1, 0))
    match level.kind:
        case "dense":
            return LevelData()
        case "compressed":
            positions = np.concatenate([[0], np.cumsum(needed.sum(axis=1))]).astype(np.int32)
            return LevelData(positions, np.nonzero(needed)[1].astype(small))
        case "nm":
            if (most := needed.sum(axis=1).max(initial=0)) > level.keep:
                raise ValueError(f"{most} of {level.tile} elements are not zero, more than {level} stores")
            kept = np.argsort(~needed, axis=1, kind="stable")[:, : level.keep]
            return LevelData(None, np.sort(kept, axis=1).astype(small).ravel())
    raise ValueError(f"no level called {level.kind!r}")


def _children(level: Level, data: LevelData, parents: np.ndarray, extent: int) -> np.ndarray:
    """Row-major indices of the stored children of `parents`, which are row-major indices one level further out."""
    match level.kind:
        case "dense":
            return (parents[:, None] * extent + np.arange(extent)).ravel()
        case "compressed":
            counts = np.diff(data.positions) if data.positions is not None else 0
        case "nm":
            counts = level.keep
    return np.repeat(parents, counts) * extent + data.coordinates


def _rank(format: Format) -> int:
    return max((level.dim for level in format.levels), default=-1) + 1


def _axes(format: Format) -> list[int]:
    """The axis of each level in the array whose every axis is split in two: blocks, then elements of a block."""
    return [2 * level.dim + (level.part == "%") for level in format.levels]


def _split(shape: Sequence[int], format: Format) -> list[int]:
    """The shape with trailing axes flattened and every axis split into blocks and elements of a block."""
    last = _rank(format) - 1
    tiles = {level.dim: level.tile for level in format.levels}
    sizes = [*shape[:last], prod(shape[last:])]
    return [extent for dim, size in enumerate(sizes) for extent in (-(-size // tiles[dim]), tiles[dim])]


def _to_levels(array: np.ndarray, format: Format) -> np.ndarray:
    """The array with one axis a level, padded with zeros to whole tiles."""
    split, axes = _split(array.shape, format), _axes(format)
    last = len(split) // 2 - 1
    flat = array.reshape(*array.shape[:last], prod(array.shape[last:]))
    padding = [(0, split[2 * dim] * split[2 * dim + 1] - size) for dim, size in enumerate(flat.shape)]
    whole = np.pad(flat, padding) if any(high for _, high in padding) else flat
    untiled = [axis for axis in range(len(split)) if axis not in axes]
    return whole.reshape(split).transpose(*axes, *untiled).reshape([split[axis] for axis in axes])


def _from_levels(elements: np.ndarray, shape: tuple[int, ...], format: Format) -> np.ndarray:
    """The inverse of `_to_levels`."""
    split, axes = _split(shape, format), _axes(format)
    order = [*axes, *(axis for axis in range(len(split)) if axis not in axes)]
    whole = elements.reshape([split[axis] for axis in order]).transpose(np.argsort(order))
    sizes = [blocks * tile for blocks, tile in zip(split[::2], split[1::2], strict=True)]
    last = len(sizes) - 1
    crop = tuple(slice(size) for size in (*shape[:last], prod(shape[last:])))
    return np.ascontiguousarray(whole.reshape(sizes)[crop].reshape(shape))
