"""A binary heap in scratch, written out: the best elements seen so far, with the worst of them at the root."""

from __future__ import annotations

from collections.abc import Callable

from sparsec.targets.builder import Builder, Index, Ref, Value

Item = list[Value]


class Heap:
    """`arrays` hold the parts of items side by side; `before(x, y)` says whether x is worse than y: roots are worst."""

    def __init__(self, b: Builder, arrays: list[Ref], before: Callable[[Item, Item], Value]) -> None:
        self.b, self._arrays, self._before = b, arrays, before

    def load(self, place: Index) -> Item:
        """The item at a place."""
        return [self.b.load(array, place) for array in self._arrays]

    def store(self, item: Item, place: Index) -> None:
        """Puts an item at a place."""
        for part, array in zip(item, self._arrays, strict=True):
            self.b.store(part, array, place)

    def build(self, count: int) -> None:
        """Makes a heap of the first `count` places."""
        b = self.b
        with b.loop(0, count // 2) as i:
            place = b.constant(count // 2 - 1) - i
            self.sift(self.load(place), place, count)

    def sift(self, item: Item, place: Index, count: Index) -> None:
        """Puts an item at `place`, or below it among `count` items, where worse ones move up."""
        b, state = self.b, [b_index(self.b, place)]

        def below() -> tuple[Value, Item]:
            """The place of the worse child, and it; the place is `count` or above where there is none."""
            left = state[0] * 2 + 1
            pair = b.min(left + 1, b.as_index(count) - 1)
            choose = self._before(self.load(pair), self.load(b.min(left, b.as_index(count) - 1)))
            child = b.select((left < count) & choose, pair, left)
            return child, self.load(b.min(child, b.as_index(count) - 1))

        def goes_on() -> Value:
            child, other = below()
            return (child < count) & self._before(other, item)

        with b.while_(goes_on, state):
            child, other = below()
            self.store(other, state[0])
            state[0] = child
        self.store(item, state[0])


def b_index(b: Builder, place: Index) -> Value:
    """A place as a value that a loop can carry."""
    return b.as_index(place)
