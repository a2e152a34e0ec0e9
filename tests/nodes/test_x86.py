"""ONNX's own node tests through the whole compiler, on x86: the plan's kernels run in this process."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx_node_tests
import pytest
from plan_runner import CompiledPlan, compile_plan, run_plan

from sparsec.targets.isa import AVX2, AVX512


def _parameters() -> list:
    """All claimed tests on both ISAs; those that are not the first of an operator are slow."""
    first = set(onnx_node_tests.by_operator().values())
    return [
        pytest.param(name, isa, marks=() if name in first else pytest.mark.slow, id=f"{name}-{isa.name}")
        for name in onnx_node_tests.claimed()
        for isa in (AVX512, AVX2)
    ]


@lru_cache(maxsize=1)
def _compiled(name: str) -> tuple[CompiledPlan, list[np.ndarray]]:
    """The plan of a test and its inputs; both ISAs share it."""
    test = onnx_node_tests.collect()[name]
    assert test is not None
    with tempfile.TemporaryDirectory() as folder:
        model, inputs = onnx_node_tests.load(test, Path(folder))
        arrays = [inputs[name].copy() for name in model.input_names]
        return compile_plan(model), arrays


@pytest.mark.parametrize(("name", "isa"), _parameters())
def test_claimed(name: str, isa) -> None:
    test = onnx_node_tests.collect()[name]
    assert test is not None
    with np.errstate(all="ignore"):
        plan, arrays = _compiled(name)
        test.check(run_plan(plan, isa, arrays))
