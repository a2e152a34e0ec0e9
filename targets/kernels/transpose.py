"""Transposing square blocks in registers."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.targets.builder import Builder, Value


def transpose(b: Builder, rows: Sequence[Value]) -> list[Value]:
    """The columns of `rows`, which are as many as they have lanes (a power of two).

    Each of log2(lanes) steps interleaves row i with row i + lanes / 2, which moves every element one bit of its place on.
    """
    size, columns = len(rows), list(rows)
    low = [lane // 2 + lane % 2 * size for lane in range(size)]
    high = [lane + size // 2 for lane in low]
    for _ in range(size.bit_length() - 1):
        pairs = zip(columns[: size // 2], columns[size // 2 :], strict=True)
        columns = [b.shuffle(x, y, lanes) for x, y in pairs for lanes in (low, high)]
    return columns
