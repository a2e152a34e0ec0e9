"""What a contraction over tokens does to its sums before they are stored: a region over sums and broadcast operands."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.ir import Contraction, type_of
from sparsec.ir.dims import Dim
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.region import Body, element
from sparsec.targets.kernels.space import Space, Strides, broadcast_strides, dot, unravel


@dataclass(frozen=True)
class Epilogue:
    """result[token, m] = body(sum, extras). `sizes` are the token loops, in which extra i has the strides `tokens[i]`.

    `columns[i]` is its stride along m, 1 or 0. Most often all tokens are one loop.
    """

    body: Body
    sizes: tuple[Dim, ...]
    elements: tuple[str, ...]
    tokens: tuple[Strides, ...]
    columns: tuple[Dim, ...]
    result: str

    def load(
        self, b: Builder, extras: list[Ref], token: Index, at: Index, count: Index | None, lanes: int
    ) -> list[Value]:
        """The elements of the extras at `token` and the columns from `at` on."""
        indices = unravel(b, token, self.sizes)
        values = []
        for ref, tokens, column in zip(extras, self.tokens, self.columns, strict=True):
            place = dot(indices, tokens)
            values.append(b.load(ref, place) if column == 0 else b.vload(ref + place, at, count, lanes=lanes))
        return values

    def apply(self, b: Builder, total: Value, extras: list[Value]) -> Value:
        """The stored vector."""
        (value,) = self.body.emit(b, [total, *extras])
        return value

    def store(
        self,
        b: Builder,
        total: Value,
        extras: list[Ref],
        y: Ref,
        row: Dim,
        token: Index,
        at: Index,
        count: Index | None,
    ) -> None:
        """Stores the epilogue of the sums at `token` and the columns from `at` on, in a result with rows of `row`."""
        loaded = self.load(b, extras, token, at, count, total.lanes or 1)
        b.vstore(self.apply(b, total, loaded), y + token * row, at, count)


def epilogue_of(op: Contraction, axis: int = -1) -> Epilogue:
    """The epilogue of a contraction with a row-major result: m is `axis`, tokens the axes before, none come after."""
    result = type_of(op.result)
    shape = result.shape
    axis %= len(shape)
    types = [type_of(extra) for extra in op.extras]
    strides = [broadcast_strides(type_.shape, shape) for type_ in types]
    merged = Space(shape[:axis], tuple(s[:axis] for s in strides)).merged()
    return Epilogue(
        Body.of(op.epilogue),
        merged.sizes,
        tuple(element(type_.element) for type_ in types),
        merged.strides,
        tuple(s[axis] for s in strides),
        element(result.element),
    )
