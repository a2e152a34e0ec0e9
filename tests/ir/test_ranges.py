"""Ranges of symbols: corners, bounds, and where choices are made."""

import pytest

from sparsec.ir.dims import ceildiv, evaluate, floordiv, parse_dim, symbol
from sparsec.ir.ranges import MOST_CORNERS, bounds, corners, highest, lowest_of, typical

RANGES = {"batch": (1, 8), "seq": (3, 100)}


def test_corners_hold_every_size():
    found = corners(RANGES)
    assert {corner["batch"] for corner in found} == {1, 2, 4, 8}
    assert {corner["seq"] for corner in found} == {4, 8, 16, 32, 64, 100}
    assert len(found) == 24
    assert found[-1] == highest(RANGES)


def test_corners_are_few():
    many = dict.fromkeys("abcd", (1, 1 << 20))
    found = corners(many)
    assert len(found) <= MOST_CORNERS
    assert highest(many) in found
    assert corners({}) == [{}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch*seq", (3, 800)),
        ("2*seq + 1", (7, 201)),
        ("seq - batch", (-5, 99)),
        ("(seq + 63) // 64", (1, 2)),
        ("100 - seq", (0, 97)),
        ("7", (7, 7)),
    ],
)
def test_bounds(text, expected):
    assert bounds(parse_dim(text), RANGES) == expected


def test_bounds_hold_everywhere():
    dim = ceildiv(symbol("batch") * symbol("seq"), 64) * 80 + floordiv(symbol("seq"), symbol("batch")) * 3
    low, high = bounds(dim, RANGES)
    sizes = [evaluate(dim, {"batch": b, "seq": s}) for b in range(1, 9) for s in range(3, 101)]
    assert all(low <= size <= high for size in sizes)  # type: ignore[operator]


def test_the_least_size_is_found():
    assert lowest_of(parse_dim("seq - 2"), RANGES)[0] == 1
    assert lowest_of(parse_dim("seq - 3"), RANGES) == (0, {"seq": 3})
    assert lowest_of(parse_dim("seq - seq // 2"), RANGES) == (2, {"seq": 3})  # though bounds say less


def test_choices_are_made_inside():
    assert typical(RANGES) == {"batch": 2, "seq": 25}
    assert typical({"n": (60, 64)}) == {"n": 60}
