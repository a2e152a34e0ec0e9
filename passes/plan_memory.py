"""Every intermediate value gets its place in one arena, whose size is known before the first run.

    %a = sp.conv(%x, @w)      ⇒   %a = sp.conv(%x, @w)  {arena = array<i64: 0>}
    %b = sp.map(%a)               %b = sp.map(%a)       {arena = array<i64: 0>}          (in place: %a dies here)
    %c = sp.conv(%b, @v)          %c = sp.conv(%b, @v)  {arena = array<i64: 802816>}

A value lives from the op that makes it to its last reader; the members of a chain (see chain_layers) run at the same
time, and what only they read lies in windows, outside the arena. The ops of a loop (see loop_images) take turns, too:
what only they read lies in the scratch of the thread, for the images of one round, planned as the arena is (`local`).
A reshape is its input under another name. What the function returns is written to the caller's buffer directly. A map
may write over an input of its own type that dies there. Values that lie inside others (see place_parts) share their
buffer, which lives as long as any of them.

Placement is greedy best fit (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020):
values in some order, each in the smallest gap that fits between those that live at the same time, and there at the
lower end; the best of several orders is kept. Where none reaches the lower bound, values are put at either end, by
chance: two large values that one after the other begin at 0 may leave no room for those that live with both.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from xdsl.dialects.func import ReturnOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import MapOp, ReshapeOp, WeightOp, identity_region, type_of
from sparsec.ir.ops import CHAIN, IMAGES, LOOP, WINDOW, integer, ints
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.passes.place_parts import home
from sparsec.target import Buffer, Target

ALIGNMENT = 64
ARENA, ARENA_BYTES, LOCAL = "arena", "arena_bytes", "local"
_SHUFFLES = 64


@dataclass
class Live:
    """A buffer: bytes, and the first and last op (by index) during which it holds something.

    It lies in the arena, or with what else is local to a `loop`.
    """

    nbytes: int
    first: int
    last: int
    loop: int | None = None

    def meets(self, other: Live) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Where each value lives. `lower_bound_bytes` is the most that lives at one time: no arena can be smaller.

    `local_bytes` is what the values that are local to each loop take.
    """

    buffers: dict[SSAValue, Buffer]
    arena_bytes: int
    lower_bound_bytes: int
    local_bytes: Mapping[int, int] = field(default_factory=dict)

    def buffer(self, value: SSAValue) -> Buffer:
        """The place of an input, an output or an intermediate value. Weights have none here."""
        return self.buffers[value]


@dataclass(frozen=True)
class PlanMemory(Pass):
    """`in_place`: maps may write over an input that dies there."""

    in_place: bool = True

    def apply(self, model: Model, target: Target | None) -> MemoryPlan:
        _own_outputs(model)
        return _Planner(model, self.in_place).plan()


def root(value: SSAValue) -> SSAValue:
    """The value whose memory `value` shares: reshapes are looked through."""
    while isinstance(value.owner, ReshapeOp):
        value = value.owner.input
    return value


def holder(value: SSAValue) -> tuple[SSAValue, int]:
    """The value in whose memory `value` lies, and how many bytes behind its begin."""
    value, offset = root(value), 0
    while (found := home(value)) is not None:
        value, offset = root(found[0]), offset + found[1]
    return value, offset


def chain_of(op: Operation) -> int | None:
    """The number of the chain that an op is a member of."""
    return _number(op, CHAIN)


def loop_of(op: Operation) -> int | None:
    """The number of the loop that an op belongs to."""
    return _number(op, LOOP)


def images_of(op: Operation) -> int:
    """How many images of the batch go through an op of a loop before others do."""
    return _number(op, IMAGES) or 1


def _number(op: Operation, name: str) -> int | None:
    return op.attributes[name].value.data if name in op.attributes else None  # type: ignore[attr-defined]


def _own_outputs(model: Model) -> None:
    """Give every output a value of its own: one that is an input, a weight or another output is copied by a map."""
    block = model.main.body.block
    last = block.last_op
    assert isinstance(last, ReturnOp), "a function ends in func.return"
    seen: set[SSAValue] = set()
    for index, value in enumerate(last.arguments):
        source = root(value)
        if isinstance(source, BlockArgument) or isinstance(source.owner, WeightOp) or source in seen:
            copy = MapOp([value], identity_region([type_of(value).element]))
            Rewriter.insert_op(copy, InsertPoint.before(last))
            last.operands[index] = source = copy.result
        seen.add(source)


