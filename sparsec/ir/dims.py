"""Sizes of dimensions: plain ints, or integer expressions over named symbols (`batch`, `2*s + 1`, `h // 2`).

An expression is a polynomial kept in normal form, so that equal sizes compare equal: a map from monomials to integer
coefficients, where a monomial is a sorted tuple of atoms, and an atom is a symbol or an undivided `a // b`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce, wraps
from typing import Any, TypeAlias, TypeVar, cast

Dim: TypeAlias = "int | Sym"
Atom: TypeAlias = "str | Quotient"
Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True)
class Quotient:
    """floor(numerator / denominator), where the division is not exact for every value of the symbols."""

    numerator: Dim
    denominator: Dim

    def __str__(self) -> str:
        numerator, denominator = str(self.numerator), str(self.denominator)
        if isinstance(self.numerator, Sym) and len(self.numerator.terms) > 1:
            numerator = f"({numerator})"
        if not (denominator.isidentifier() or denominator.isdecimal()):
            denominator = f"({denominator})"
        return f"{numerator} // {denominator}"


class NotFixed(ValueError):
    """A size with symbols is in a place that takes numbers only."""


Operator = TypeVar("Operator", bound=Callable[..., Any])


def _of_sizes(operator: Operator) -> Operator:
    """The operator, on sizes only: other operands (values of a kernel) have operators of their own for sizes."""

    @wraps(operator)
    def checked(self: Sym, other: Dim) -> Any:
        return operator(self, other) if isinstance(other, int | Sym) else NotImplemented

    return cast("Operator", checked)


@dataclass(frozen=True)
class Sym:
    """A size that depends on symbols; build it by arithmetic on `symbol(name)`."""

    terms: tuple[tuple[Monomial, int], ...]

    @_of_sizes
    def __add__(self, other: Dim) -> Dim:
        total = dict(self.terms)
        for monomial, factor in _terms(other):
            total[monomial] = total.get(monomial, 0) + factor
        return _normal(total)

    @_of_sizes
    def __mul__(self, other: Dim) -> Dim:
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=str))
                total[monomial] = total.get(monomial, 0) + a * b
        return _normal(total)

    def __neg__(self) -> Dim:
        return self * -1

    @_of_sizes
    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    @_of_sizes
    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    @_of_sizes
    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    @_of_sizes
    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    @_of_sizes
    def __mod__(self, other: Dim) -> Dim:
        return self - floordiv(self, other) * other

    @_of_sizes
    def __rmod__(self, other: Dim) -> Dim:
        return other - floordiv(other, self) * self

    @_of_sizes
    def __lt__(self, other: Dim) -> bool:
        raise NotFixed(f"only the run knows how {self} compares with {other}")

    __le__ = __gt__ = __ge__ = __lt__
    __radd__, __rmul__ = __add__, __mul__

    def __str__(self) -> str:
        (monomial, factor), *others = self.terms
        first = _print_term(monomial, factor)
        return first + "".join(f" {'-' if f < 0 else '+'} {_print_term(m, abs(f))}" for m, f in others)


def symbol(name: str) -> Dim:
    """The size called `name`."""
    return Sym((((name,), 1),))


def floordiv(a: Dim, b: Dim) -> Dim:
    """floor(a / b) for b > 0: terms of `a` that b divides leave the quotient. Raises ZeroDivisionError for b = 0."""
    if b == 0:
        raise ZeroDivisionError(f"the size {a} is divided by 0")
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    divisor = _terms(b)
    for term in _terms(a):
        quotient = _divide_term(term, divisor[0]) if len(divisor) == 1 else None
        target, (monomial, factor) = (exact, quotient) if quotient else (rest, term)
        target[monomial] = factor
    remainder = _normal(rest)
    if isinstance(remainder, int) and isinstance(b, int):
        return _normal(exact) + remainder // b
    return _normal(exact) + (Sym((((Quotient(remainder, b),), 1),)) if remainder else 0)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """ceil(a / b) for b > 0."""
    return floordiv(a + b - 1, b)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes, 1 where there are none."""
    return reduce(lambda a, b: a * b, dims, 1)


def symbols(dim: Dim) -> frozenset[str]:
    """The names of the symbols in `dim`."""
    if isinstance(dim, int):
        return frozenset()
    found: set[str] = set()
    for monomial, _ in dim.terms:
        for atom in monomial:
            found |= {atom} if isinstance(atom, str) else symbols(atom.numerator) | symbols(atom.denominator)
    return frozenset(found)


def evaluate(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with the symbols in `values` replaced; the others stay."""
    if isinstance(dim, int):
        return dim
    (monomial, factor), *others = dim.terms
    if not others and factor == 1 and len(monomial) == 1 and isinstance(monomial[0], str):  # as in most shapes of runs
        return values.get(monomial[0], dim)
    return _sum(factor * product(_evaluate_atom(atom, values) for atom in monomial) for monomial, factor in dim.terms)


def fixed(dim: Dim, values: Mapping[str, int] | None = None) -> int:
    """`dim` with the symbols in `values` replaced. Raises NotFixed, naming the symbols, where others are left."""
    size = evaluate(dim, values or {})
    if not isinstance(size, int):
        raise NotFixed(f"the size of {', '.join(sorted(symbols(size)))} is not fixed")
    return size


def is_symbolic(dim: Dim) -> bool:
    """Whether only the run knows a size."""
    return isinstance(dim, Sym)


def parse_dim(text: str) -> Dim:
    """Read what `str(dim)` writes: integers, names, `+ - * //` and parentheses. Raises ValueError on anything else."""
    try:
        return _parse_node(ast.parse(text, mode="eval").body)
    except (SyntaxError, ZeroDivisionError) as error:
        raise ValueError(f"not a dimension: {text!r}") from error


_OPERATORS: dict[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floordiv,
}


def _parse_node(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_parse_node(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_parse_node(left), _parse_node(right))
    raise ValueError(f"not a dimension: {ast.unparse(node)!r}")


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, int):
        return (((), dim),) if dim else ()
    return dim.terms


def _normal(terms: dict[Monomial, int]) -> Dim:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    if set(kept) <= {()}:
        return kept.get((), 0)
    return Sym(tuple(sorted(kept.items(), key=lambda term: (-len(term[0]), str(term[0])))))


def _divide_term(term: tuple[Monomial, int], divisor: tuple[Monomial, int]) -> tuple[Monomial, int] | None:
    rest, factor = list(term[0]), term[1]
    if factor % divisor[1]:
        return None
    for atom in divisor[0]:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest), factor // divisor[1]


def _evaluate_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, str):
        return values.get(atom, symbol(atom))
    return floordiv(evaluate(atom.numerator, values), evaluate(atom.denominator, values))


def _sum(dims: Iterable[Dim]) -> Dim:
    return reduce(lambda a, b: a + b, dims, 0)


def _print_term(monomial: Monomial, factor: int) -> str:
    """A quotient stands bare only on its own: as a factor, or after a minus, it needs its parentheses."""
    if not monomial:
        return str(factor)
    if len(monomial) == 1 and factor == 1:
        return str(monomial[0])
    atoms = "*".join(f"({atom})" if isinstance(atom, Quotient) else atom for atom in monomial)
    return {1: atoms, -1: f"-{atoms}"}.get(factor, f"{factor}*{atoms}")
