"""Random graphs through passes and kernels against the interpreter, every arena and port guarded."""

from __future__ import annotations

import pytest
from graphs import random_model
from plan_runner import check_on_host, check_on_target

from sparsec.targets.isa import host_isas


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 150))])
@pytest.mark.skipif(not host_isas(), reason="no x86 to run on")
def test_x86(seed: int) -> None:
    model, inputs = random_model(seed, length=10 + seed % 20)
    check_on_host(model, inputs, f"seed {seed}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arm", "wasm"])
def test_other_targets(name: str) -> None:
    check_on_target(name, [random_model(seed) for seed in range(1000, 1020)])
