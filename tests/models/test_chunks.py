"""The chunks of a kernel run on any thread at any time, so no two may write the same element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zoo
from plan_runner import Memory, compile_plan
from whole_models import random_light_model

from sparsec.frontend.onnx import import_model
from sparsec.targets.isa import AVX2, AVX512, Isa, host_isas
from sparsec.targets.jit import Jit
from sparsec.verify import random_inputs


def shared_writes(path: Path, isa: Isa, **given) -> list[str]:
    """The steps of a model whose chunks, each run alone from the same state, change a byte twice."""
    if isa.name not in {host.name for host in host_isas()}:
        pytest.skip(f"this CPU has no {isa.name}")
    plan = compile_plan(import_model(path, **given))
    inputs = random_inputs(plan.schedule.plan.inputs)
    memory, jit = Memory(plan, list(inputs.values())), Jit(plan.schedule.kernels, isa)
    found = []
    for index, (kernel, places) in enumerate(plan.steps):
        arrays = [memory[place] for place in places]
        before = [array.copy() for array in arrays]
        writes = [np.zeros(array.nbytes, np.uint8) for array in arrays]
        call = jit.prepared(kernel, arrays)
        for chunk in range(kernel.chunks):
            call(chunk, chunk + 1)
            for array, old, count in zip(arrays, before, writes, strict=True):
                count += array.view(np.uint8).ravel() != old.view(np.uint8).ravel()
                array[...] = old
        if any(count.max(initial=0) > 1 for count in writes):
            found.append(f"step {index}, {kernel!r}")
        call(0, kernel.chunks)
    return found


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
def test_small_zoo(isa: Isa, sparsity: float, tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v2", size=96, classes=100, sparsity=sparsity)
    assert shared_writes(path, isa) == []


@pytest.mark.slow
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
@pytest.mark.parametrize("sparsity", [0.0, 0.8])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_zoo(isa: Isa, sparsity: float, name: str, tmp_path: Path) -> None:
    assert shared_writes(zoo.save(tmp_path, name, sparsity=sparsity), isa) == []


@pytest.mark.slow
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
@pytest.mark.parametrize("name", ["densenet121", "shufflenet", "inception_v1", "bvlc_alexnet"])
def test_light_models(isa: Isa, name: str, tmp_path: Path) -> None:
    assert shared_writes(random_light_model(name, tmp_path), isa) == []


@pytest.mark.slow
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
def test_nudenet(isa: Isa) -> None:
    assert shared_writes(zoo.nudenet(), isa, shapes={"images": (1, 3, 320, 320)}) == []