class _Planner:
    def __init__(self, model: Model, in_place: bool):
        self._main = model.main
        self._ops = [op for op in self._main.body.block.ops if not isinstance(op, WeightOp | ReshapeOp)]
        self._buffers: dict[SSAValue, Buffer] = {}
        self._lives: dict[SSAValue, Live] = {}
        self._parts: dict[SSAValue, tuple[SSAValue, int]] = {}
        self._users = self._find_users()
        self._place_ports()
        self._find_lives()
        if in_place:
            self._share_dying_inputs()

    def plan(self) -> MemoryPlan:
        groups: dict[int | None, dict[int, Live]] = defaultdict(dict, {None: {}})
        for live in self._lives.values():
            groups[live.loop][id(live)] = live
        places, sizes, bounds = {}, {}, {}
        for loop, lives in groups.items():
            bounds[loop] = lower_bound(list(lives.values()), len(self._ops))
            offsets, sizes[loop] = place(list(lives.values()), bounds[loop])
            places |= dict(zip(lives, offsets, strict=True))
        for value, live in self._lives.items():
            self._buffers[value] = self._buffer(value, value, places[id(live)])
        for value, (whole, offset) in self._parts.items():
            self._buffers[value] = self._buffer(value, whole, self._buffers[whole].offset + offset)
        for op in self._main.body.block.ops:
            if isinstance(op, ReshapeOp) and root(op.input) in self._buffers:
                self._buffers[op.result] = self._buffers[root(op.input)]
        arena, bound = sizes.pop(None), bounds[None]
        self._annotate(arena)
        return MemoryPlan(self._buffers, arena, bound, sizes)

    def _buffer(self, value: SSAValue, whole: SSAValue, offset: int) -> Buffer:
        """The place of a value that lies in `whole`."""
        loop = self._lives[whole].loop
        if loop is None:
            return Buffer("arena", 0, offset, _nbytes(value))
        return Buffer("local", loop, offset, _nbytes(value), _image_bytes(whole))

    def _place_ports(self) -> None:
        for index, value in enumerate(self._main.body.block.args):
            self._buffers[value] = Buffer("input", index, 0, _nbytes(value))
        for index, value in enumerate(self._ops[-1].operands):
            self._buffers[root(value)] = Buffer("output", index, 0, _nbytes(value))

    def _find_users(self) -> dict[SSAValue, list[Operation]]:
        """The ops that read or write a value or what lies inside it."""
        users: dict[SSAValue, list[Operation]] = defaultdict(list)
        for op in self._ops:
            for value in (*op.operands, *op.results):
                users[holder(value)[0]].append(op)
        return users

    def _find_lives(self) -> None:
        for index, op in enumerate(self._ops):
            for value in op.operands:
                if (live := self._lives.get(holder(value)[0])) is not None:
                    live.last = self._span(index, live.loop)[1]
            for value in op.results:
                if WINDOW in op.attributes:
                    self._buffers[value] = Buffer("window", op.attributes[WINDOW].value.data, 0, _nbytes(value))  # type: ignore[attr-defined]
                elif value not in self._buffers:
                    whole, offset = holder(value)
                    if whole is not value:
                        self._parts[value] = whole, offset
                    live = self._lives.setdefault(whole, self._live(whole, index))
                    live.last = self._span(index, live.loop)[1]

    def _live(self, value: SSAValue, index: int) -> Live:
        """The life of what an op begins to write, up to now."""
        loop = self._loop(value)
        nbytes = _nbytes(value) if loop is None else _image_bytes(value) * images_of(self._ops[index])
        return Live(_aligned(nbytes), *self._span(index, loop), loop)

    def _loop(self, value: SSAValue) -> int | None:
        """The loop that a value is local to: no other ops touch it, and kernels may have its images begin anywhere."""
        loops = {loop_of(op) for op in self._users[value]}
        return loops.pop() if len(loops) == 1 and _image_bytes(value) % ALIGNMENT == 0 else None

    def _span(self, index: int, local: int | None) -> tuple[int, int]:
        """The first and last op that run at the same time as an op: itself, or those of its chain, or of its loop.

        A `local` value is only there for a round of its loop.
        """
        op = self._ops[index]
        of = loop_of if local is None and loop_of(op) is not None else chain_of
        if (number := of(op)) is None:
            return index, index
        members = [i for i, other in enumerate(self._ops) if of(other) == number]
        return members[0], members[-1]

    def _share_dying_inputs(self) -> None:
        """Let maps write over an input, so that one buffer lives on from the input to the result."""
        for index, op in enumerate(self._ops):
            if not isinstance(op, MapOp) or op.result not in self._lives:
                continue
            sources = [root(value) for value in op.inputs]
            for value, source in zip(op.inputs, sources, strict=True):
                live = self._lives.get(source)
                result = self._lives[op.result]
                if live is None or live.loop != result.loop or value.type != op.result.type:
                    continue
                if live.last == index and sources.count(source) == 1:
                    live.last = result.last
                    self._lives[op.result] = live
                    break

    def _annotate(self, size: int) -> None:
        self._main.attributes[ARENA_BYTES] = integer(size)
        for op in self._ops:
            placed = self._lives.keys() | self._parts.keys()
            for space in (ARENA, LOCAL):
                places = [self._buffers[value] if value in placed else None for value in op.results]
                offsets = [place.offset if place and place.space == space else -1 for place in places]
                if any(offset >= 0 for offset in offsets):
                    op.attributes[space] = ints(offsets)


