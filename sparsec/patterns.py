"""Patterns of attention: which keys a query looks at, by the positions of both, one pattern a head.

Positions count from the first key; the last query stands at the last key, so that fewer queries than keys are the end
of the sequence, as with a cache of keys. Every pattern can be causal too: no key after the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sparsec.masks import BlockMask


@dataclass(frozen=True)
class Everything:
    """All keys: with causal, the lower triangle."""

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Whether the pairs of positions, broadcast against one another, are kept."""
        return np.ones(np.broadcast_shapes(query.shape, key.shape), np.bool_)

    def __str__(self) -> str:
        return "all keys"


@dataclass(frozen=True)
class Window:
    """The keys at a distance below `size`: Longformer's and Mistral's window, MoA's span of a head."""

    size: int

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """See `Everything.keeps`."""
        return np.abs(query - key) < self.size

    def __str__(self) -> str:
        return f"a window of {self.size}"


@dataclass(frozen=True)
class Streaming:
    """The first `sink` keys and those at a distance below `recent`, as in StreamingLLM and LServe's streaming heads."""

    sink: int
    recent: int

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """See `Everything.keeps`."""
        return (np.abs(query - key) < self.recent) | (key < self.sink)

    def __str__(self) -> str:
        return f"{self.sink} first and {self.recent} recent keys"


@dataclass(frozen=True)
class Strided:
    """A window, and every `stride`-th block of `block` keys, the first one at `offset`, as in S2-Attention.

    Heads with different offsets see the whole sequence together.
    """

    stride: int
    window: int
    block: int
    offset: int

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """See `Everything.keeps`."""
        return (np.abs(query - key) < self.window) | (key // self.block % self.stride == self.offset)

    def __str__(self) -> str:
        start = f" from block {self.offset} on" if self.offset else ""
        return f"one block in {self.stride} of {self.block} keys{start}, and a window of {self.window}"


@dataclass(frozen=True)
class Blocks:
    """Listed blocks: a query in block i looks at the keys of the blocks `rows[i]`, each of `size` positions."""

    size: int
    rows: tuple[tuple[int, ...], ...]

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """See `Everything.keeps`."""
        count = int(key.max(initial=0)) // self.size + 1
        table = np.zeros((len(self.rows), max(count, 1 + max((max(row, default=0) for row in self.rows), default=0))))
        for index, row in enumerate(self.rows):
            table[index, list(row)] = 1
        return table[query // self.size, key // self.size] != 0

    def __str__(self) -> str:
        return f"listed blocks of {self.size}"


Keys = Everything | Window | Streaming | Strided | Blocks


@dataclass(frozen=True)
class Pattern:
    """What one head looks at."""

    keys: Keys = Everything()
    causal: bool = False

    def keeps(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Whether the pairs of positions, broadcast against one another, are kept."""
        kept = self.keys.keeps(query, key)
        return kept & (key <= query) if self.causal else kept

    def __str__(self) -> str:
        if self.causal and self.keys == Everything():
            return "causal"
        return f"causal, {self.keys}" if self.causal else str(self.keys)


def mask_of(patterns: Sequence[Pattern], queries: int, keys: int, tile: tuple[int, int]) -> BlockMask:
    """The mask of heads with these patterns, made a stripe of queries at a time."""
    distinct = list(dict.fromkeys(patterns))
    columns = np.arange(keys, dtype=np.int32)[None]

    def rows(first: int, count: int) -> np.ndarray:
        positions = np.arange(first, first + count, dtype=np.int32)[:, None] + (keys - queries)
        return np.stack([pattern.keeps(positions, columns) for pattern in distinct])

    mask = BlockMask.build((len(distinct), queries, keys), tile, rows)
    if len(distinct) == 1 or len(mask.places) == 1:
        return mask
    places = mask.places[[distinct.index(pattern) for pattern in patterns]]
    return BlockMask((len(patterns), queries, keys), tile, places, mask.pool)


def describe(mask: BlockMask) -> str:
    """The patterns that the heads of `mask` are, for people: "heads 0-3 causal; heads 4-7 causal, a window of 256"."""
    found = [str(recognise(mask.head(head)) or "blocks of no simple pattern") for head in range(mask.shape[0])]
    return by_heads(found)


def by_heads(texts: Iterable[str]) -> str:
    """What is said of heads, in order, with heads alike named together; of none, nothing."""
    runs = [(text, [head for head, _ in group]) for text, group in groupby(enumerate(texts), lambda pair: pair[1])]
    if len(runs) == 1:
        return runs[0][0]
    named = ((f"head {h[0]}" if len(h) == 1 else f"heads {h[0]}-{h[-1]}", text) for text, h in runs)
    return "; ".join(f"{heads} {text}" for heads, text in named)


def recognise(mask: BlockMask) -> Pattern | None:
    """The pattern that a mask of one head is exactly, if it is a simple one."""
    _, queries, keys = mask.shape
    for guess in _guesses(mask):
        if mask_of([guess], queries, keys, mask.tile).same(mask):
            return guess
    return None


def _guesses(mask: BlockMask) -> list[Pattern]:
    """Patterns that agree with the mask on a query in the middle and on the last."""
    _, queries, keys = mask.shape
    if not queries or not keys:
        return []
    middle = mask.rows(queries // 2, 1)[0, 0]
    causal = not middle[queries // 2 + keys - queries + 1 :].any()
    last = mask.rows(queries - 1, 1)[0, 0]
    runs = _runs(last)
    recent = runs[-1][1] - runs[-1][0] if runs and runs[-1][1] == keys else 0
    found: list[Keys] = [Everything(), Window(recent)]
    if len(runs) == 2 and runs[0][0] == 0:
        found.append(Streaming(runs[0][1], recent))
    if len(runs) > 2:
        found += _strides(runs, recent)
    return [Pattern(keys, causal) for keys in found]


def _strides(runs: list[tuple[int, int]], window: int) -> list[Keys]:
    """Strided patterns that the runs of a row may be: the first two that are whole tell the block and the stride."""
    (a, b), (c, _) = runs[0], runs[1]
    block = b - a
    if (c - a) % block or a % block:
        return []
    return [Strided((c - a) // block, window, block, a // block % ((c - a) // block))]


def _runs(kept: np.ndarray) -> list[tuple[int, int]]:
    """Where kept elements begin and end, [begin, end) each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
