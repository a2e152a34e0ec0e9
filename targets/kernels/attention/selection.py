"""`sp.select_blocks`: means of blocks of tokens, their products, and the best of each row by counting better ones.

    pooled[d, j] = Σ x[d, block·j + i] / count            s[j] = Σ pooled q[d, row] · pooled k[d, j]
    rank[j] = how many of the row are better than s[j], or equal and before it: j is kept if rank[j] < keep

Counting takes blocks² / lanes compares a row, without a branch: 2 ms of 8192 tokens with 8 heads, where one tile in 20
of the attention itself takes 50 ms or more.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.ir import SelectBlocksOp, type_of
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.attention.tokens import Tokens
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call
from sparsec.weights import WeightStore

INF, LARGEST = float("inf"), 3.4028234663852886e38


def accepts(op: Operation) -> bool:
    """Whether `op` selects blocks of sequences whose lengths are known."""
    if not isinstance(op, SelectBlocksOp):
        return False
    return all(isinstance(size, int) for value in (op.query, op.key) for size in type_of(value).shape)


def takes_panels(op: Operation) -> bool:
    """Queries and keys may be in panels."""
    return True


def takes_parts(op: Operation) -> bool:
    """They may lie inside other values."""
    return True


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """One call: query, key, the list."""
    assert isinstance(op, SelectBlocksOp)
    heads, kv_heads, sequences = op.heads.value.data, op.kv_heads.value.data, int(op.sequences.data[0])  # pyright: ignore
    query, key = type_of(op.query), type_of(op.key)
    depth = key.static_shape[1] // kv_heads
    q, k = (Tokens.of(type_, depth, sequences, type_.static_shape[2] // sequences) for type_ in (query, key))
    block, keep = op.block.value.data, op.keep.value.data
    kernel = SelectBlocks(q, k, sequences, heads, kv_heads, block, keep, bool(op.causal))
    return [Call(kernel, (op.query, op.key, op.result), (2,))]


@dataclass(frozen=True)
class SelectBlocks(Kernel):
    """Arguments: query, key, i32 result [sequences, heads, query blocks, keep]. A chunk is a head of a sequence."""

    query: Tokens
    key: Tokens
    sequences: int
    heads: int
    kv_heads: int
    block: int
    keep: int
    causal: bool

    @property
    def name(self) -> str:
        return f"select_blocks_f32_b{self.block}"

    @property
    def chunks(self) -> int:
        return self.sequences * self.heads

    @property
    def scratch(self) -> int:
        depth = self.key.depth
        return 4 * (depth * (self._pitch(self.query) + self._pitch(self.key)) + 2 * self._pitch(self.key))

    def _blocks(self, tokens: Tokens) -> int:
        assert isinstance(tokens.length, int), "see accepts"
        return -(-tokens.length // self.block)

    def _pitch(self, tokens: Tokens) -> int:
        """Floats from one feature's means to the next one's: whole lines."""
        return -(-self._blocks(tokens) // LINE) * LINE

    def work(self, isa: Isa) -> dict[str, float]:
        """Means read all tokens once; products of means, and three operations to compare two scores, are on vectors."""
        rows, columns = self._blocks(self.query), self._pitch(self.key) / isa.lanes
        pooled = self.key.depth * self.block * (rows + self._blocks(self.key)) / isa.lanes
        products = rows * columns * (self.key.depth + 3 * self._blocks(self.key))
        return {"dense fma": self.chunks * products, "copy": self.chunks * pooled}

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32", "f32", "i32"]) as ((q, k, y), scratch, begin, end):
            queries = scratch.view("f32")
            keys = queries + self.key.depth * self._pitch(self.query)
            scores = keys + self.key.depth * self._pitch(self.key)
            with b.loop(begin, end) as chunk:
                sequence, head = chunk // self.heads, chunk % self.heads
                self._pool(b, self.query, self.query.head(q, head), sequence, queries)
                group = head // (self.heads // self.kv_heads)
                self._pool(b, self.key, self.key.head(k, group), sequence, keys)
                rows = self._blocks(self.query)
                with b.loop(0, rows) as row:
                    first, last = self._own(b, row)
                    self._scores(b, queries + row, keys, scores)
                    self._force(b, scores, first, last)
                    self._rank(b, scores, scores + self._pitch(self.key))
                    self._emit(b, scores, scores + self._pitch(self.key), y + (chunk * rows + row) * self.keep)

    def _pool(self, b: Builder, tokens: Tokens, head: Ref, sequence: Index, means: Ref) -> None:
        """Means of the blocks of a head, [depth][pitch]; 0 behind the last."""
        pitch, lanes, length = self._pitch(tokens), b.isa.lanes, int(tokens.length)  # pyright: ignore[reportArgumentType]
        with b.loop(0, tokens.depth * pitch, lanes) as at:
            b.vstore(b.constant(0.0, "f32", lanes), means, at)

        def block(index: Index, count: int) -> None:
            def piece(place: Index, done: Index, part: Index) -> None:
                with b.loop(0, tokens.depth) as feature:
                    total = self._sum(b, head + (place + feature * tokens.stride), part)
                    to = feature * pitch + index
                    b.store(b.load(means, to) + total * (1 / count), means, to)

            tokens.pieces(b, sequence * length + index * self.block, count, self.block, piece)

        whole, rest = divmod(length, self.block)
        if whole:
            with b.loop(0, whole) as index:
                block(index, self.block)
        if rest:
            block(whole, rest)

    def _sum(self, b: Builder, source: Ref, count: Index) -> Value:
        """The sum of `count` numbers that follow one another."""
        lanes = b.isa.lanes
        wide = [b.constant(0.0, "f32", lanes)]
        whole = count // lanes * lanes
        if not (isinstance(whole, int) and not whole):
            with b.loop(0, whole, lanes, carry=wide) as at:
                wide[0] = wide[0] + b.vload(source, at)
        total = [b.reduce("add", wide[0])]
        if not (isinstance(count, int) and count == whole):
            with b.loop(b.as_index(whole), count, carry=total) as at:
                total[0] = total[0] + b.load(source, at)
        return total[0]

    def _own(self, b: Builder, row: Index) -> tuple[Index, Index]:
        """The first and last block of keys at which the queries of a row stand; the last query is at the last key."""
        queries, keys = int(self.query.length), int(self.key.length)  # pyright: ignore[reportArgumentType]
        start, last = b.as_index(row) * self.block, self._blocks(self.key) - 1
        stop = b.min(start + (self.block - 1), b.constant(queries - 1))
        move = keys - queries
        ends = []
        for at in (start, stop):
            at = b.max(at + move, 0) if move < 0 else at + move
            ends.append(b.min(at // self.block, b.constant(last)))
        return ends[0], ends[1]

    def _scores(self, b: Builder, queries: Ref, keys: Ref, scores: Ref) -> None:
        """The products of one mean query with all mean keys."""
        lanes = b.isa.lanes
        with b.loop(0, self._pitch(self.key), lanes) as at:
            sums = [b.constant(0.0, "f32", lanes)]
            with b.loop(0, self.key.depth, carry=sums) as feature:
                query = b.broadcast(b.load(queries, feature * self._pitch(self.query)))
                sums[0] = b.fma(query, b.vload(keys, feature * self._pitch(self.key) + at), sums[0])
            b.vstore(sums[0], scores, at)

    def _force(self, b: Builder, scores: Ref, first: Index, last: Index) -> None:
        """What is always kept gets the highest scores, what never is the lowest."""
        b.store(b.constant(LARGEST, "f32"), scores, 0)
        with b.loop(first, b.as_index(last) + 1) as index:
            b.store(b.constant(INF, "f32"), scores, index)
        start = b.as_index(last) + 1 if self.causal else b.constant(self._blocks(self.key))
        with b.loop(start, self._pitch(self.key)) as index:
            b.store(b.constant(-INF, "f32"), scores, index)

    def _rank(self, b: Builder, scores: Ref, ranks: Ref) -> None:
        """How many blocks come before each one."""
        lanes = b.isa.lanes
        with b.loop(0, self._pitch(self.key), lanes) as at:
            own = b.vload(scores, at)
            places = b.iota("i32", lanes) + b.broadcast(b.convert(at, "i32"), lanes)
            counts = [b.constant(0, "i32", lanes)]
            with b.loop(0, self._blocks(self.key), carry=counts) as other:
                score = b.broadcast(b.load(scores, other))
                before = (score == own) & (b.broadcast(b.convert(other, "i32"), lanes) < places)
                counts[0] = b.select((score > own) | before, counts[0] + 1, counts[0])
            b.vstore(counts[0], ranks.view("i32"), at)

    def _emit(self, b: Builder, scores: Ref, ranks: Ref, y: Ref) -> None:
        """The blocks of the best ranks, ascending, then −1."""
        place = [b.constant(0)]
        with b.loop(0, self._blocks(self.key), carry=place) as index:
            alive = (b.load(scores, index) > -INF) & (b.load(ranks.view("i32"), index) < self.keep)
            # Scores that are NaN have no rank: they must not be written behind the end of the row.
            with b.if_(alive & (place[0] < self.keep), carry=place):
                b.store(b.convert(index, "i32"), y, place[0])
                place[0] = place[0] + 1
        with b.loop(place[0], self.keep) as at:
            b.store(b.constant(-1, "i32"), y, at)