def lower_bound(lives: Sequence[Live], steps: int) -> int:
    """The most bytes that live at one step."""
    changes = [0] * (steps + 1)
    for live in lives:
        changes[live.first] += live.nbytes
        changes[live.last + 1] -= live.nbytes
    return max(accumulate(changes), default=0)


def place(lives: Sequence[Live], bound: int) -> tuple[list[int], int]:
    """Offsets for `lives` such that none that meet overlap, and the size of the arena. Stops at `bound`."""
    meeting = [[j for j, other in enumerate(lives) if j != i and live.meets(other)] for i, live in enumerate(lives)]
    best: list[int] = []
    size = -1
    for order, ends in _orders(lives, bound):
        offsets = _place_in_order(lives, order, meeting, ends)
        end = max((offset + live.nbytes for offset, live in zip(offsets, lives, strict=True)), default=0)
        if size < 0 or end < size:
            best, size = offsets, end
        if size <= bound:
            break
    return best, size


def _orders(lives: Sequence[Live], bound: int) -> Iterator[tuple[list[int], list[int]]]:
    """Orders to try: large values first, long-lived large ones first, in order of time, then shuffles of the first.

    With each, for every value: 0 where it goes to the lower end of its gap, or else where the last gap ends.
    """
    indices, low = range(len(lives)), [0] * len(lives)
    yield sorted(indices, key=lambda i: (-lives[i].nbytes, lives[i].first)), low
    yield sorted(indices, key=lambda i: -lives[i].nbytes * (lives[i].last - lives[i].first + 1)), low
    yield sorted(indices, key=lambda i: (lives[i].first, -lives[i].nbytes)), low
    generator = random.Random(0)
    for shuffle in range(2 * _SHUFFLES):
        weights = [live.nbytes * generator.uniform(0.5, 1.5) for live in lives]
        ends = low if shuffle < _SHUFFLES else [bound * generator.randrange(2) for _ in lives]
        yield sorted(indices, key=lambda i, weights=weights: -weights[i]), ends


def _place_in_order(
    lives: Sequence[Live], order: Sequence[int], meeting: Sequence[Sequence[int]], ends: Sequence[int]
) -> list[int]:
    offsets = [-1] * len(lives)
    for index in order:
        taken = sorted((offsets[j], offsets[j] + lives[j].nbytes) for j in meeting[index] if offsets[j] >= 0)
        offsets[index] = _best_gap(lives[index].nbytes, taken, ends[index])
    return offsets


def _best_gap(nbytes: int, taken: Sequence[tuple[int, int]], upper: int) -> int:
    """A place in the smallest gap of `nbytes` or more between the `taken` ranges (sorted), or behind them.

    It is the lower end of the gap, or with `upper`, where the last gap ends, the upper one.
    """
    best, waste, end = -1, 0, 0
    for low, high in (*taken, (upper, upper)) if upper else taken:
        gap = low - end
        if gap >= nbytes and (best < 0 or gap - nbytes < waste):
            best, waste = low - nbytes if upper else end, gap - nbytes
        end = max(end, high)
    return best if best >= 0 else max((high for _, high in taken), default=0)


def _nbytes(value: SSAValue) -> int:
    nbytes = type_of(value).nbytes
    assert isinstance(nbytes, int), "memory is planned once sizes are fixed"
    return nbytes


def _image_bytes(value: SSAValue) -> int:
    """Bytes from one image of a value of a batch to the next."""
    images = (*type_of(value).static_shape, 1)[0]
    return _nbytes(value) // max(1, images)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
