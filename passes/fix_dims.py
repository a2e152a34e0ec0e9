"""Symbolic sizes become numbers, in every type and in the function's signature.

    fix_dims{batch=4}:  !sp.tensor<["batch", 3, "2*s"], f32>  ⇒  !sp.tensor<[4, 3, "2*s"], f32>

Without `partial`, no symbol may be left but those of `model.ranges`, whose sizes only a run tells. The model must be
right with the ends of all ranges, and no size may be below 1 anywhere between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product as combinations
from typing import Self

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.arg_spec import ArgSpec
from xdsl.utils.exceptions import VerifyException

from sparsec.errors import UsageError
from sparsec.interpreter.run import substitute
from sparsec.ir import TensorType, node_name, type_of
from sparsec.ir.dims import Dim, Sym, evaluate, symbols
from sparsec.ir.ranges import highest, lowest_of
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.target import Target

MAX_BYTES = 2**36  # of one value, as the frontend allows where sizes are fixed


@dataclass(frozen=True)
class FixDims(Pass):
    """`dims`: sizes by symbol. `partial`: symbols may be left."""

    dims: Mapping[str, int] = field(default_factory=dict)
    partial: bool = False

    @classmethod
    def from_spec(cls, spec: ArgSpec) -> Self:
        """Every option but `partial` is a symbol."""
        sizes = {name: given for name, given in spec.parameters.items() if name != "partial"}
        for name, given in sizes.items():
            if len(given) != 1 or not isinstance(given[0], int):
                raise ValueError(f"the size of {name} is one integer")
        return cls({name: int(given[0]) for name, given in sizes.items()}, "partial" in spec.parameters)

    def apply(self, model: Model, target: Target | None) -> None:
        present = _symbols(model.module) - model.ranges.keys()
        if unknown := sorted(self.dims.keys() - present):
            known = f"it has {', '.join(sorted(present))}" if present else "all its sizes are fixed"
            raise UsageError(f"{model.name} has no dimension {', '.join(unknown)}: {known}")
        if not self.partial and (missing := sorted(present - self.dims.keys())):
            options = " ".join(f"--dim {name}=SIZE" for name in missing)
            raise UsageError(
                f"{model.name} has sizes that are not fixed: give {options} (or --shape for whole inputs), or a range "
                f"such as --dim {missing[0]}=1..8"
            )
        if self.dims:
            _substitute(model, {**self.dims})
        if model.ranges:
            _check_ranges(model)


def _check_ranges(model: Model) -> None:
    """UsageError where a size within its range breaks the model."""
    ops = list(model.main.body.block.ops)
    sizes = [(op, dim) for op in ops for value in op.results for dim in type_of(value).shape if isinstance(dim, Sym)]
    for op, dim in sizes:
        least, at = lowest_of(dim, model.ranges)
        if least < 1:
            given = " and ".join(f"{name} = {size}" for name, size in at.items()) or "the lowest sizes"
            raise UsageError(f"{node_name(op)} has an axis of {dim}, which is {least} with {given}: narrow the range")
    _check_bytes(ops, highest(model.ranges))
    names = sorted(model.ranges)
    for ends in combinations(*(model.ranges[name] for name in names)):
        copy = Model(model.module.clone(), model.weights, model.name)
        _substitute(copy, dict(zip(names, ends, strict=True)))


def _check_bytes(ops: Sequence[Operation], sizes: dict[str, int]) -> None:
    """UsageError where a value of the highest sizes is larger than any that fixed sizes may have."""
    for op in ops:
        for value in op.results:
            nbytes = evaluate(type_of(value).nbytes, sizes)
            if isinstance(nbytes, int) and nbytes > MAX_BYTES:
                given = ", ".join(f"{name} = {size}" for name, size in sizes.items())
                raise UsageError(f"{node_name(op)} makes {nbytes:.1e} bytes with {given}: narrow the range")


def _values(module: ModuleOp) -> list[SSAValue]:
    blocks = [block for op in module.walk() for region in op.regions for block in region.blocks]
    arguments = [argument for block in blocks for argument in block.args]
    return [*arguments, *(result for op in module.walk() for result in op.results)]


def _symbols(module: ModuleOp) -> set[str]:
    types = [value.type for value in _values(module)]
    return {name for type_ in types if isinstance(type_, TensorType) for dim in type_.shape for name in symbols(dim)}


def _substitute(model: Model, sizes: dict[str, Dim]) -> None:
    substitute(model.module, sizes)
    try:
        model.module.verify()
    except VerifyException as error:
        given = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        raise UsageError(f"the model does not work with {given}: {error}") from error
