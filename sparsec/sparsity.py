"""Patterns of zeros in weights: finding them, and making them by magnitude.

A weight is looked at as a matrix of outputs × everything that an output sums over: [M, C, KH, KW] is [M, C·KH·KW].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sparsec.errors import UsageError

# n:m patterns, blocks (outputs × inputs) and how full they must be for the pattern to be more than chance.
GROUPS = ((1, 2), (1, 4), (2, 4), (1, 8), (2, 8), (4, 8))
BLOCKS = ((16, 16), (16, 1), (8, 1), (4, 4), (1, 16), (4, 1), (1, 8), (2, 2), (1, 4), (2, 1), (1, 2))
FULL = 0.95
DENSE = 0.95
MOST_KERNEL_PATTERNS = 16


@dataclass(frozen=True)
class Sparsity:
    """What is zero in a weight. `kind` is dense, unstructured, n:m ("2:4"), block ("4x1"), kernel or channel."""

    kind: str
    density: float
    dead_outputs: int = 0
    dead_inputs: int = 0

    def __str__(self) -> str:
        dead = ((self.dead_outputs, "output"), (self.dead_inputs, "input"))
        parts = [f"{count} dead {what} channel{'s' * (count > 1)}" for count, what in dead if count]
        return ", ".join([self.kind, *parts])


def describe(weight: np.ndarray) -> Sparsity:
    """The most regular pattern that the zeros of `weight` ([M, C, ...]) follow. Dead channels are left out of it."""
    if weight.size == 0 or weight.ndim < 2:
        return Sparsity("dense", 1.0)
    kept = weight != 0
    outputs = kept.reshape(len(kept), -1).any(axis=1)
    inputs = kept.any(axis=tuple(axis for axis in range(kept.ndim) if axis != 1))
    density = float(kept.mean())
    dead = (int((~outputs).sum()), int((~inputs).sum()))
    alive = kept[outputs][:, inputs]
    return Sparsity(_kind(alive, any(dead)), density, *dead)


def _kind(kept: np.ndarray, has_dead_channels: bool) -> str:
    density = kept.mean() if kept.size else 1.0
    if density > DENSE:
        return "channel" if has_dead_channels else "dense"
    for n, m in GROUPS:
        if _is_grouped(kept, n, m):
            return f"{n}:{m}"
    matrix = kept.reshape(len(kept), -1)
    for rows, columns in BLOCKS:
        if _block_fill(matrix, rows, columns) >= FULL:
            return f"{rows}x{columns}"
    return "kernel" if _is_kernel_pattern(kept) else "unstructured"


def _is_grouped(kept: np.ndarray, n: int, m: int) -> bool:
    """At most n of each m neighbouring input channels, and not by chance: nearly n in all."""
    if kept.shape[1] < 2 * m or kept.shape[1] % m:
        return False
    groups = np.moveaxis(kept, 1, -1).reshape(-1, m).sum(axis=1)
    return groups.max() == n and groups.mean() >= FULL * n


def _block_fill(matrix: np.ndarray, rows: int, columns: int) -> float:
    """The share of elements that are kept in the blocks that hold any."""
    if matrix.shape[0] < rows or matrix.shape[1] < columns:
        return 0.0
    padded = np.pad(matrix, [(0, -size % block) for size, block in zip(matrix.shape, (rows, columns), strict=True)])
    blocks = padded.reshape(padded.shape[0] // rows, rows, -1, columns).any(axis=(1, 3))
    return float(matrix.sum() / (blocks.sum() * rows * columns)) if blocks.any() else 0.0


def _is_kernel_pattern(kept: np.ndarray) -> bool:
    """Whether the kernels of a convolution keep one of few sets of taps each."""
    if kept.ndim < 4 or kept[0, 0].size < 4 or kept[0, 0].size > 62:
        return False
    kernels = kept.reshape(-1, kept[0, 0].size)
    codes = np.unique(kernels @ (1 << np.arange(kernels.shape[1], dtype=np.int64)))
    return len(codes[codes > 0]) <= MOST_KERNEL_PATTERNS < len(kernels)


@dataclass(frozen=True)
class Pattern:
    """A pattern to prune by: blocks of `rows` × `columns` (1 × 1 is unstructured), n of m, or whole output channels."""

    kind: str
    rows: int = 1
    columns: int = 1
    n: int = 0
    m: int = 0


def parse_pattern(text: str) -> Pattern:
    """`unstructured`, `4x1` (outputs × inputs), `2:4` or `channel`. Raises UsageError."""
    if text in ("unstructured", "channel"):
        return Pattern(text)
    if match := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text):
        return Pattern("block", rows=int(match[1]), columns=int(match[2]))
    match = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2})", text)
    if match and int(match[1]) < int(match[2]):
        return Pattern("n:m", n=int(match[1]), m=int(match[2]))
    raise UsageError(f"no pattern {text!r}: use unstructured, channel, blocks such as 4x1, or n:m such as 2:4")


def prune(weight: np.ndarray, pattern: Pattern, sparsity: float) -> np.ndarray:
    """`weight` ([M, C, ...]) with its smallest blocks zero, by the sum of squares of each.

    Survivors keep their values. `sparsity` is the share of blocks to drop; an n:m pattern has its own.
    """
    if pattern.kind == "n:m":
        return weight * _largest_of_groups(weight, pattern.n, pattern.m)
    matrix = weight.reshape(len(weight), -1)
    rows, columns = (1, matrix.shape[1]) if pattern.kind == "channel" else (pattern.rows, pattern.columns)
    energy = _block_energy(matrix, rows, columns)
    drop = round(energy.size * sparsity)
    keep = np.ones(energy.size, bool)
    keep[np.argsort(energy, axis=None, kind="stable")[:drop]] = False
    mask = keep.reshape(energy.shape).repeat(rows, axis=0).repeat(columns, axis=1)
    return (matrix * mask[: matrix.shape[0], : matrix.shape[1]]).reshape(weight.shape)


def _block_energy(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    pads = [(0, -size % block) for size, block in zip(matrix.shape, (rows, columns), strict=True)]
    squares = np.pad(np.square(matrix, dtype=np.float64), pads)
    return squares.reshape(squares.shape[0] // rows, rows, -1, columns).sum(axis=(1, 3))


def _largest_of_groups(weight: np.ndarray, n: int, m: int) -> np.ndarray:
    """True at the n largest of each m neighbouring input channels; a last, shorter group keeps n as well."""
    last = np.moveaxis(np.abs(weight), 1, -1)
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, -last.shape[-1] % m)], constant_values=-1)
    groups = padded.reshape(*padded.shape[:-1], -1, m)
    ranks = np.argsort(np.argsort(-groups, axis=-1, kind="stable"), axis=-1, kind="stable")
    mask = (ranks < n).reshape(padded.shape)[..., : last.shape[-1]]
    return np.moveaxis(mask, -1, 1)
