"""Runs a compiled model in this process, without linking an artifact: its plan's steps, with kernels from a JIT.

    plan = compile_plan(model, target)
    outputs = run_plan(plan, isa, inputs)                       x86
    all_outputs = run_plans([(plan, inputs), ...], isa)         any ISA

The arena starts as NaNs, and inputs and outputs end at pages that cannot be read: a step that reads what nobody wrote,
or beyond its operands, fails the test. Each step runs in pieces, last piece first, as threads may run them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from kernel_runner import check_marks, guarded, run_kernels

from sparsec.interpreter import run
from sparsec.model import Model
from sparsec.passes import pipeline, run_pipeline
from sparsec.schedule import Schedule, schedule
from sparsec.target import Buffer, Port
from sparsec.targets.isa import Isa, host_isas
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.native import NativeTarget
from sparsec.targets.registry import parse_target

PIECES = 3


@dataclass(frozen=True)
class CompiledPlan:
    """A schedule and the bytes of its weights file."""

    schedule: Schedule
    weights: np.ndarray

    @property
    def steps(self) -> Iterator[tuple[Kernel, tuple[Buffer, ...]]]:
        """Each kernel with the places of its arguments, in order. For plans without chains."""
        for kernel, step in zip(self.schedule.kernels, self.schedule.plan.steps, strict=True):
            yield kernel, step.arguments


def compile_plan(model: Model, target: NativeTarget | None = None) -> CompiledPlan:
    """Passes and kernels of `model`, which is rewritten; the default target is x86."""
    target = target or parse_target("x86")
    passed = run_pipeline(model, pipeline(chains=False, loops=False), target)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        scheduled = schedule(model, target, passed.memory, weights, 1, lambda *_: None)
        return CompiledPlan(scheduled, aligned_copy(np.fromfile(weights, np.uint8)))


def run_plan(plan: CompiledPlan, isa: Isa, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of one run. Skips the test where this CPU lacks `isa`."""
    if isa.name not in {host.name for host in host_isas()}:
        pytest.skip(f"this CPU has no {isa.name}")
    memory = Memory(plan, inputs)
    jit = Jit(plan.schedule.kernels, isa)
    for kernel, places in plan.steps:
        call = jit.prepared(kernel, [memory[place] for place in places])
        for piece in reversed(range(PIECES)):
            begin, end = kernel.chunks * piece // PIECES, kernel.chunks * (piece + 1) // PIECES
            if begin < end:
                call(begin, end)
    return memory.outputs()


def run_plans(plans: Sequence[tuple[CompiledPlan, Sequence[np.ndarray]]], isa: Isa) -> list[list[np.ndarray]]:
    """The outputs of many plans on any ISA: the first steps of all are compiled, linked and run together, and so on."""
    memories = [Memory(plan, inputs) for plan, inputs in plans]
    steps = [list(plan.steps) for plan, _ in plans]
    for depth in range(max(map(len, steps))):
        reached = [(memory, *mine[depth]) for memory, mine in zip(memories, steps, strict=True) if depth < len(mine)]
        runs = [(kernel, [memory[place] for place in places]) for memory, kernel, places in reached]
        for (_, arrays), results in zip(runs, run_kernels(runs, isa), strict=True):
            for array, result in zip(arrays, results, strict=True):
                if array.tobytes() != result.tobytes():  # an operand that shares its buffer with a result stays behind
                    array[...] = result
    return [memory.outputs() for memory in memories]


class Memory:
    """The buffers of one run, by their places."""

    def __init__(self, plan: CompiledPlan, inputs: Sequence[np.ndarray]):
        ports = plan.schedule.plan
        for array, port in zip(inputs, ports.inputs, strict=True):
            assert (array.shape, array.dtype) == (port.shape, np.dtype(port.dtype)), f"input {port.name} is no {port}"
        self._guarded = {
            "input": [guarded(array, flush=True) for array in inputs],
            "output": [guarded(_blank(port), flush=True) for port in ports.outputs],
        }
        self._bytes = {"arena": aligned_copy(np.full(ports.arena_bytes, 0xFF, np.uint8)), "weights": plan.weights}
        self._given = [array.tobytes() for array in inputs]

    def __getitem__(self, place: Buffer) -> np.ndarray:
        if place.space in self._guarded:
            return self._guarded[place.space][place.index][1]
        return self._bytes[place.space][place.offset : place.offset + place.nbytes]

    def outputs(self) -> list[np.ndarray]:
        """Copies of the outputs, after a check that nothing else was written."""
        for space, arrays in self._guarded.items():
            for index, (outer, inner) in enumerate(arrays):
                check_marks(outer, inner, f"{space} {index}")
        assert self._given == [inner.tobytes() for _, inner in self._guarded["input"]], "an input was overwritten"
        return [inner.copy() for _, inner in self._guarded["output"]]


def _blank(port: Port) -> np.ndarray:
    """An output that nobody wrote: all bits set (NaN), or for booleans and bytes a pattern."""
    return np.frombuffer(b"\xff" * port.nbytes, port.dtype).reshape(port.shape)


def check_on_host(model: Model, inputs: Sequence[np.ndarray], what: str) -> None:
    """Compares a model, which this compiles, with the interpreter on each ISA of this machine."""
    expected = run(model, inputs)
    plan = compile_plan(model)
    for isa in host_isas():
        check_outputs(run_plan(plan, isa, inputs), expected, f"{what} on {isa.name}")


def check_on_target(name: str, models: Sequence[tuple[Model, list[np.ndarray]]]) -> None:
    """The same for models and their inputs on each ISA of a target, in an emulator if need be."""
    target = parse_target(name)
    expected = [run(model, inputs) for model, inputs in models]
    plans = [(compile_plan(model, target), inputs) for model, inputs in models]
    for isa in target.isas:
        for index, found in enumerate(run_plans(plans, isa)):
            check_outputs(found, expected[index], f"model {index} on {isa.name}")


def check_outputs(found: list[np.ndarray], expected: Sequence[np.ndarray], what: str) -> None:
    """Within the rounding of sums."""
    for actual, wanted in zip(found, expected, strict=True):
        scale = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=3e-5 * scale, err_msg=what)
