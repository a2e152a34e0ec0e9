"""bf16 in NumPy, which has no such type: the upper halves of f32, as uint16."""

from __future__ import annotations

import numpy as np


def rounded(array: np.ndarray) -> np.ndarray:
    """f32 as the bits of bf16, rounded to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    near = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(array), np.uint16(0x7FC0), near)


def as_pairs(array: np.ndarray) -> np.ndarray:
    """Neighbours along the last axis in 32 bits each, the earlier one low."""
    return np.ascontiguousarray(rounded(array)).view(np.int32)


def as_f32(bits: np.ndarray) -> np.ndarray:
    """The values of bf16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def in_pieces(array: np.ndarray) -> list[np.ndarray]:
    """Three arrays of f32 that bf16 holds, whose sum is `array`: each what is left of it, rounded to nearest even."""
    pieces: list[np.ndarray] = []
    for _ in range(3):
        pieces.append(as_f32(rounded(array)))
        array = array - pieces[-1]
    return pieces
