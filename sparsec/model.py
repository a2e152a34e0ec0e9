"""A model inside the compiler: a module of the tensor IR and the weights that it names."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from sparsec.weights import WeightStore

INPUT_NAMES, OUTPUT_NAMES = "input_names", "output_names"


@dataclass
class Model:
    """`module` holds one `func.func @main`, whose attributes `input_names`, `output_names` name the ports.

    `ranges` holds the lowest and the highest size of each symbol that only a run tells; all others get fixed.
    """

    module: ModuleOp
    weights: WeightStore = field(default_factory=WeightStore)
    name: str = "model"
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def main(self) -> FuncOp:
        """The function that the model is."""
        return next(op for op in self.module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")

    @property
    def input_names(self) -> list[str]:
        return _names(self.main, INPUT_NAMES, len(self.main.function_type.inputs))

    @property
    def output_names(self) -> list[str]:
        return _names(self.main, OUTPUT_NAMES, len(self.main.function_type.outputs))


def _names(function: FuncOp, key: str, count: int) -> list[str]:
    names = function.attributes.get(key)
    if isinstance(names, ArrayAttr):
        return [name.data for name in names if isinstance(name, StringAttr)]
    return [f"{key.split('_')[0]}{index}" for index in range(count)]
