"""The weight store: constant arrays by name, outside the IR text. Large ones stay memory-mapped files.

Masks of attention are kept by blocks; they become arrays only where one asks for them as such.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from sparsec.ir import FormatAttr, TensorType, WeightOp, type_of
from sparsec.ir.types import element_of
from sparsec.masks import BlockMask, tile_of


class WeightStore(MutableMapping[str, np.ndarray]):
    """Arrays by name. An array is read-only once stored: a pass that changes one stores a new one under a new name."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray | BlockMask] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        found = self._arrays[name]
        return found.dense() if isinstance(found, BlockMask) else found

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        array = array.view()
        array.flags.writeable = False
        self._arrays[name] = array

    def __delitem__(self, name: str) -> None:
        del self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, name: str, array: np.ndarray) -> WeightOp:
        """Store `array` under `name`, or under `name.1`, `name.2`… where that is taken, and make its `sp.weight`."""
        key = self._free(name)
        self[key] = array
        return WeightOp(key, TensorType(array.shape, element_of(array.dtype)))

    def add_mask(self, name: str, mask: BlockMask) -> WeightOp:
        """As `add`, for a mask, whose format is then its type's."""
        key = self._free(name)
        self._arrays[key] = mask
        return WeightOp(key, TensorType(mask.shape, element_of(mask.dtype), FormatAttr(mask.format)))

    def of(self, op: WeightOp) -> np.ndarray:
        """The array that an `sp.weight` names."""
        return self[op.key]

    def mask_of(self, op: WeightOp) -> BlockMask:
        """The blocks of an `sp.weight` that is a mask, as the format of its type says."""
        found, format = self._arrays[op.key], type_of(op.result).format
        if format is None:
            raise ValueError(f"@{op.key} has no format")
        tile = tile_of(format)
        if isinstance(found, BlockMask) and found.tile == tile:
            return found
        return BlockMask.of(self[op.key], tile)

    def kind(self, name: str) -> tuple[tuple[int, ...], np.dtype] | None:
        """The shape and the element type of what is stored under `name`, if anything is."""
        found = self._arrays.get(name)
        return None if found is None else (found.shape, found.dtype)

    def _free(self, name: str) -> str:
        """`name`, or it with a number where it is taken."""
        key, count = name, 0
        while key in self._arrays:
            count += 1
            key = f"{name}.{count}"
        return key

    def drop_unused(self, module: ModuleOp) -> None:
        """Forget the arrays that no `sp.weight` in `module` names."""
        used = {op.key for op in module.walk() if isinstance(op, WeightOp)}
        for name in self._arrays.keys() - used:
            del self._arrays[name]
