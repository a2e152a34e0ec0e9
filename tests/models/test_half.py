"""Whole models with products of f16 on ARM, under qemu, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import zoo
from whole_models import compile_and_compare

from sparsec.errors import UsageError
from sparsec.targets.registry import parse_target

TOLERANCE = 1e-2


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_small_mobilenet_v1(sparsity: float, tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v1", size=64, width=0.5, classes=100, sparsity=sparsity)
    there = {"isas": (None,), "threads": (1, 2)}
    result = compile_and_compare(path, tmp_path, TOLERANCE, target="arm+fp16", precision="f16", **there)
    assert "_f16_" in str(result.manifest["layers"])


@pytest.mark.parametrize("target", ["arm", "arm:cortex-a72", "x86", "wasm"])
def test_instructions_for_f16_are_asked_for(target: str) -> None:
    with pytest.raises(UsageError, match=r"\+fp16"):
        parse_target(target, "f16")
