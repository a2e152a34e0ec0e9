"""Symbolic sizes become numbers, in every type and in the function's signature.

    fix_dims{batch=4}:  !sp.tensor<["batch", 3, "2*s"], f32>  ⇒  !sp.tensor<[4, 3, "2*s"], f32>

Without `partial`, no symbol may be left, so that all later stages see ints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.utils.arg_spec import ArgSpec
from xdsl.utils.exceptions import VerifyException

from sparsec.errors import UsageError
from sparsec.interpreter.run import substitute
from sparsec.ir import TensorType
from sparsec.ir.dims import Dim, symbols
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.target import Target


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
        present = _symbols(model.module)
        if unknown := sorted(self.dims.keys() - present):
            known = f"it has {', '.join(sorted(present))}" if present else "all its sizes are fixed"
            raise UsageError(f"{model.name} has no dimension {', '.join(unknown)}: {known}")
        if not self.partial and (missing := sorted(present - self.dims.keys())):
            options = " ".join(f"--dim {name}=SIZE" for name in missing)
            raise UsageError(f"{model.name} has sizes that are not fixed: give {options} (or --shape for whole inputs)")
        if self.dims:
            _substitute(model, {**self.dims})


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
        raise UsageError(f"{model.name} does not work with {given}: {error}") from error
