"""Which family of kernels runs an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.ir import Operation

from sparsec.target import Candidate
from sparsec.targets.kernels.call import Call
from sparsec.weights import WeightStore


@dataclass(frozen=True)
class Family:
    """Kernels of one kind. `candidates` is asked for contractions only, which have several ways to run."""

    accepts: Callable[[Operation], bool]
    lower: Callable[[Operation, WeightStore], list[Call]]
    takes_panels: Callable[[Operation], bool] = lambda op: False
    candidates: Callable[..., Sequence[Candidate]] | None = None
