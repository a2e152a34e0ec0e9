"""Whole models compiled for ARM and WebAssembly, run under qemu and wasmtime, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import zoo
from whole_models import compile_and_compare, random_light_model

ISAS = {"arm": (None,), "wasm": ("wasm-relaxed", "wasm")}
TARGETS = pytest.mark.parametrize("target", ISAS)


def check(path: Path, folder: Path, target: str) -> None:
    compile_and_compare(path, folder, target=target, isas=ISAS[target], threads=(1,))


@TARGETS
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_small_mobilenet_v1(target: str, sparsity: float, tmp_path: Path) -> None:
    check(zoo.save(tmp_path, "mobilenet_v1", size=64, width=0.5, classes=100, sparsity=sparsity), tmp_path, target)


@pytest.mark.slow
@TARGETS
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_small_zoo(target: str, name: str, tmp_path: Path) -> None:
    check(zoo.save(tmp_path, name, size=64, width=0.25, classes=100, sparsity=0.8), tmp_path, target)


@pytest.mark.slow
@TARGETS
def test_small_squeezenet(target: str, tmp_path: Path) -> None:
    check(random_light_model("squeezenet", tmp_path, size=64), tmp_path, target)


@pytest.mark.slow
@TARGETS
@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_light_models(target: str, name: str, tmp_path: Path) -> None:
    check(random_light_model(name, tmp_path), tmp_path, target)


@pytest.mark.slow
@TARGETS
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_mobilenet_v1(target: str, sparsity: float, tmp_path: Path) -> None:
    check(zoo.save(tmp_path, "mobilenet_v1", sparsity=sparsity), tmp_path, target)


@pytest.mark.slow
def test_threads_on_arm(tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v1", size=64, width=0.5, classes=100, sparsity=0.9)
    compile_and_compare(path, tmp_path, target="arm", isas=(None,), threads=(1, 2))
