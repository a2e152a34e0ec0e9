"""Einsum as transposes, sums and matrix products, two operands at a time."""

from __future__ import annotations

import re
from string import ascii_uppercase

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import MatmulOp, ReduceOp
from sparsec.ir.dims import Dim, product


@operator("Einsum")
def einsum(node: Node):
    terms, result = _terms(node)
    operands = list(zip(node.all_inputs(), terms, strict=True))
    x, left = operands[0]
    for index, (y, right) in enumerate(operands[1:], 2):
        later = "".join(terms[index:]) + result
        x, left = _contract(node, x, left, y, right, later)
    x, left = _sum_out(node, x, left, result)
    return node.transpose(x, [left.index(letter) for letter in result])


def _terms(node: Node) -> tuple[list[str], str]:
    """The letters of each operand's axes, and of the result's; an ellipsis becomes capitals."""
    equation = node.text("equation").replace(" ", "")
    if not re.fullmatch(r"[a-z.]*(,[a-z.]*)*(->[a-z.]*)?", equation):
        node.unsupported(f"has the equation {equation!r}; letters a to z, commas, '...' and one '->' are supported")
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    if len(terms) != len(node.inputs):
        node.invalid(f"has {len(node.inputs)} inputs for the equation {equation!r}")
    ellipsis = ""
    for index, term in enumerate(terms):
        extra = len(dims_of(node.input(index))) - len(term.replace("...", ""))
        if extra < 0 or (extra > 0 and "..." not in term):
            node.invalid(f"has an input of {len(dims_of(node.input(index)))} axes for {term!r}")
        letters = ascii_uppercase[26 - extra :]
        terms[index] = term.replace("...", letters)
        ellipsis = max(ellipsis, letters, key=len)
        if len(set(terms[index])) < len(terms[index]):
            node.unsupported(f"takes a diagonal ({term!r})")
    if not arrow:
        letters = "".join(terms)
        result = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c.islower()))
    result = result.replace("...", ellipsis)
    if len(set(result)) < len(result) or set(result) - set("".join(terms)):
        node.invalid(f"has the result {result!r} in the equation {equation!r}")
    return terms, result


def _sum_out(node: Node, x: SSAValue, letters: str, kept: str) -> tuple[SSAValue, str]:
    axes = [axis for axis, letter in enumerate(letters) if letter not in kept]
    if not axes:
        return x, letters
    return node.emit(ReduceOp(x, "sum", axes, False)), "".join(c for c in letters if c in kept)


def _contract(node: Node, x: SSAValue, left: str, y: SSAValue, right: str, later: str) -> tuple[SSAValue, str]:
    """One matrix product: batch axes are in both and needed later, inner ones in both and not needed."""
    x, left = _sum_out(node, x, left, right + later)
    y, right = _sum_out(node, y, right, left + later)
    both = [c for c in left if c in right]
    batch = "".join(c for c in both if c in later)
    inner = "".join(c for c in both if c not in later)
    rows = "".join(c for c in left if c not in both)
    columns = "".join(c for c in right if c not in both)
    sizes = dict(zip(right, dims_of(y), strict=True)) | dict(zip(left, dims_of(x), strict=True))
    x = _matrix(node, x, left, [batch, rows, inner], sizes)
    y = _matrix(node, y, right, [batch, inner, columns], sizes)
    letters = batch + rows + columns
    return node.reshape(node.emit(MatmulOp(x, y)), [sizes[c] for c in letters]), letters


def _matrix(node: Node, x: SSAValue, letters: str, groups: list[str], sizes: dict[str, Dim]) -> SSAValue:
    """`x` with its axes in the order of `groups`, each group one axis."""
    x = node.transpose(x, [letters.index(c) for c in "".join(groups)])
    return node.reshape(x, [product(sizes[c] for c in group) for group in groups])
