"""Layers that hand rows on in the cache become chains, where that saves more traffic than it costs.

    %a = sp.conv(%x, @dw)    ⇒   %a = sp.conv(%x, @dw)  {chain = 0 : i64, window = 0 : i64}
    %b = sp.conv(%a, @pw)        %b = sp.conv(%a, @pw)  {chain = 0 : i64}

`chain` numbers the chain (see sparsec/chains.py), `window` the member of it, where its result is read by members alone
and so needs no place in the arena.

The ops are cut into runs of neighbours, by dynamic programming, such that the predicted time beyond computing is least:
what crosses the border of a run costs time as far as, with the run's weights, the cache does not hold it; members of
chains are called many times, and threads that begin in the middle of an image compute some rows twice. A chain's
windows and weights, which are read again and again, may take `_SHARE` of the cache.

On one core with 2 MB of L2, chains take 0.90 of the time of MobileNetV1 with 90 % zeros, 0.82 of MobileNetV2's, 0.975
of ResNet-50's, and all of that of dense ResNet-50. Most layers of ResNet-50 that write over their residual (see
plan_memory) are no members: chains of 8 at 56 × 56 and of 4 at 28 × 28 took 7 to 10 % longer, for what is moved in
windows. With `_SHARE` 0.75 or 1, and bytes that count from the size of the cache on instead of from half of it, it
was 1 to 2 % slower. Slower: windows half as large again, so that less is moved in them (0.92 instead of 0.91, the first
nine layers of MobileNetV1 as one chain), and bands of rows in which each member computes all that the last one needs
(0.99: windows are three times as large).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from sparsec.chains import LONGEST, Chain, Member, Read, Walk
from sparsec.ir import FormatAttr, ReshapeOp, WeightOp, type_of
from sparsec.ir.ops import CHAIN, IMAGES, LOOP, WINDOW, integer
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.passes.symbolic_images import most_images
from sparsec.target import Cache, Target
from sparsec.weights import WeightStore

_SHARE = 0.5
_CALL = 2e-7  # seconds of a call of a member: entering the kernel and preparing its scratch
_MOVE = 3e-11  # seconds of a byte that is moved to the front of a window
_MULTIPLICATION = 1.5e-11  # seconds, for the rows that are computed twice
_CHUNKS = 4  # units of the last member for each thread, at least
_PIECES = 2  # for each thread, most of which begin in the middle of an image


@dataclass(frozen=True)
class ChainLayers(Pass):
    """`threads`: how many share the work, each with windows of its own: with many, long chains do not pay."""

    threads: int = 1

    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "how kernels go through images is the target's"
        ops = [op for op in model.main.body.block.ops if not isinstance(op, WeightOp | ReturnOp)]
        with most_images(model, target) as able:
            layers = [_Layer.of(op, target, model.weights) if op in able else _Layer(op, None, 0, 0) for op in ops]
            runs = [run for run in _cut(layers, target.cache, self.threads) if run.chain]
        for number, run in enumerate(runs):
            run.annotate(number)


@dataclass(frozen=True)
class _Layer:
    """An op with what the choice is made from. `walk` is None for ops that cannot be members."""

    op: Operation
    walk: Walk | None
    weights: int  # stored elements
    weight_bytes: int
    share: float = 1.0  # of the images, that a round of the op's loop takes
    in_place: bool = False  # whether it can write over an operand (see plan_memory), if it is no member

    @classmethod
    def of(cls, op: Operation, target: Target, weights: WeightStore) -> _Layer:
        walk = None if isinstance(op, ReshapeOp) or len(op.results) != 1 else target.walk(op, weights)
        if walk is None:
            return cls(op, None, 0, 0)
        share = op.attributes[IMAGES].value.data / walk.images if IMAGES in op.attributes else 1.0  # type: ignore[attr-defined]
        over = any(_dies(value, op) for value in target.overwrites(op, weights))
        return cls(op, walk, *stored_weights(op, weights), share, over)

    @property
    def result(self) -> SSAValue:
        return self.op.results[0]

    @property
    def images(self) -> list[SSAValue]:
        """The operands that are no weights."""
        return [value for value in self.op.operands if not isinstance(value.owner, WeightOp)]

    @property
    def loop(self) -> Attribute | None:
        """The number of the loop (see loop_images) that the op belongs to."""
        return self.op.attributes.get(LOOP)

    @property
    def seconds(self) -> float:
        """About how long the op computes, from the multiplications by its weights."""
        height, width = type_of(self.result).static_shape[2:]
        return self.weights * height * width * _MULTIPLICATION


@dataclass(frozen=True)
class _Run:
    """Neighbouring layers: one, or the members of a chain; `seconds` they take beyond computing."""

    layers: tuple[_Layer, ...]
    seconds: float
    chain: Chain | None = None

    def annotate(self, number: int) -> None:
        assert self.chain is not None
        for index, (layer, member) in enumerate(zip(self.layers, self.chain.members, strict=True)):
            layer.op.attributes[CHAIN] = integer(number)
            if not member.stored:
                layer.op.attributes[WINDOW] = integer(index)


def _cut(layers: Sequence[_Layer], cache: Cache, threads: int) -> list[_Run]:
    """The cheapest cut into runs."""
    best: list[tuple[float, list[_Run]]] = [(0.0, [])]
    ending: dict[int, list[_Run]] = {}
    for start, layer in enumerate(layers):
        ending.setdefault(start + 1, []).append(_single(layer, cache))
        same = takewhile(lambda other, loop=layer.loop: other.loop == loop, layers[start : start + LONGEST])
        for run in _chains(list(same), cache, threads if layer.loop is None else 1):
            ending.setdefault(start + len(run.layers), []).append(run)
        options = [(best[start + 1 - len(run.layers)], run) for run in ending.pop(start + 1)]
        (seconds, runs), run = min(options, key=lambda option: option[0][0] + option[1].seconds)
        best.append((seconds + run.seconds, [*runs, run]))
    return best[-1][1]


def _single(layer: _Layer, cache: Cache) -> _Run:
    if layer.walk is None:
        return _Run((layer,), 0.0)
    values = {*layer.images, *([] if layer.in_place else [layer.result])}
    return _Run((layer,), _far(values, layer.weight_bytes, cache, layer.share))


def _dies(value: SSAValue, op: Operation) -> bool:
    """Whether `op`, whose result is of the same type, is the last to read an intermediate value."""
    readers = [use.operation for use in value.uses]
    last = all(other is op or other.is_before_in_block(op) for other in readers)
    views = any(isinstance(other, ReshapeOp) for other in (value.owner, *readers))
    return value.type == op.results[0].type and isinstance(value.owner, Operation) and last and not views


def _far(values: Iterable[SSAValue], others: int, cache: Cache, share: float) -> float:
    """Seconds for `values` to come and go, as far as the cache does not hold a `share` of them and `others` bytes."""
    total = sum(nbytes(value) for value in values)
    return total * cache.far_byte * min(1.0, max(0.0, (total * share + others) / cache.nbytes - 0.5))


def _chains(layers: Sequence[_Layer], cache: Cache, threads: int) -> Iterator[_Run]:
    """The chains from the first layer on that may be worth it."""
    for count in range(2, len(layers) + 1):
        walk = layers[count - 1].walk
        if walk is None or layers[0].walk is None:
            return
        if walk.images * walk.units < (_CHUNKS * threads if threads > 1 else 2):
            return
        if run := _chain(layers[:count], cache, threads):
            yield run


def _chain(layers: Sequence[_Layer], cache: Cache, threads: int) -> _Run | None:
    """`layers` as a chain, if they can be one whose windows and weights fit in the cache."""
    weights = sum(layer.weight_bytes for layer in layers)
    if weights > _SHARE * cache.nbytes:  # before the windows, which take a walk from each row on
        return None
    members = _members([layer.op for layer in layers], [layer.walk for layer in layers])
    if members is None:
        return None
    chain = Chain(members)
    if not chain.is_exact:
        return None
    windows = chain.places[-1]
    inner = {layer.result for layer, member in zip(layers, members, strict=True) if not member.stored}
    if weights + windows > _SHARE * cache.nbytes or windows * threads > sum(nbytes(value) for value in inner):
        return None
    outer = {value for layer in layers for value in (*layer.images, layer.result)} - inner
    seconds = _far(outer, weights + windows, cache, layers[0].share) + _walked(chain) + _twice(layers, chain, threads)
    return _Run(tuple(layers), seconds, chain)


def _walked(chain: Chain) -> float:
    """Seconds for calls of members, and for what is moved in windows."""
    tasks = list(chain.tasks(0, chain.units))
    moved = sum((x.stop - x.start) * chain.members[x.member].panel_bytes for x in tasks if x.kind == "move")
    return chain.members[-1].walk.images * (len(tasks) * _CALL + moved * _MOVE)


def _twice(layers: Sequence[_Layer], chain: Chain, threads: int) -> float:
    """Seconds for what threads compute that others compute too."""
    cuts = min(chain.chunks, _PIECES * threads) - 1 if threads > 1 else 0
    triples = zip(layers, chain.members, chain.overlap, strict=True) if cuts else ()
    return cuts * sum(layer.seconds * units / member.walk.units for layer, member, units in triples)


def chain_of_ops(ops: Sequence[Operation], walks: Sequence[Walk | None]) -> Chain | None:
    """The chain that ops with a `chain` attribute are members of, in their order."""
    members = _members(ops, walks)
    return Chain(members) if members else None


def _members(ops: Sequence[Operation], walks: Sequence[Walk | None]) -> tuple[Member, ...] | None:
    """The members of a chain; None where one of the ops cannot be one, or goes through another number of images."""
    places: dict[SSAValue, int] = {op.results[0]: index for index, op in enumerate(ops)}
    members = []
    for op, walk in zip(ops, walks, strict=True):
        member = _member(op, walk, places) if walk and walks[0] and walk.images == walks[0].images else None
        if member is None:
            return None
        members.append(member)
    return tuple(members)


def _member(op: Operation, walk: Walk, places: dict[SSAValue, int]) -> Member | None:
    """The member that computes `op`, if the others', whose results have `places`, hand on rows to it and it to them."""
    (result,) = op.results
    reads, is_last = _reads(op, walk, places), places[result] == len(places) - 1
    read_inside = [any(value in places for value in use.operation.results) for use in result.uses]
    if reads is None or not (is_last or any(read_inside)):
        return None
    panel, stored = type_of(result).panel, is_last or not all(read_inside)
    if panel is not None and (walk.rows % panel.rows == 0 or walk.rows >= walk.height):
        panels = walk.images * -(-walk.height // panel.rows)
        return Member(walk, reads, panel.rows, nbytes(result) // panels, stored)
    # Its units end inside panels: windows, which hold whole ones, cannot take them.
    return Member(walk, reads, walk.height, 0, stored) if stored else None


def _reads(op: Operation, walk: Walk, places: dict[SSAValue, int]) -> tuple[Read, ...] | None:
    """What an op reads of the results of others: the source in windows, others of its own size row by row."""
    reads = []
    for index, value in enumerate(op.operands):
        if value not in places:
            continue
        if index == 0:
            reads.append(Read(places[value], walk.stride, walk.pad, walk.reach))
        elif type_of(value).shape == type_of(op.results[0]).shape:
            reads.append(Read(places[value]))
        else:
            return None
    return tuple(reads)


def stored_weights(op: Operation, weights: WeightStore) -> tuple[int, int]:
    """Elements that are stored of the weights of an op, and their bytes."""
    stored = size = 0
    for value in op.operands:
        if isinstance(value.owner, WeightOp):
            array, sparse = weights.of(value.owner), isinstance(type_of(value).encoding, FormatAttr)
            elements = int(np.count_nonzero(array)) if sparse else array.size
            stored, size = stored + elements, size + elements * (8 if sparse else 4)
    return stored, size


def nbytes(value: SSAValue) -> int:
    """Bytes of a value whose sizes are fixed."""
    size = type_of(value).nbytes
    assert isinstance(size, int), "chains are made once sizes are fixed"
    return size
