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
    """All claimed tests; the first of each operator on both ISAs. The others, which are slow, on one in turn: what they
    add are attributes and ranks, which concern what comes before the kernels.
    """
    first = set(onnx_node_tests.by_operator().values())
    both, found = (AVX512, AVX2), []
    for index, name in enumerate(onnx_node_tests.claimed()):
        isas, marks = (both, ()) if name in first else (both[index % 2 :][:1], pytest.mark.slow)
        found += [pytest.param(name, isa, marks=marks, id=f"{name}-{isa.name}") for isa in isas]
    return found


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
