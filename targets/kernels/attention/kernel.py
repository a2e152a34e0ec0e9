"""Attention without the scores of all queries and keys: see `tile` for what is computed, `walk` for the order."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from sparsec.ir.dims import Dim, ceildiv
from sparsec.ir.ops import AttentionShape
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.amx import within
from sparsec.targets.kernels.attention import amx
from sparsec.targets.kernels.attention.chunk import Chunk
from sparsec.targets.kernels.attention.scores import Extra, Staging
from sparsec.targets.kernels.attention.tokens import Tokens
from sparsec.targets.kernels.attention.walk import QUERIES, Dense, Place, Walk
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.region import Body

KEPT = 1024  # keys of a head that fit in half an L2 once they are packed as bf16
KEYS = 64  # of a tile: with 32 queries in lanes, queries, scores and sums of a head of 64 take half an L1


@dataclass(frozen=True)
class Attention(Kernel):
    """A chunk is `QUERIES` queries of a head. Arguments: query, key, value, operands of score and order, result."""

    shape: AttentionShape
    query: Tokens
    key: Tokens
    value: Tokens
    result: Tokens
    score: Body
    extras: tuple[Extra, ...]
    guard: bool
    order: Walk
    tile: int = KEYS
    bf16: bool = False  # ISAs with AMX compute products on it; heads must be `amx.fits`

    @property
    def name(self) -> str:
        return f"attention_{'bf16' if self.bf16 else 'f32'}_q{QUERIES}k{self.tile}{self.order.name}"

    @property
    def chunks(self) -> Dim:
        return self.shape.sequences * self.shape.heads * self._tiles

    @property
    def scratch(self) -> int:
        return 4 * sum(self._sizes)

    @property
    def _tiles(self) -> Dim:
        return ceildiv(self.shape.queries, QUERIES)

    @property
    def pitch(self) -> int:
        """Floats from one feature of copied keys to the next: no power of two, which would fill few sets of the L1."""
        return self.tile + LINE

    @property
    def staging(self) -> Staging:
        """Of operands of the score that differ by query and key."""
        return Staging(QUERIES, self.tile)

    def reads(self, tokens: Tokens) -> bool:
        """Whether the tiles of keys or values are read where they are, else copied: those that straddle panels."""
        return tokens.inside(self.tile) or (isinstance(self.order, Dense) and self.order.cut)

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Floats of the parts of scratch: q, s, o, m, sums, copies of keys and values, staged operands, AMX's."""
        shape, tiles = self.shape, (self.key, self.value)
        copies = [0 if self.reads(tokens) else tokens.depth * self.pitch for tokens in tiles]
        staged = [self.staging.size if extra.staged else 0 for extra in self.extras]
        main = (shape.depth * QUERIES, self.tile * QUERIES, shape.value_depth * QUERIES, QUERIES, QUERIES)
        packed = amx.scratch_sizes(shape.depth, shape.value_depth, self.kept_tiles) if self.bf16 else ()
        return tuple(-(-size // LINE) * LINE for size in (*main, *copies, *staged, *packed))

    @property
    def kept_tiles(self) -> int:
        """How many tiles of keys and values stay packed for the next chunks, which are of the same head; 0: none."""
        keys = self.shape.keys
        if not (isinstance(self.order, Dense) and isinstance(keys, int) and keys <= KEPT):
            return 0
        return -(-keys // self.tile) + self.order.cut

    def work(self, isa: Isa) -> dict[str, float]:
        """What is computed for the tiles of the walk, and what is moved for each chunk, in vectors.

        A tile whose keys count in part costs a third of its powers more (loads of booleans, two selects). Predictions
        for 8192 tokens are 0.8 of the time.
        """
        shape = self.shape
        if not all(isinstance(size, int) for size in (*shape.scores, self.chunks)):
            return {}
        vectors = int(self.chunks) * -(-int(shape.keys) // self.tile) * self.tile * QUERIES / isa.lanes  # pyright: ignore
        moved = int(self.chunks) * (shape.depth + shape.value_depth) * QUERIES / isa.lanes  # pyright: ignore
        read = sum(extra.by_query and extra.by_key for extra in self.extras)
        turned = sum(extra.staged for extra in self.extras)
        return {
            "dense fma": vectors * self.order.share * (shape.depth + shape.value_depth),
            "elementary function": vectors * (self.order.share + self.order.partial / 3),
            "epilogue function": vectors * self.order.share * self.score.long_ops,
            "copy": moved + vectors * self.order.share * read,
            "turned vector": vectors * self.order.share * turned,
        }

    def emit(self, b: Builder) -> None:
        elements = ["f32"] * 3 + [extra.element for extra in self.extras] + [*self.order.elements, "f32"]
        with (
            b.function(self.symbol, elements) as (refs, scratch, begin, end),
            self._tiles_of(b, scratch),
            b.loop(begin, end) as chunk,
        ):
            query, key, value, *others = refs[:-1]
            extras, own = others[: len(self.extras)], others[len(self.extras) :]
            part = chunk // self._tiles
            sequence, head = part // self.shape.heads, part % self.shape.heads
            place = Place(sequence, head, chunk % self._tiles, own, self._before(sequence))
            here = [extra.at(ref, sequence, head) for extra, ref in zip(self.extras, extras, strict=True)]
            fresh = (b.as_index(chunk) == begin) | (place.tile == 0)
            Chunk(b, self, place, (query, key, value, refs[-1]), here, self._parts(scratch.view("f32")), fresh).run()

    def _tiles_of(self, b: Builder, scratch: Ref) -> AbstractContextManager[None]:
        if not self.bf16:
            return nullcontext()
        return within(b, self._parts(scratch.view("f32"))[7 + len(self.extras)])

    def _before(self, sequence: Index) -> Index:
        return 0 if self.in_place else sequence * self.shape.keys % self.key.rows

    @property
    def in_place(self) -> bool:
        """Whether no tile of keys reaches into another panel, as they are counted in each sequence."""
        return self.key.inside(self.tile) and self.value.inside(self.tile)

    def _parts(self, scratch: Ref) -> list[Ref]:
        sizes = self._sizes
        return [scratch + sum(sizes[:i]) for i in range(len(sizes))]
