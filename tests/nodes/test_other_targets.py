"""One of ONNX's node tests for each operator, compiled for ARM and WebAssembly and run under qemu and wasmtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_node_tests
import pytest
from plan_runner import compile_plan, run_plans

from sparsec.targets.registry import parse_target

GROUPS = 8  # tests of a group share compiling, linking, and the processes that run them


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("name", ["arm", "wasm"])
def test_operators(name: str, group: int, tmp_path: Path) -> None:
    target = parse_target(name)
    tests, plans = [], []
    for test_name in list(onnx_node_tests.by_operator().values())[group::GROUPS]:
        test = onnx_node_tests.collect()[test_name]
        assert test is not None
        model, inputs = onnx_node_tests.load(test, tmp_path)
        arrays = [inputs[name] for name in model.input_names]
        tests.append(test)
        plans.append((compile_plan(model, target), arrays))
    failures = []
    for isa in target.isas:
        for test, outputs in zip(tests, run_plans(plans, isa), strict=True):
            try:
                with np.errstate(all="ignore"):
                    test.check(outputs)
            except AssertionError as error:
                failures.append(f"{test.name} on {isa.name}: {error}")
    assert not failures, "\n".join(failures)
