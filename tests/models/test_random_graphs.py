"""Random graphs through passes and kernels against the interpreter, every arena and port guarded."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import random_model
from plan_runner import compile_plan, run_plan, run_plans

from sparsec.interpreter import run
from sparsec.targets.isa import host_isas
from sparsec.targets.registry import parse_target


def check(found: list[np.ndarray], expected: list[np.ndarray], what: str) -> None:
    for actual, wanted in zip(found, expected, strict=True):
        scale = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=3e-5 * scale, err_msg=what)


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 150))])
@pytest.mark.skipif(not host_isas(), reason="no x86 to run on")
def test_x86(seed: int) -> None:
    model, inputs = random_model(seed, length=10 + seed % 20)
    expected = run(model, inputs)
    plan = compile_plan(model)
    for isa in host_isas():
        check(run_plan(plan, isa, inputs), expected, f"seed {seed} on {isa.name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arm", "wasm"])
def test_other_targets(name: str) -> None:
    target = parse_target(name)
    models = [random_model(seed) for seed in range(1000, 1020)]
    expected = [run(model, inputs) for model, inputs in models]
    plans = [(compile_plan(model, target), inputs) for model, inputs in models]
    for isa in target.isas:
        for index, found in enumerate(run_plans(plans, isa)):
            check(found, expected[index], f"model {index} on {isa.name}")
