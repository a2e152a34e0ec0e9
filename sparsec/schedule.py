"""From a legalised function to a plan: ops become steps over buffers, constants places in the weights file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from sparsec.ir import ReshapeOp, WeightOp, node_name
from sparsec.model import Model
from sparsec.passes.plan_memory import MemoryPlan
from sparsec.target import Buffer, Plan, Port, Step
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.native import NativeTarget

ALIGNMENT = 64
Progress = Callable[[str, int, int], None]


class WeightsFile:
    """Constants one after another, 64-byte aligned, written as they come so that only one is in memory at a time."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._places: dict[str, Buffer] = {}
        self.nbytes = 0

    def place(self, packed: Packed) -> Buffer:
        """Where the constant lies; it is built and written when its key is new."""
        if packed.key not in self._places:
            data = np.ascontiguousarray(packed.build())
            self._stream.write(bytes(-self.nbytes % ALIGNMENT))
            offset = self.nbytes + -self.nbytes % ALIGNMENT
            self._stream.write(data.reshape(-1).view(np.uint8).data)
            self.nbytes = offset + data.nbytes
            self._places[packed.key] = Buffer("weights", 0, offset, data.nbytes)
        return self._places[packed.key]


@dataclass
class Schedule:
    """A plan, the kernels that its steps call, and for each step the op that it comes from."""

    plan: Plan
    kernels: list[Kernel] = field(default_factory=list)
    origins: list[Operation] = field(default_factory=list)


def schedule(
    model: Model, target: NativeTarget, memory: MemoryPlan, weights: Path, threads: int, progress: Progress
) -> Schedule:
    """Ask the target for the kernels of every op, in order, and write the constants that they read to `weights`."""
    result = Schedule(_empty_plan(model, memory, threads))
    ops = [op for op in model.main.body.block.ops if not isinstance(op, WeightOp | ReshapeOp | ReturnOp)]
    with weights.open("wb") as stream:
        file = WeightsFile(stream)
        for index, op in enumerate(ops):
            progress("pack weights", index, len(ops))
            for call in target.lower(op, model.weights):
                _add_step(result, op, call, model, memory, file)
    result.plan.manifest["weights_bytes"] = file.nbytes
    return result


def _add_step(result: Schedule, op: Operation, call: Call, model: Model, memory: MemoryPlan, file: WeightsFile) -> None:
    kernel = call.kernel
    buffers = tuple(_place(argument, model, memory, file) for argument in call.arguments)
    name = f"{len(result.plan.steps)}:{node_name(op)}"
    result.plan.steps.append(Step(name, kernel.symbol, buffers, kernel.chunks, kernel.scratch, kernel.group))
    result.kernels.append(kernel)
    result.origins.append(op)


def _place(argument: SSAValue | Packed, model: Model, memory: MemoryPlan, file: WeightsFile) -> Buffer:
    if isinstance(argument, Packed):
        return file.place(argument)
    if isinstance(argument.owner, WeightOp):
        key = argument.owner.key
        return file.place(Packed(f"plain:{key}", lambda: model.weights[key]))
    return memory.buffer(argument)


def _empty_plan(model: Model, memory: MemoryPlan, threads: int) -> Plan:
    function = model.main.function_type
    inputs = tuple(_port(name, type_) for name, type_ in zip(model.input_names, function.inputs, strict=True))
    outputs = tuple(_port(name, type_) for name, type_ in zip(model.output_names, function.outputs, strict=True))
    return Plan(model.name, inputs, outputs, [], memory.arena_bytes, threads)


def _port(name: str, type_) -> Port:
    return Port(name, type_.dtype.name, type_.static_shape)
