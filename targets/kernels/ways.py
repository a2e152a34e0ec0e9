"""The ways to run a contraction by constant weights, and how long each takes, by measurement or prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sparsec.ir import Format
from sparsec.target import Candidate
from sparsec.targets.measured import Key, Measured, Time


@dataclass(frozen=True)
class Way:
    """The kernel of `row`, whose `events` say what it does by `weight` ([M, K], or as a convolution has it).

    `kind` and `sizes` place it in the space that tuning searches; `standard` ways need no measurement to be candidates.
    `expected` is the kernel whose events predict its time, where that is not `kernel` itself.
    """

    row: str
    format: Format
    kernel: Any
    weight: np.ndarray = field(compare=False, repr=False)
    kind: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    standard: bool = True
    expected: Any = None

    @cached_property
    def key(self) -> Key:
        """Under which its time is kept."""
        return Key.of(self.kernel, self.weight, not self.format.is_dense)

    def candidate(self, target: Any) -> Candidate:
        """With its predicted time on the target's best instruction set, and what most of it is."""
        events = (self.expected or self.kernel).events(target.isas[0], target.cost.caches, self.weight)
        parts = {name: target.cost.seconds({name: count}) for name, count in events.items()}
        seconds = sum(parts.values())
        most = max(parts, key=lambda name: parts[name])
        reason = getattr(self.kernel, "reason", "")
        if seconds and not reason:
            reason = f"{parts[most] / seconds:.0%} of the time is {most}"
        return Candidate(self.row, self.format, seconds, reason)


def candidates(ways: Iterable[Way], target: Any) -> list[Candidate]:
    """The best first: by times measured in models where there are any, else measured alone, else predicted.

    A prediction never stands before a measurement, as the two may be off by different factors. A way whose measurement
    failed comes last: it is better than none.
    """
    measured: Measured | None = target.measured
    found: list[tuple[int, Candidate]] = []
    for way in ways:
        time = measured.time(way.key) if measured and way.row in measured.rows else None
        if time is not None and time.seconds is not None:
            found.append(_measured(way, time))
        elif way.standard:
            found.append((2 if time is None else 3, way.candidate(target)))
    return [candidate for _, candidate in sorted(found, key=lambda pair: (pair[0], pair[1].seconds))]


def _measured(way: Way, time: Time) -> tuple[int, Candidate]:
    assert time.seconds is not None, "failed ways are no candidates"
    rank, reason = (0, "measured in a model") if time.where == "model" else (1, "measured alone")
    return rank, Candidate(way.row, way.format, time.seconds, reason, measured=True)
