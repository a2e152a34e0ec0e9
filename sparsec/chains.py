"""Layers that run row by row together: a chain is one step whose members pass rows on while these are in the cache.

    expand 1x1       rows 0 ‥ 4                    5 ‥ 8                    9 ‥ 12
    depthwise 3x3              0 ‥ 3                        4 ‥ 7                     8 ‥ 11
    project 1x1                        0 ‥ 3                        4 ‥ 7                      8 ‥ 11

Each member computes a unit of its rows as soon as the rows that the unit reads are there, and only when the next member
wants it. A result that only members read lives in a window: a few panels in the scratch of the thread, moved to the
window's front when they reach its end. Whoever starts in the middle of an image computes the rows above that anew.

The same walk is written in C in targets/runtime/chain.c; here it tells how large windows must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

LONGEST = 16  # members of a chain; the runtime is told


@dataclass(frozen=True)
class Walk:
    """How a kernel goes through its images: in units of `rows` rows of the result, each of `chunks` chunks in order.

    Rows [low, high) of the result read rows [low * stride - pad, (high - 1) * stride - pad + reach) of the source. The
    last unit may read what it would read with all its rows.
    """

    images: int
    height: int
    rows: int
    chunks: int
    source_height: int
    stride: int = 1
    pad: int = 0
    reach: int = 1

    @property
    def units(self) -> int:
        """Units of one image."""
        return -(-self.height // self.rows)


@dataclass(frozen=True)
class Read:
    """A member reads the result of an earlier one: as the source of its windows, or row by row (`stride` 1)."""

    member: int
    stride: int = 1
    pad: int = 0
    reach: int = 1

    def low(self, row: int) -> int:
        """The first row that is read for rows from `row` on."""
        return max(0, row * self.stride - self.pad)

    def high(self, row: int, height: int) -> int:
        """Behind the last row that is read for rows before `row`, of a value with `height` rows."""
        return min(height, (row - 1) * self.stride - self.pad + self.reach)


@dataclass(frozen=True)
class Member:
    """A kernel of a chain, what it reads of members before it, and the panels of its result.

    `stored`: its result lies in memory as a whole, because others read it too.
    """

    walk: Walk
    reads: tuple[Read, ...]
    panel_rows: int
    panel_bytes: int
    stored: bool

    def panels(self, units: int) -> int:
        """Panels that the rows of the first `units` units fill or begin."""
        return -(-min(units * self.walk.rows, self.walk.height) // self.panel_rows)


@dataclass(frozen=True)
class Task:
    """Units [start, stop) of a member, or (`move`) panels [start, stop) of its window, which become its first."""

    kind: Literal["run", "move"]
    member: int
    start: int
    stop: int


@dataclass(frozen=True)
class Chain:
    """Members in the order of their ops. The units of the last one are the chunks of the step."""

    members: tuple[Member, ...]

    @property
    def units(self) -> int:
        """Units of the last member in one image."""
        return self.members[-1].walk.units

    @property
    def chunks(self) -> int:
        return self.members[-1].walk.images * self.units

    @cached_property
    def readers(self) -> list[list[tuple[int, Read]]]:
        """Who reads each member's result."""
        pairs = [(index, read) for index, member in enumerate(self.members) for read in member.reads]
        return [[pair for pair in pairs if pair[1].member == index] for index in range(len(self.members))]

    def starts(self, unit: int) -> list[int]:
        """The first unit that each member must compute where `unit` of the last one is the first."""
        starts = [0] * len(self.members)
        starts[-1] = unit
        for index in reversed(range(len(self.members) - 1)):
            lows = [read.low(starts[i] * self.members[i].walk.rows) for i, read in self.readers[index]]
            starts[index] = min(lows) // self.members[index].walk.rows
        return starts

    def stops(self, unit: int) -> list[int]:
        """How many units each member has computed once the last one has computed `unit`s."""
        stops = [0] * len(self.members)
        stops[-1] = unit
        for index in reversed(range(len(self.members) - 1)):
            stops[index] = max(self._wanted(read, i, stops[i]) for i, read in self.readers[index])
        return stops

    def _wanted(self, read: Read, reader: int, units: int) -> int:
        """Units of a member that another reads for its first `units` units."""
        walk, other = self.members[read.member].walk, self.members[reader].walk
        return -(-max(0, read.high(units * other.rows, walk.height)) // walk.rows)

    @property
    def overlap(self) -> list[int]:
        """For each member, units that are computed twice where a run through an image is cut in two: the most."""
        most = [0] * len(self.members)
        for unit in range(1, self.units):
            cut = zip(most, self.stops(unit), self.starts(unit), strict=True)
            most = [max(so_far, stop - start) for so_far, stop, start in cut]
        return most

    @property
    def is_exact(self) -> bool:
        """Whether cut anywhere, runs compute each row of the stored results once."""
        stored = [index for index, member in enumerate(self.members) if member.stored]
        if any(self.stops(self.units)[index] != self.members[index].walk.units for index in stored):
            return False
        cuts = [(self.stops(unit), self.starts(unit)) for unit in range(self.units)] if len(stored) > 1 else []
        return all(stops[index] == starts[index] for stops, starts in cuts for index in stored)

    @cached_property
    def capacities(self) -> list[int]:
        """Panels of each member's window; 0 for results that are stored."""
        sizes = [0] * len(self.members)
        for first in range(self.units):
            walk = _Walk(self, first, sizes)
            list(walk.advance(len(self.members) - 1, first + 1 if first else self.units))
        return [0 if member.stored else size for member, size in zip(self.members, sizes, strict=True)]

    @property
    def places(self) -> list[int]:
        """Where each window starts in scratch behind that of the kernels, in bytes; the last number is their end."""
        result = [0]
        for member, capacity in zip(self.members, self.capacities, strict=True):
            result.append(result[-1] + capacity * member.panel_bytes)
        return result

    def tasks(self, first: int, last: int) -> Iterator[Task]:
        """What units [first, last) of an image take, in order."""
        return _Walk(self, first).advance(len(self.members) - 1, last)


class _Walk:
    """The state of a walk through one image: units done, and the first panel in each window.

    With `sizes`, windows end nowhere, and the most panels that one holds are noted there.
    """

    def __init__(self, chain: Chain, first: int, sizes: list[int] | None = None) -> None:
        self._chain, self._members, self._sizes = chain, chain.members, sizes
        self._done = chain.starts(first)
        self._base = [self._first(index) for index in range(len(chain.members))]

    def advance(self, index: int, stop: int) -> Iterator[Task]:
        """Computes the units of a member before `stop`, those of others first that they read."""
        member, done = self._members[index], self._done
        while done[index] < stop:
            for read in member.reads:
                yield from self.advance(read.member, self._chain._wanted(read, index, done[index] + 1))
            ready = done[index] + 1
            while ready < stop and self._is_ready(index, ready + 1):
                ready += 1
            yield from self._room(index, ready)
            yield Task("run", index, done[index], ready)
            done[index] = ready

    def _is_ready(self, index: int, units: int) -> bool:
        reads = self._members[index].reads
        return all(self._chain._wanted(read, index, units) <= self._done[read.member] for read in reads)

    def _room(self, index: int, units: int) -> Iterator[Task]:
        """Makes room in a window where it ends before the panels of the first `units` units."""
        member = self._members[index]
        if self._sizes is not None:
            self._sizes[index] = max(self._sizes[index], member.panels(units) - self._first(index))
        elif not member.stored and member.panels(units) - self._base[index] > self._chain.capacities[index]:
            self._base[index] = self._first(index)
            yield Task("move", index, self._base[index], member.panels(self._done[index]))

    def _first(self, index: int) -> int:
        """The first panel of a member's result that is still to be read, or the next one that is written."""
        member = self._members[index]
        rows = [read.low(self._done[i] * self._members[i].walk.rows) for i, read in self._chain.readers[index]]
        return min(min(rows, default=0) // member.panel_rows, member.panels(self._done[index]))
