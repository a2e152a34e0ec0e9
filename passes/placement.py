"""Places for buffers that live at the same time, so that none overlap and all take as little as they can.

Placement is greedy best fit (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020):
values in some order, each in the smallest gap that fits between those that live at the same time, and there at the
lower end; the best of several orders is kept. Where none reaches the lower bound, values are put at either end, by
chance: two large values that one after the other begin at 0 may leave no room for those that live with both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

SHUFFLES = 64


@dataclass
class Live:
    """A buffer: bytes, and the first and last op (by index) during which it holds something."""

    nbytes: int
    first: int
    last: int

    def meets(self, other: Live) -> bool:
        return self.first <= other.last and other.first <= self.last


def lower_bound(lives: Sequence[Live], steps: int) -> int:
    """The most bytes that live at one step."""
    changes = [0] * (steps + 1)
    for live in lives:
        changes[live.first] += live.nbytes
        changes[live.last + 1] -= live.nbytes
    return max(accumulate(changes), default=0)


def place(lives: Sequence[Live], bound: int, shuffles: int = SHUFFLES) -> tuple[list[int], int]:
    """Offsets for `lives` such that none that meet overlap, and the size of the arena. Stops at `bound`."""
    meeting = [[j for j, other in enumerate(lives) if j != i and live.meets(other)] for i, live in enumerate(lives)]
    best: list[int] = []
    size = -1
    for order, ends in _orders(lives, bound, shuffles):
        offsets = _place_in_order(lives, order, meeting, ends)
        end = max((offset + live.nbytes for offset, live in zip(offsets, lives, strict=True)), default=0)
        if size < 0 or end < size:
            best, size = offsets, end
        if size <= bound:
            break
    return best, size


def _orders(lives: Sequence[Live], bound: int, shuffles: int) -> Iterator[tuple[list[int], list[int]]]:
    """Orders to try: large values first, long-lived large ones first, in order of time, then shuffles of the first.

    With each, for every value: 0 where it goes to the lower end of its gap, or else where the last gap ends.
    """
    indices, low = range(len(lives)), [0] * len(lives)
    yield sorted(indices, key=lambda i: (-lives[i].nbytes, lives[i].first)), low
    yield sorted(indices, key=lambda i: -lives[i].nbytes * (lives[i].last - lives[i].first + 1)), low
    yield sorted(indices, key=lambda i: (lives[i].first, -lives[i].nbytes)), low
    generator = random.Random(0)
    for shuffle in range(2 * shuffles):
        weights = [live.nbytes * generator.uniform(0.5, 1.5) for live in lives]
        ends = low if shuffle < shuffles else [bound * generator.randrange(2) for _ in lives]
        yield sorted(indices, key=lambda i, weights=weights: -weights[i]), ends


def _place_in_order(
    lives: Sequence[Live], order: Sequence[int], meeting: Sequence[Sequence[int]], ends: Sequence[int]
) -> list[int]:
    offsets = [-1] * len(lives)
    for index in order:
        taken = sorted((offsets[j], offsets[j] + lives[j].nbytes) for j in meeting[index] if offsets[j] >= 0)
        offsets[index] = _best_gap(lives[index].nbytes, taken, ends[index])
    return offsets


def _best_gap(nbytes: int, taken: Sequence[tuple[int, int]], upper: int) -> int:
    """A place in the smallest gap of `nbytes` or more between the `taken` ranges (sorted), or behind them.

    It is the lower end of the gap, or with `upper`, where the last gap ends, the upper one.
    """
    best, waste, end = -1, 0, 0
    for low, high in (*taken, (upper, upper)) if upper else taken:
        gap = low - end
        if gap >= nbytes and (best < 0 or gap - nbytes < waste):
            best, waste = low - nbytes if upper else end, gap - nbytes
        end = max(end, high)
    return best if best >= 0 else max((high for _, high in taken), default=0)
