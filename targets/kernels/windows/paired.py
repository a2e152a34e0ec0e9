"""Windows over two channels of bf16 in 32 bits: loaded and moved as one, combined as two channels of f32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsec.targets.builder import Builder, Index, Value
from sparsec.targets.kernels.pairs import pair, widen
from sparsec.targets.kernels.strips import Tap
from sparsec.targets.kernels.windows.blocks import Channel, Place, Sums


class PairedChannel(Channel):
    """The two channels of a pair. A sum of both is one vector of twice the lanes, the even channel's first."""

    def __init__(self, b: Builder, low: Channel, high: Channel) -> None:
        self._b, self._sides = b, (low, high)

    def add(self, sums: Sums, taps: Callable[[int], Tap], users: Sequence[tuple[int, int]]) -> None:
        found: list[Sums] = []
        for side, channel in enumerate(self._sides):
            own = {row: self._b.half(sums[row], side) for row, _ in users if row in sums}

            def half(column: int, side: int = side) -> Tap:
                tap = taps(column)
                return Tap(widen(self._b, tap.value)[side], tap.mask)

            channel.add(own, half, users)
            found.append(own)
        for row, value in found[0].items():
            sums[row] = self._b.concat(value, found[1][row])

    def nothing(self, lanes: int) -> Value:
        low, high = (channel.nothing(lanes) for channel in self._sides)
        return self._b.concat(low, high)

    def start(self, lanes: int) -> list[Value]:
        raise NotImplementedError("large windows are not over pairs")

    def take(self, state: list[Value], tap: Tap, line: Index, column: Index) -> None:
        raise NotImplementedError("large windows are not over pairs")

    def finish(self, value: Value, place: Place) -> Value:
        low, high = (channel.finish(self._b.half(value, side), place) for side, channel in enumerate(self._sides))
        return pair(self._b, low, high)
