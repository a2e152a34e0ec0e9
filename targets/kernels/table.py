"""Which family of kernels runs an op."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, cast

from xdsl.ir import Operation, SSAValue

from sparsec.target import Candidate
from sparsec.targets.kernels import attention, conv, linear, map, matmul, movement, resize
from sparsec.targets.kernels.attention import selection
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.indexing import gather, scatter, topk
from sparsec.targets.kernels.reductions import cumsum, lrn, norm, reduce, softmax
from sparsec.targets.kernels.ways import Way
from sparsec.targets.kernels.windows import depthwise, pool
from sparsec.weights import WeightStore


class Family(Protocol):
    """A module of kernels of one kind. One with several ways to run an op also has `ways` and `candidates`."""

    __name__: str

    def accepts(self, op: Operation) -> bool:
        """Whether the kernels run `op` with these types and attributes."""
        ...

    def takes_panels(self, op: Operation) -> bool:
        """Whether they can read and write its 4-D activations in panels."""
        ...

    def lower(self, op: Operation, weights: WeightStore) -> list[Call]:
        """The calls that compute `op` in the layouts that its types have."""
        ...


# The first that accepts an op runs it.
FAMILIES = cast(
    "tuple[Family, ...]",
    (
        linear,
        matmul,
        depthwise,
        conv,
        pool,
        map,
        reduce,
        softmax,
        norm,
        lrn,
        cumsum,
        movement,
        gather,
        scatter,
        topk,
        resize,
        attention,
        selection,
    ),
)


def family_of(op: Operation) -> Family | None:
    """The family that runs `op`, or None."""
    return next((family for family in FAMILIES if family.accepts(op)), None)


def takes_pairs(op: Operation, values: Collection[SSAValue]) -> bool:
    """Whether the chosen kernel of `op` runs with these of its images in pairs of channels of bf16, the others not."""
    asked = getattr(family_of(op), "takes_pairs", None)
    return asked is not None and asked(op, values)


def takes_parts(op: Operation) -> bool:
    """Whether the kernels of `op` run where its images lie inside others, as their types say."""
    family = family_of(op)
    asked = getattr(family, "takes_parts", None)
    return asked is not None and asked(op)


def candidates_of(op: Operation, weights: WeightStore, target: Any) -> Sequence[Candidate]:
    """Every way to run `op`, cheapest first; where its family has but one, that has no predicted time."""
    family = family_of(op)
    if family is None:
        return []
    if (candidates := getattr(family, "candidates", None)) is not None:
        return candidates(op, weights, target)
    return [Candidate(family.__name__.rpartition(".")[2], None, 0.0)]


def ways_of(op: Operation, weights: WeightStore, target: Any) -> Sequence[Way]:
    """The kernels between which tuning can choose for `op`; none where its family has but one."""
    ways = getattr(family_of(op), "ways", None)
    return ways(op, weights, target) if ways is not None else []
