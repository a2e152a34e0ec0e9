"""The chunks of a kernel run on any thread at any time, so no two may write the same element."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zoo
from plan_runner import CompiledPlan, Memory, compile_plan
from whole_models import random_light_model

from sparsec.frontend.onnx import import_model
from sparsec.targets.isa import Isa, host_isas
from sparsec.targets.jit import Jit
from sparsec.verify import random_inputs

pytestmark = pytest.mark.skipif(not host_isas(), reason="no x86 to run on")


def shared_writes(path: Path, isas: Sequence[Isa] = host_isas(), **given) -> list[str]:
    """The steps of a model whose chunks, each run alone from the same state, change a byte twice."""
    plan = compile_plan(import_model(path, **given))
    weights = zlib.crc32(plan.weights)
    found = [step for isa in isas for step in _shared_writes(plan, isa)]
    assert zlib.crc32(plan.weights) == weights, "a kernel wrote into weights"
    return found


def _shared_writes(plan: CompiledPlan, isa: Isa) -> list[str]:
    inputs = random_inputs(plan.schedule.plan.inputs)
    memory, jit = Memory(plan, list(inputs.values())), Jit(plan.schedule.kernels, isa)
    found = []
    for index, (kernel, places) in enumerate(plan.steps):
        arrays = [memory[place] for place in places]
        call = jit.prepared(kernel, arrays)
        watched = [array for array, place in zip(arrays, places, strict=True) if place.space != "weights"]
        before = [array.copy() for array in watched]
        writes = [np.zeros(array.nbytes, np.uint8) for array in watched]
        for chunk in range(kernel.chunks):
            call(chunk, chunk + 1)
            for array, old, count in zip(watched, before, writes, strict=True):
                count += array.view(np.uint8).ravel() != old.view(np.uint8).ravel()
                array[...] = old
        if any(count.max(initial=0) > 1 for count in writes):
            found.append(f"step {index} on {isa.name}, {kernel!r}")
        call(0, kernel.chunks)
    return found


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_small_zoo(sparsity: float, tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v2", size=96, classes=100, sparsity=sparsity)
    assert shared_writes(path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "isa"), [(0.0, -1), (0.8, 0)])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_zoo(sparsity: float, isa: int, name: str, tmp_path: Path) -> None:
    """How a kernel deals out its chunks is the same on all ISAs: dense layers on one, sparse ones on another."""
    assert shared_writes(zoo.save(tmp_path, name, sparsity=sparsity), [host_isas()[isa]]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "shufflenet", "inception_v1", "bvlc_alexnet"])
def test_light_models(name: str, tmp_path: Path) -> None:
    assert shared_writes(random_light_model(name, tmp_path)) == []


@pytest.mark.slow
def test_nudenet() -> None:
    assert shared_writes(zoo.nudenet(), shapes={"images": (1, 3, 320, 320)}) == []
