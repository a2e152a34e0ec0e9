"""Between a logical array and the flat memory of its type's layout (see `sparsec.ir.types.Panel`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsec.bf16 import as_f32, as_pairs, rounded
from sparsec.ir import Panel, PanelAttr, TensorType


def physical(array: np.ndarray, type_: TensorType) -> np.ndarray:
    """The memory of `array` in the layout of `type_`, as a flat array; padding is NaN, so that its readers show."""
    if type_.panel is None:
        return array.astype(type_.dtype).ravel()
    if type_.panel.pairs:
        halves = [physical(as_f32(rounded(array[:, side::2])), _half(type_)) for side in (0, 1)]
        return as_pairs(np.stack(halves, -1)).view(np.float32).ravel()
    n, c, h, w = array.shape
    panels, lanes = -(-h // type_.panel.rows), type_.panel.rows * w
    rows = np.full((n, c, panels * type_.panel.rows, w), np.nan, type_.dtype)
    rows[:, :, :h] = array
    memory = np.full((n, panels, c, type_.panel.stride), np.nan, type_.dtype)
    memory[..., :lanes] = rows.reshape(n, c, panels, lanes).transpose(0, 2, 1, 3)
    if not type_.panel.pitch:
        return memory.ravel()
    apart = np.full((n * panels, type_.panel.pitch), np.nan, type_.dtype)
    apart[:, : c * type_.panel.stride] = memory.reshape(n * panels, -1)
    return apart.ravel()[: int(type_.nbytes) // memory.itemsize]  # pyright: ignore[reportArgumentType]


def logical(buffer: np.ndarray, type_: TensorType) -> np.ndarray:
    """The array of logical shape that `buffer` (flat or not) holds in the layout of `type_`."""
    shape = type_.static_shape
    if type_.panel is None:
        return buffer.reshape(shape)
    if type_.panel.pairs:
        bits = np.ascontiguousarray(buffer).view(np.uint16).reshape(-1, 2)
        halves = [logical(as_f32(np.ascontiguousarray(bits[:, side])), _half(type_)) for side in (0, 1)]
        return np.stack(halves, 2).reshape(shape)
    return _from_panels(buffer, shape, type_.panel)


def _half(type_: TensorType) -> TensorType:
    """The even or the odd channels of a value in pairs, in panels of f32."""
    n, c, h, w = type_.static_shape
    assert type_.panel is not None, "only values in panels are in pairs"
    return TensorType((n, c // 2, h, w), type_.element, PanelAttr(replace(type_.panel, pairs=False)))


def _from_panels(buffer: np.ndarray, shape: tuple[int, ...], panel: Panel) -> np.ndarray:
    n, c, h, w = shape
    panels = -(-h // panel.rows)
    if panel.pitch:
        flat = buffer.ravel()
        buffer = np.pad(flat, (0, n * panels * panel.pitch - flat.size)).reshape(n * panels, panel.pitch)
        buffer = buffer[:, : c * panel.stride]
    memory = buffer.reshape(n, panels, c, panel.stride)[..., : panel.rows * w]
    rows = memory.reshape(n, panels, c, panel.rows, w).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(rows.reshape(n, c, panels * panel.rows, w)[:, :, :h])
