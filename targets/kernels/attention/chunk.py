"""The code of one chunk: `QUERIES` queries of one head of one sequence, over the tiles of keys of its walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.attention.amx import AmxCode
from sparsec.targets.kernels.attention.padding import Padding
from sparsec.targets.kernels.attention.scores import Operands
from sparsec.targets.kernels.attention.tile import Group, Scratch, TileCode, group_vectors
from sparsec.targets.kernels.attention.tokens import Tokens
from sparsec.targets.kernels.attention.walk import QUERIES, Alive, Place
from sparsec.targets.kernels.gemm import Matrix

if TYPE_CHECKING:
    from sparsec.targets.kernels.attention.kernel import Attention


@dataclass(frozen=True)
class Chunk:
    """`values` are query, key, value and result; `extras` the score's operands for this head of this sequence.

    `parts` are those of scratch: q, s, o, m, sums, copies of keys and of values, staged tiles of each extra, AMX's.
    `fresh` tells whether the chunk before, in this call, was of another head.
    """

    b: Builder
    kernel: Attention
    place: Place
    values: tuple[Ref, Ref, Ref, Ref]
    extras: list[Ref]
    parts: list[Ref]
    fresh: Value

    def run(self) -> None:
        """Writes the code."""
        k, place = self.kernel, self.place
        q, s, o, m, sums, *_ = self.parts
        token, count = place.sequence * k.shape.queries + self._first, self._count()
        k.query.copy(self.b, k.query.head(self.values[0], place.head), token, count, QUERIES, q, QUERIES)
        code = self._code(Scratch(q, s, o, m, sums))
        self._each_group(count, code.start)
        k.order.visit(self.b, place, lambda key, keys, kept: self._tile(code, count, key, keys, kept), self._alive())
        self._each_group(count, lambda group: code.finish(group, k.guard))
        k.result.store(self.b, k.result.head(self.values[3], place.head), token, count, QUERIES, o, sums)

    def _code(self, scratch: Scratch) -> TileCode:
        k, depth, value_depth = self.kernel, self.kernel.shape.depth, self.kernel.shape.value_depth
        if not (self.b.isa.tiles and k.bf16):
            return TileCode(self.b, k.score, depth, value_depth, scratch)
        qp, kt, vb, pp = (part.view("i32") for part in self.parts[8 + len(k.extras) :])
        kept = k.kept_tiles > 0
        code = AmxCode(self.b, k.score, depth, value_depth, scratch, (qp, kt, vb, pp), kept, self.fresh)
        code.prepare()
        return code

    @property
    def _first(self) -> Index:
        """The first query, in its sequence."""
        return self.place.tile * QUERIES

    def _count(self) -> Index:
        """How many queries there are."""
        queries = self.kernel.shape.queries
        if isinstance(queries, int) and queries <= QUERIES:
            return queries
        if isinstance(queries, int) and queries % QUERIES == 0:
            return QUERIES
        return self.b.min(self.b.as_index(queries) - self._first, self.b.constant(QUERIES))

    def _each_group(self, count: Index, visit: Callable[[Group], None]) -> None:
        """Groups as wide as register tiles; the chunk's few last queries may be one that is narrower."""
        b, lanes, vectors = self.b, self.b.isa.lanes, group_vectors(self.b)
        exist = None if isinstance(count, int) and count == QUERIES else count
        if isinstance(count, int) and count <= vectors * lanes:
            visit(Group(0, -(-count // lanes), exist))
        elif vectors * lanes < QUERIES or not self._may_be_narrow:
            with b.loop(0, count, vectors * lanes) as query:
                visit(Group(query, vectors, exist))
        else:
            with b.if_(b.as_index(count) > lanes) as branch:
                visit(Group(0, vectors, exist))
            with branch.else_():
                visit(Group(0, 1, exist))

    @property
    def _may_be_narrow(self) -> bool:
        """Whether the last chunk may have no more queries than a vector, where a group has more than one vector."""
        queries, lanes = self.kernel.shape.queries, self.b.isa.lanes
        return group_vectors(self.b) > 1 and (not isinstance(queries, int) or 0 < queries % QUERIES <= lanes)

    def _tile(self, code: TileCode, queries: Index, key: Index, count: Index, kept: Ref | None) -> None:
        """Key `key` of the sequence and the `count` − 1 after it."""
        k = self.kernel
        keys = self._matrix(k.key, self.values[1], self.parts[5], key, count)
        values = self._matrix(k.value, self.values[2], self.parts[6], key, count)
        operands = self._operands(queries, key, count)
        here = code.at(key)
        self._each_group(queries, lambda group: here.emit(group, keys, values, count, operands, kept))

    def _matrix(self, tokens: Tokens, ref: Ref, copy: Ref, key: Index, count: Index) -> Matrix:
        """A row for each key and a column for each feature: in place, or copied where a tile may leave its panel."""
        k, b = self.kernel, self.b
        head = self.place.head // (k.shape.heads // k.shape.kv_heads)
        source, token = tokens.head(ref, head), self.place.sequence * k.shape.keys + key
        if k.reads(tokens):
            return Matrix(source + tokens.place(token), 1, tokens.stride)  # pyright: ignore[reportArgumentType]
        tokens.copy(b, source, token, count, k.tile, copy, k.pitch)
        return Matrix(copy, 1, k.pitch)

    def _operands(self, queries: Index, key: Index, count: Index) -> Operands:
        k, refs = self.kernel, []
        for index, extra in enumerate(k.extras):
            ref = self.extras[index] + self._first * extra.strides[2] + key * extra.strides[3]
            if extra.staged:
                scratch = self.parts[7 + index]
                k.staging.fill(self.b, ref, extra.strides[2], (queries, count), scratch)
                ref = k.staging.turned(scratch)
            refs.append(ref)
        return Operands(k.extras, refs, k.staging)

    def _alive(self) -> Alive | None:
        """The test of tiles, where the score has a padding mask."""
        k, b = self.kernel, self.b
        padding = Padding.of(k.score, k.extras, k.shape.keys, k.tile)
        if padding is None:
            return None
        none: Value = padding.some_alive(b, self.extras) ^ 1
        return lambda key, count: none | padding.alive(b, self.extras, key, count)
