"""The weight store: constant arrays by name, outside the IR text. Large ones stay memory-mapped files."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from sparsec.ir import TensorType, WeightOp
from sparsec.ir.types import element_of


class WeightStore(MutableMapping[str, np.ndarray]):
    """Arrays by name. An array is read-only once stored: a pass that changes one stores a new one under a new name."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        array = array.view()
        array.flags.writeable = False
        self._arrays[name] = array

    def __delitem__(self, name: str) -> None:
        del self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, name: str, array: np.ndarray) -> WeightOp:
        """Store `array` under `name`, or under `name.1`, `name.2`… where that is taken, and make its `sp.weight`."""
        key, count = name, 0
        while key in self._arrays:
            count += 1
            key = f"{name}.{count}"
        self[key] = array
        return WeightOp(key, TensorType(array.shape, element_of(array.dtype)))

    def of(self, op: WeightOp) -> np.ndarray:
        """The array that an `sp.weight` names."""
        return self._arrays[op.key]

    def drop_unused(self, module: ModuleOp) -> None:
        """Forget the arrays that no `sp.weight` in `module` names."""
        used = {op.key for op in module.walk() if isinstance(op, WeightOp)}
        for name in self._arrays.keys() - used:
            del self._arrays[name]
