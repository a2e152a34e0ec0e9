"""From a legalised function to a plan: ops become steps over buffers, constants places in the weights file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation

from sparsec.ir import ReshapeOp, WeightOp, node_name, type_of
from sparsec.ir.dims import Sym, fixed
from sparsec.ir.ranges import Ranges, bounds, fixed_at, highest
from sparsec.model import Model
from sparsec.passes.chain_layers import chain_of_ops
from sparsec.passes.plan_memory import MemoryPlan, chain_of, images_of, loop_of
from sparsec.target import Buffer, Corner, Loop, Plan, Port, Step
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Argument, Call, Packed, Sizes
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
    """A plan, and for each call of its steps, members of chains and loops one by one, the kernel and its op."""

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
        done = layers = 0
        for (loop, chain), group in groupby(ops, lambda op: (loop_of(op), chain_of(op))):
            steps = []
            for op in group:
                progress("pack weights", done, len(ops))
                done += 1
                for call in target.lower(op, model.weights):
                    steps.append(_step(op, call, model, memory, file))
                    result.kernels.append(call.kernel)
                    result.origins.append(op)
            if chain is not None:
                steps = [
                    _chain(result.origins[-len(steps) :], result.kernels[-len(steps) :], steps, threads, model.ranges)
                ]
            steps = [replace(step, name=f"{layers + i}:{step.name}") for i, step in enumerate(steps)]
            layers += len(steps)
            result.plan.steps += steps if loop is None else []
            if loop is not None and steps:  # parts inside others take no calls
                _add_to_loop(result, loop, steps, memory)
    result.plan.manifest["weights_bytes"] = file.nbytes
    result.plan.corners = tuple(_with_scratch(corner, result.plan) for corner in memory.corners)
    return result


def _with_scratch(corner: Corner, plan: Plan) -> Corner:
    """The memory of a corner, once it is known what scratch the kernels take there."""
    at = {name: (low, size) for (name, (low, _)), size in zip(plan.ranges.items(), corner.sizes, strict=True)}
    return replace(corner, scratch_bytes=max((bounds(step.scratch, at)[1] for step in plan.steps), default=0))


def _add_to_loop(result: Schedule, loop: int, steps: Sequence[Step], memory: MemoryPlan) -> None:
    """Put steps behind those of their loop, which is the last step of the plan; what is local lies behind scratch."""
    plan, op, symbol = result.plan, result.origins[-1], f"loop_{loop}"
    others = plan.steps.pop().members if plan.steps and plan.steps[-1].symbol == symbol else ()
    members = (*others, *steps)
    sizes = Loop(type_of(op.results[0]).shape[0], images_of(op), memory.local_bytes.get(loop, 0))
    scratch = _aligned(max(fixed(step.scratch) for step in members)) + sizes.nbytes
    plan.steps.append(Step(symbol, symbol, (), sizes.rounds, scratch, loop=sizes, members=members))


def _step(op: Operation, call: Call, model: Model, memory: MemoryPlan, file: WeightsFile) -> Step:
    kernel = call.kernel
    buffers = tuple(_place(argument, model, memory, file) for argument in call.arguments)
    return Step(node_name(op), kernel.symbol, buffers, call.chunks, kernel.scratch, kernel.group)


def _chain(
    ops: Sequence[Operation], kernels: Sequence[Kernel], members: Sequence[Step], threads: int, ranges: Ranges
) -> Step:
    """One step of the calls of a chain: their windows lie behind the scratch of the kernels.

    Where who begins in the middle of an image computes rows anew, threads take their shares in two pieces.
    """
    with ExitStack() as stack:
        for op in ops:
            stack.enter_context(fixed_at(op, highest(ranges)))
        chain = chain_of_ops(ops, [kernel.walk for kernel in kernels])
    assert chain is not None, "the pass that made the chain has seen to that"
    outer = tuple(dict.fromkeys(place for step in members for place in step.arguments if place.space != "window"))
    scratch = _aligned(max(fixed(step.scratch) for step in members)) + chain.places[-1]
    group = max(1, chain.chunks // (2 * threads)) if any(chain.overlap) else 1
    name = "+".join(step.name for step in members)
    last = members[-1].chunks
    chunks = last // chain.members[-1].walk.chunks if isinstance(last, Sym) else chain.chunks
    return Step(name, f"chain_{len(members)}", outer, chunks, scratch, group, chain, members=tuple(members))


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _place(argument: Argument, model: Model, memory: MemoryPlan, file: WeightsFile) -> Buffer:
    if isinstance(argument, Sizes):
        return Buffer("sizes", 0, 0, 8 * len(argument.names), names=argument.names)
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
    ranges = dict(sorted(model.ranges.items()))
    return Plan(model.name, inputs, outputs, [], memory.arena_bytes, threads, ranges=ranges)


def _port(name: str, type_) -> Port:
    return Port(name, type_.dtype.name, type_.shape)
