"""Symbolic sizes: arithmetic agrees with Python's, text is read back, equal sizes compare equal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsec.ir.dims import ceildiv, evaluate, floordiv, parse_dim, product, symbol, symbols

NAMES = ("a", "b", "n_1")
LEAVES = st.integers(-9, 9) | st.sampled_from(NAMES).map(symbol)


def _nodes(children):
    operators = st.sampled_from([lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b])
    quotients = st.builds(floordiv, children, st.integers(1, 7) | st.sampled_from(NAMES).map(symbol))
    return quotients | st.builds(lambda operator, a, b: operator(a, b), operators, children, children)


DIMS = st.recursive(LEAVES, _nodes, max_leaves=8)
SIZES = st.fixed_dictionaries({name: st.integers(1, 50) for name in NAMES})


@given(DIMS)
def test_text_is_read_back(dim):
    assert parse_dim(str(dim)) == dim


@given(DIMS, DIMS, SIZES)
def test_arithmetic_is_pythons(a, b, sizes):
    x, y = evaluate(a, sizes), evaluate(b, sizes)
    assert isinstance(x, int)
    assert isinstance(y, int)
    assert evaluate(a + b, sizes) == x + y
    assert evaluate(a - b, sizes) == x - y
    assert evaluate(a * b, sizes) == x * y
    if y > 0:
        assert evaluate(floordiv(a, b), sizes) == x // y
        assert evaluate(ceildiv(a, b), sizes) == -(-x // y)


@given(DIMS, SIZES)
def test_text_means_what_python_means(dim, sizes):
    assert eval(str(dim), dict(sizes)) == evaluate(dim, sizes)


@given(DIMS, DIMS, DIMS)
def test_normal_form(a, b, c):
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) * c == a * c + b * c
    assert a - a == 0
    assert hash(a + b) == hash(b + a)


@given(DIMS, st.integers(1, 50))
def test_some_symbols_may_stay(dim, size):
    rest = evaluate(dim, {"a": size})
    assert "a" not in symbols(rest)
    assert evaluate(rest, {"b": 2, "n_1": 3}) == evaluate(dim, {"a": size, "b": 2, "n_1": 3})


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (symbol("n") * 2 + 1, "2*n + 1"),
        (product([symbol("h"), symbol("w"), 3]), "3*h*w"),
        (floordiv(symbol("h") * 4 + 8, 4), "h + 2"),
        (floordiv(symbol("h") - 1, 2) + 1, "(h - 1) // 2 + 1"),
        (floordiv(floordiv(symbol("h") - 1, 2), 2), "(h - 1) // 2 // 2"),
        (-3 * floordiv(symbol("h"), 2) - symbol("n_1"), "-n_1 - 3*(h // 2)"),
        (-floordiv(symbol("h"), symbol("n_1")), "-(h // n_1)"),
        (symbol("a") - floordiv(5, symbol("a") * 2), "a - 5 // (2*a)"),
        (5 - symbol("n"), "-n + 5"),
        (symbol("n") - symbol("n") + 7, "7"),
    ],
)
def test_text(dim, text):
    assert str(dim) == text


@pytest.mark.parametrize(
    "text", ["", "n +", "n / 2", "2.5", "f(n)", "n ** 2", "'n'", "True", "n.m", "n // 0", "1 // (n - n)"]
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="not a dimension"):
        parse_dim(text)
