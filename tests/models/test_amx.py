"""Whole models of f32 with kernels on AMX's tiles, on every ISA of their artifacts, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zoo
from whole_models import compile_and_compare, write_model

from sparsec.targets.isa import AVX512_TILES, host_isas

pytestmark = pytest.mark.skipif(AVX512_TILES not in host_isas(), reason="this CPU has no AMX")
ISAS = ("avx512-amx", "avx512", "avx2")

# 1×1 layers of several panels and of one, parts of a concatenation, a strided window, a residual, several images.
MODEL = """g (float[2, 256, 28, 28] x) => (float[2, 160, 14, 14] y) {
  a = Conv (x, w)
  b = Conv (x, v)
  c = Concat <axis = 1> (a, b)
  d = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (c, u)
  e = Conv (d, t)
  f = Add (e, d)
  y = Relu (f)
}"""
WEIGHTS = {"w": (128, 256, 1, 1), "v": (96, 256, 1, 1), "u": (160, 224, 3, 3), "t": (160, 160, 1, 1)}


def save(folder: Path) -> Path:
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(shape, np.float32) / 16 for name, shape in WEIGHTS.items()}
    return write_model(folder / "model.onnx", MODEL, arrays)


@pytest.mark.parametrize("threads", [1, 2])
def test_layers_on_tiles(threads: int, tmp_path: Path) -> None:
    result = compile_and_compare(save(tmp_path), tmp_path, 1e-5, ISAS, target="host", threads=(threads,))
    assert result.manifest["isas"] == list(ISAS)
    rows = [layer.get("row", "") for layer in result.manifest["layers"]]
    assert sum("_amx_" in row for row in rows) >= 3


def test_only_who_asks_gets_tiles(tmp_path: Path) -> None:
    """One choice of kernels is for all ISAs of an artifact, so that those for any x86 leave out what few CPUs have."""
    path = save(tmp_path)
    assert compile_and_compare(path, tmp_path, 1e-5, ISAS, target="x86").manifest["isas"] == ["avx512", "avx2"]
    alone = compile_and_compare(path, tmp_path, 1e-5, ISAS, target="x86:sapphirerapids")
    assert alone.manifest["isas"] == ["avx512-amx"]
    assert any("_amx_" in layer.get("row", "") for layer in alone.manifest["layers"])


def test_models_without_such_layers_are_as_without_amx(tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v2", size=64, width=0.25, classes=100, sparsity=0.95)
    result = compile_and_compare(path, tmp_path, 1e-5, ISAS, target="host", formats="sparse")
    rows = [layer.get("row", "") for layer in result.manifest["layers"]]
    assert ("avx512-amx" in result.manifest["isas"]) == any("_amx_" in row for row in rows)
