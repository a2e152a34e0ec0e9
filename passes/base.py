"""What all passes share: the class `Pass`, constants behind values, and rebuilding an op with one part changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from xdsl.ir import Operation, Region, SSAValue
from xdsl.utils.arg_spec import ArgSpecConvertible

from sparsec.ir import Contraction, TensorType, WeightOp, node_name, type_of
from sparsec.ir.ops import NODE
from sparsec.model import Model
from sparsec.target import Target
from sparsec.weights import WeightStore
from sparsec.zeros import NONZEROS, THRESHOLDS

OpT = TypeVar("OpT", bound=Operation)


@dataclass(frozen=True)
class Pass(ArgSpecConvertible, ABC):
    """A rewrite of a model. The fields are its options; `name` is the stem of the file that defines it."""

    needs_target: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        cls.name = cls.__module__.rsplit(".", 1)[-1]

    @abstractmethod
    def apply(self, model: Model, target: Target | None) -> object | None:
        """Rewrite `model` in place; may leave dead ops. Returns what the compiler wants to know, if anything."""


def constant(value: SSAValue, weights: WeightStore) -> np.ndarray | None:
    """The array behind `value` where that is an `sp.weight`."""
    return weights.of(value.owner) if isinstance(value.owner, WeightOp) else None


def constants(values: Sequence[SSAValue], weights: WeightStore) -> dict[int, np.ndarray]:
    """The arrays behind those of `values` that are weights, by index."""
    return {i: weights.of(value.owner) for i, value in enumerate(values) if isinstance(value.owner, WeightOp)}


def only_user(value: SSAValue) -> Operation | None:
    """The one op that reads `value`, however many times, if there is just one."""
    users = {use.operation for use in value.uses}
    return users.pop() if len(users) == 1 else None


def like(new: OpT, old: Operation) -> OpT:
    """`new`, standing for the same ONNX node as `old`; a contraction keeps what is known of zeros."""
    kept = (NODE, NONZEROS, THRESHOLDS) if isinstance(new, Contraction) else (NODE,)
    new.attributes |= {name: old.attributes[name] for name in kept if name in old.attributes}
    return new


def name_of(op: Operation, weights_operand: int | None = None) -> str:
    """A name for a new weight that stems from `op`: its node's, or that of the weight it reads."""
    owner = op.operands[weights_operand].owner if weights_operand is not None else None
    return owner.key if isinstance(owner, WeightOp) else node_name(op).removeprefix("sp.")


def rebuild(
    op: Contraction,
    lhs: SSAValue | None = None,
    rhs: SSAValue | None = None,
    extras: Sequence[SSAValue] | None = None,
    epilogue: Region | None = None,
) -> Contraction:
    """A copy of `op` with some parts changed; the parts must leave the shape of the result as it is."""
    region = epilogue or op.epilogue.clone()
    last = region.block.last_op
    assert last is not None, "an epilogue ends in sp.yield"
    result = type_of(op.result)
    return type(op).create(
        operands=[lhs or op.lhs, rhs or op.rhs, *(op.extras if extras is None else extras)],
        properties=op.properties.copy(),
        attributes=op.attributes.copy(),
        regions=[region],
        result_types=[TensorType(result.shape, last.operands[0].type, result.encoding)],
    )


def channel_vector(array: np.ndarray, rank: int, axis: int, size: int) -> np.ndarray | None:
    """`array` as `size` numbers, where broadcast to a result of `rank` axes it varies along `axis` alone."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(dim != 1 for i, dim in enumerate(shape) if i != axis):
        return None
    return np.broadcast_to(array.reshape(-1), (size,))
