"""Between a logical array and the flat memory of its type's layout (see `sparsec.ir.types.Panel`)."""

from __future__ import annotations

import numpy as np

from sparsec.ir import Panel, TensorType


def physical(array: np.ndarray, type_: TensorType) -> np.ndarray:
    """The memory of `array` in the layout of `type_`, as a flat array; padding is NaN, so that its readers show."""
    if type_.panel is None:
        return array.astype(type_.dtype).ravel()
    n, c, h, w = array.shape
    panels, lanes = -(-h // type_.panel.rows), type_.panel.rows * w
    rows = np.full((n, c, panels * type_.panel.rows, w), np.nan, type_.dtype)
    rows[:, :, :h] = array
    memory = np.full((n, panels, c, type_.panel.stride), np.nan, type_.dtype)
    memory[..., :lanes] = rows.reshape(n, c, panels, lanes).transpose(0, 2, 1, 3)
    return memory.ravel()


def logical(buffer: np.ndarray, type_: TensorType) -> np.ndarray:
    """The array of logical shape that `buffer` (flat or not) holds in the layout of `type_`."""
    shape = type_.static_shape
    if type_.panel is None:
        return buffer.reshape(shape)
    return _from_panels(buffer, shape, type_.panel)


def _from_panels(buffer: np.ndarray, shape: tuple[int, ...], panel: Panel) -> np.ndarray:
    n, c, h, w = shape
    panels = -(-h // panel.rows)
    memory = buffer.reshape(n, panels, c, panel.stride)[..., : panel.rows * w]
    rows = memory.reshape(n, panels, c, panel.rows, w).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(rows.reshape(n, c, panels * panel.rows, w)[:, :, :h])
