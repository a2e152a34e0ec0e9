"""Whole models with --precision bf16, on every ISA of an x86 artifact, against onnxruntime's f32."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import zoo
from whole_models import compile_and_compare

from sparsec.targets.isa import host_isas
from sparsec.verify import BF16_TOLERANCE

ISAS = ("avx512-amx", "avx512-bf16", "avx512", "avx2")
SMALL = {"size": 64, "width": 0.25, "classes": 100}


@pytest.mark.parametrize(("name", "sparsity"), [*product(zoo.MODELS, [0.9]), ("mobilenet_v2", 0.0), ("resnet50", 0.0)])
def test_small_zoo(name: str, sparsity: float, tmp_path: Path) -> None:
    model = zoo.save(tmp_path, name, sparsity=sparsity, **SMALL)
    result = compile_and_compare(model, tmp_path, BF16_TOLERANCE, ISAS, precision="bf16")
    assert result.manifest["isas"] == list(ISAS)
    if any(isa.tiles for isa in host_isas("bf16")):
        assert any("_bf16_" in layer.get("row", "") for layer in result.manifest["layers"])


def test_small_nudenet(tmp_path: Path) -> None:
    shapes = {"images": (1, 3, 64, 96)}
    compile_and_compare(zoo.nudenet(), tmp_path, BF16_TOLERANCE, ISAS, precision="bf16", shapes=shapes)
