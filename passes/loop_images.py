"""Stretches of a batch run for a few images at a time, where that saves more traffic than it costs.

    %a = sp.conv(%x, @u)    ⇒   %a = sp.conv(%x, @u)  {loop = 0 : i64, images = 2 : i64}
    %b = sp.map(%a)             %b = sp.map(%a)       {loop = 0 : i64, images = 2 : i64}

`loop` numbers the loop, `images` of the batch go through all its ops before the next ones do. What only these ops read
lives for one round, in the scratch of the thread (see plan_memory), and rounds are what threads share out.

The ops are cut into stretches by dynamic programming, such that the predicted time for bytes that come from beyond the
cache is least: more images share what is read of weights, and fewer keep what the ops hand on nearer. Bytes cost that
time once beyond the core's cache, and as much again from beyond `_OUTER` such caches, where memory begins: 16 images of
64 to 256 channels at 56 × 56 take 586 µs each, one by one 284, four by four 341; a 3x3 layer of 512 channels at 7 × 7,
90 % zeros, takes 379 µs for one image and 335 each for four.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from sparsec.ir import Contraction, ReshapeOp, WeightOp, type_of
from sparsec.ir.ops import IMAGES, LOOP, integer
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.passes.chain_layers import nbytes, stored_weights
from sparsec.passes.plan_memory import root
from sparsec.passes.symbolic_images import most_images
from sparsec.target import Cache, Target
from sparsec.weights import WeightStore

_OUTER = 8  # caches of a core, what it has of the cache that all cores share: more lies in memory
_MEMORY = 3  # times what bytes from that cache cost
_CALL = 2e-7  # seconds of one more call of a kernel
_BREAK = 2e-5  # seconds that a break between stretches must gain for each image: no cut gains what is predicted below
_ROUNDS = 4  # for each thread, where these are no multiple of the threads


@dataclass(frozen=True)
class LoopImages(Pass):
    """`threads`: how many share the rounds."""

    threads: int = 1

    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "how kernels go through images is the target's"
        if model.ranges and self.threads > 1:
            return  # a run of few images would have rounds for few threads
        skipped = WeightOp | ReshapeOp | ReturnOp
        ops = [op for op in model.main.body.block.ops if not isinstance(op, skipped)]
        with most_images(model, target) as able:
            layers = [_Layer.of(op, target, model.weights, op in able) for op in ops]
            stretches = _cut(layers, target.cache, self.threads)
        number = 0
        for stretch in stretches:
            if stretch.size:
                for layer in layers[stretch.start : stretch.stop]:
                    layer.op.attributes[LOOP], layer.op.attributes[IMAGES] = integer(number), integer(stretch.size)
                number += 1


@dataclass(frozen=True)
class _Layer:
    """An op with what the choice is made from. `images` is 0 for ops that do not go through images one by one."""

    op: Operation
    images: int
    sources: frozenset[SSAValue]
    weight_bytes: int

    @classmethod
    def of(cls, op: Operation, target: Target, weights: WeightStore, able: bool = True) -> _Layer:
        sources = frozenset(root(value) for value in op.operands if not isinstance(root(value).owner, WeightOp))
        images = _images(op) if able else 0
        fits = images > 1 and target.splits_by(op, weights, images)
        return cls(op, images if fits else 0, sources, stored_weights(op, weights)[1])

    @property
    def values(self) -> frozenset[SSAValue]:
        return self.sources | set(self.op.results)


def _images(op: Operation) -> int:
    """How many images the results of an op have, 0 where they or its operands are not arranged by images."""
    leading = {type_of(result).static_shape[:1] for result in op.results}
    if len(leading) != 1 or () in leading:
        return 0
    (images,), rank = leading.pop(), max(type_of(result).rank for result in op.results)
    values = [value for value in op.operands if not isinstance(value.owner, WeightOp)]
    broadcast = [type_of(value).static_shape[:1] for value in values if type_of(value).rank < rank]
    computed = isinstance(op, Contraction) and op.rhs in values
    return 0 if (images,) in broadcast or computed else images


@dataclass(frozen=True)
class _Stretch:
    """Layers [start, stop): one, or a loop over rounds of `size` images; `seconds` are for bytes from beyond."""

    start: int
    stop: int
    size: int
    seconds: float


def _cut(layers: Sequence[_Layer], cache: Cache, threads: int) -> list[_Stretch]:
    """The cheapest cut into stretches."""
    costs = _Costs(layers, cache)
    best: list[tuple[float, _Stretch | None]] = [(0.0, None), *((float("inf"), None) for _ in layers)]
    for start in range(len(layers)):
        for stretch in (_alone(start, costs), *_loops(start, costs, threads)):
            seconds = best[start][0] + stretch.seconds + _BREAK * max(1, layers[start].images)
            if seconds < best[stretch.stop][0]:
                best[stretch.stop] = seconds, stretch
    stretches, place = [], len(layers)
    while (stretch := best[place][1]) is not None:
        stretches.append(stretch)
        place = stretch.start
    return stretches[::-1]


class _Costs:
    """What bytes from beyond the cache cost, by layer and number of images."""

    def __init__(self, layers: Sequence[_Layer], cache: Cache) -> None:
        self.layers, self._cache = layers, cache
        self.last = {value: index for index, layer in enumerate(layers) for value in layer.sources}
        self.weights = [0, *accumulate(layer.weight_bytes for layer in layers)]
        self._rounds: dict[int, list[float]] = {}

    def rounds(self, size: int) -> list[float]:
        """Seconds of one round of `size` images through all layers before each."""
        if size not in self._rounds:
            self._rounds[size] = [0.0, *accumulate(self.layer(layer, size) for layer in self.layers)]
        return self._rounds[size]

    def layer(self, layer: _Layer, size: int) -> float:
        """Seconds for what a layer reads and writes for `size` images, and for its weights from the second image on."""
        share = size / layer.images if layer.images else 1.0
        total, weights = share * sum(nbytes(value) for value in layer.values), layer.weight_bytes
        again = self._near(weights, weights + total / max(size, 1)) * max(size - 1, 0)
        return _CALL + again + self._near(total, total + weights) + self._memory(total, total + weights)

    def weight(self, start: int, stop: int) -> float:
        """Seconds to read the weights of layers [start, stop)."""
        total = self.weights[stop] - self.weights[start]
        return self._near(total, total)

    def outside(self, value: SSAValue) -> float:
        """Seconds for a value that lives as a whole, for all images, as far as memory holds it."""
        return self._memory(nbytes(value), 2 * nbytes(value))

    def _near(self, moved: float, held: float) -> float:
        return self._beyond(moved, held, self._cache.nbytes)

    def _memory(self, moved: float, held: float) -> float:
        return self._beyond(_MEMORY * moved, held, _OUTER * self._cache.nbytes)

    def _beyond(self, moved: float, held: float, room: int) -> float:
        return moved * self._cache.far_byte * min(1.0, max(0.0, held / room - 0.5)) if room else 0.0


def _alone(start: int, costs: _Costs) -> _Stretch:
    """A layer for all images."""
    layer = costs.layers[start]
    return _Stretch(start, start + 1, 0, costs.layer(layer, layer.images) + costs.weight(start, start + 1))


def _loops(start: int, costs: _Costs, threads: int) -> Iterator[_Stretch]:
    """The loops from a layer on that may be worth it."""
    layers, images = costs.layers, costs.layers[start].images
    sizes = [size for size in _sizes(images) if _shares_out(-(-images // size), threads)]
    inside: set[SSAValue] = set()
    seen: set[SSAValue] = set()
    outside = 0.0
    for index in range(start, len(layers)):
        layer = layers[index]
        if not sizes or layer.images != images:
            return
        inside |= set(layer.op.results)
        outside += sum(map(costs.outside, layer.values - seen))
        seen |= layer.values
        outside -= sum(costs.outside(value) for value in layer.sources & inside if costs.last[value] == index)
        if index == start:
            continue
        for size in sizes:
            rounds, before = -(-images // size), costs.rounds(size)
            each = before[index + 1] - before[start] + costs.weight(start, index + 1)
            yield _Stretch(start, index + 1, size, rounds * each + outside)


def _sizes(images: int) -> Iterator[int]:
    """Images of a round, fewer than all."""
    size = 1
    while size < images:
        yield size
        size *= 2


def _shares_out(rounds: int, threads: int) -> bool:
    """Whether threads have about as much to do each."""
    return rounds % threads == 0 or rounds >= _ROUNDS * threads
