"""Transposing blocks of memory through registers."""

from __future__ import annotations

from sparsec.targets.builder import Builder, Index, Ref, Value

COLUMNS = 4  # of a block: what a 128-bit lane holds


def block_rows(b: Builder) -> int:
    """Rows of a block. 8 on AVX-512 too: its 512-bit shuffles run on one port, the 256-bit ones on two."""
    return min(b.isa.lanes, 8)


def columns_of(
    b: Builder, x: Ref, at: Index, stride: int, rows: int | None = None, count: int = COLUMNS
) -> list[Value]:
    """The first `count` columns of a block at `at` whose rows are `stride` apart, as vectors of `block_rows` lanes.

    Rows from `rows` on are not read and are zero. The loads bring rows i and i + 4 together, so that the shuffles that
    follow stay inside 128-bit lanes, where they are cheap.
    """
    lanes = block_rows(b)
    zero = b.constant(0.0, "f32", COLUMNS)
    loaded = [
        b.vload(x, at + row * stride, count, lanes=COLUMNS) if rows is None or row < rows else zero
        for row in range(lanes)
    ]
    pairs = [loaded[i] if lanes == COLUMNS else b.concat(loaded[i], loaded[i + COLUMNS]) for i in range(COLUMNS)]
    low = _interleaved(b, pairs[0], pairs[1]) + _interleaved(b, pairs[2], pairs[3])
    halves = [(low[0], low[2]), (low[1], low[3])]
    return [column for x, y in halves for column in _halves(b, x, y)][:count]


def _interleaved(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """In each 128-bit lane x0 y0 x1 y1, and x2 y2 x3 y3."""
    lanes = x.lanes or 0
    picks = [[base + i + side * lanes for base in range(0, lanes, 4) for i in two for side in (0, 1)] for two in _TWOS]
    return b.shuffle(x, y, picks[0]), b.shuffle(x, y, picks[1])


def _halves(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """In each 128-bit lane x0 x1 y0 y1, and x2 x3 y2 y3."""
    lanes = x.lanes or 0
    picks = [[base + i + side * lanes for base in range(0, lanes, 4) for side in (0, 1) for i in two] for two in _TWOS]
    return b.shuffle(x, y, picks[0]), b.shuffle(x, y, picks[1])


_TWOS = ((0, 1), (2, 3))
