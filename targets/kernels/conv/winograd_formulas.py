"""Winograd's F(4, 3): four outputs of a filter of three taps from six products instead of twelve.

    y = Aᵀ ((G w) · (Bᵀ x))       the points are 0, ±1/√2, ±√2 and ∞

These points have a fifth of the rounding error that 0, ±1, ±2 have, for as many operations: rows of Bᵀ and columns of
Aᵀ for a and -a share their even and odd parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import numpy as np

from sparsec.targets.builder import Builder, Ref, Value

SIDE, TAPS, POINTS = 4, 3, 6
_SMALL, _LARGE = sqrt(0.5), sqrt(2.0)


def filter_matrix() -> np.ndarray:
    """G: values of the filter's polynomial at the points, over the products of the points' differences."""
    finite = [0.0, _SMALL, -_SMALL, _LARGE, -_LARGE]
    rows = [[a**k / np.prod([a - other for other in finite if other != a]) for k in range(TAPS)] for a in finite]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def filter_to_points(b: Builder, w: Sequence[Value]) -> list[Value]:
    """G w of three weights."""
    g = filter_matrix()
    lanes = w[0].lanes
    result = [b.constant(g[0, 0], "f32", lanes) * w[0]]
    for point in (1, 3):
        ends, middle = (b.constant(g[point, i], "f32", lanes) * w[i] for i in (0, 1))
        even = b.fma(b.constant(g[point, 2], "f32", lanes), w[2], ends)
        result += [even + middle, even - middle]
    return [*result, w[2]]


def to_points(b: Builder, x: Sequence[Value]) -> list[Value]:
    """Bᵀ x of six inputs."""
    middle = b.constant(-2.5, "f32", x[0].lanes)
    result = [b.fma(middle, x[2], x[0] + x[4])]
    for square, root in ((2.0, _SMALL), (0.5, _LARGE)):
        minus = b.constant(-square, "f32", x[0].lanes)
        even, odd = b.fma(minus, x[2], x[4]), b.fma(minus, x[1], x[3])
        result += [b.fma(b.constant(sign * root, "f32", x[0].lanes), odd, even) for sign in (1, -1)]
    return [*result, b.fma(middle, x[3], x[1] + x[5])]


def from_points(b: Builder, m: Sequence[Value]) -> list[Value]:
    """Aᵀ m of six products."""
    lanes = m[0].lanes
    small, large = m[1] + m[2], m[3] + m[4]
    result = [m[0] + small + large]
    differences = m[1] - m[2], m[3] - m[4]
    for power in range(1, SIDE):
        first, second = differences if power % 2 else (small, large)
        low, high = (b.constant(root**power, "f32", lanes) for root in (_SMALL, _LARGE))
        start = b.fma(low, first, m[5]) if power == SIDE - 1 else low * first
        result.append(b.fma(high, second, start))
    return result


def strided_filter_matrix() -> np.ndarray:
    """Values at the points of a filter of seven taps at stride 2: of its even taps at seven, of its odd ones at six.

    The point that only even taps need is -1, the last of theirs.
    """
    finite = [0.0, _SMALL, -_SMALL, _LARGE, -_LARGE, -1.0]
    even = [[a**k / np.prod([a - other for other in finite if other != a]) for k in range(4)] for a in finite]
    even = np.array([*even[:-1], [0.0, 0.0, 0.0, 1.0], even[-1]])
    result = np.zeros((len(even) + POINTS, 7))
    result[: len(even), ::2] = even
    result[len(even) :, 1::2] = filter_matrix()
    return result


def strided_to_points(b: Builder, x: Sequence[Value]) -> list[Value]:
    """The seven even ones of thirteen inputs at seven points, the odd ones at six.

    As the polynomial of all points has one factor x + 1 more, even inputs are sums of neighbours at the others.
    """
    even, odd = x[::2], x[1::2]
    neighbours = [first + second for first, second in pairwise(even)]
    last = b.fma(b.constant(-2.5, "f32", x[0].lanes), even[3], even[1] + even[5])
    return [*to_points(b, neighbours), last, *to_points(b, odd)]


def strided_from_points(b: Builder, m: Sequence[Value]) -> list[Value]:
    """Four results of the sums at seven points."""
    *shared, last = m
    return [y - last if power % 2 else y + last for power, y in enumerate(from_points(b, shared))]


def deinterleave(b: Builder, x: Sequence[Value], phases: int = 4) -> list[Value]:
    """Of four vectors, taken as one long one, every fourth element from 0, 1, 2... on."""
    even, odd = ([_every_second(b, x[i], x[i + 1], side) for i in (0, 2)] for side in (0, 1))
    pairs = ((even, 0), (odd, 0), (even, 1), (odd, 1))
    return [_every_second(b, halves[0], halves[1], side) for halves, side in pairs[:phases]]


def interleave(b: Builder, y: Sequence[Value]) -> list[Value]:
    """The inverse of `deinterleave`."""
    even, odd = _zip(b, y[0], y[2]), _zip(b, y[1], y[3])
    return [*_zip(b, even[0], odd[0]), *_zip(b, even[1], odd[1])]


def load_runs(b: Builder, ref: Ref, places: Sequence[int]) -> Value:
    """Four elements from each of `places` on; those that follow one another are loaded together."""
    lanes = 4 * len(places)
    if _is_run(places):
        return b.vload(ref, places[0], lanes=lanes)
    half = len(places) // 2
    return b.concat(load_runs(b, ref, places[:half]), load_runs(b, ref, places[half:]))


def store_runs(b: Builder, value: Value, ref: Ref, places: Sequence[tuple[int, int]]) -> None:
    """Stores the first `count` of each four elements at (place, count); runs of full ones together."""
    counts = [count for _, count in places]
    whole = sum(counts)
    if not whole:
        return
    full = all(count == 4 for count in counts[: whole // 4]) and not any(counts[-(-whole // 4) :])
    used = [place for place, count in places if count]
    if full and _is_run(used):
        b.vstore(value, ref, used[0], whole)
        return
    half = len(places) // 2
    store_runs(b, b.half(value, 0), ref, places[:half])
    store_runs(b, b.half(value, 1), ref, places[half:])


def _is_run(places: Sequence[int]) -> bool:
    return all(place == places[0] + 4 * i for i, place in enumerate(places))


def _every_second(b: Builder, x: Value, y: Value, first: int) -> Value:
    lanes = x.lanes or 1
    return b.shuffle(x, y, [first + 2 * i for i in range(lanes)])


def _zip(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    lanes = x.lanes or 1
    order = [i + side * lanes for i in range(lanes) for side in (0, 1)]
    return b.shuffle(x, y, order[:lanes]), b.shuffle(x, y, order[lanes:])
