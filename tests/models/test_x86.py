"""Whole models compiled for x86, both ISAs with one thread and two, against onnxruntime."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import zoo
from whole_models import compile_and_compare, random_light_model

SMALL = {"size": 64, "width": 0.25, "classes": 100}


@pytest.mark.parametrize(("sparsity", "batch"), [(0.0, 3), (0.9, 1)])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_small_zoo(name: str, sparsity: float, batch: int, tmp_path: Path) -> None:
    compile_and_compare(zoo.save(tmp_path, name, sparsity=sparsity, batch=batch, **SMALL), tmp_path)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_batch_norm(name: str, tmp_path: Path) -> None:
    compile_and_compare(zoo.save(tmp_path, name, batch_norm=True, sparsity=0.8, **SMALL), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sparsity"), [*product(zoo.MODELS, [0.0, 0.8]), ("mobilenet_v1", 0.9), ("resnet50", 0.7)]
)
def test_zoo(name: str, sparsity: float, tmp_path: Path) -> None:
    compile_and_compare(zoo.save(tmp_path, name, sparsity=sparsity), tmp_path)


def test_all_layers_sparse(tmp_path: Path) -> None:
    """Sparse kernels also where they do not pay."""
    compile_and_compare(zoo.save(tmp_path, "resnet50", sparsity=0.5, **SMALL), tmp_path, formats="sparse")


def test_small_nudenet(tmp_path: Path) -> None:
    compile_and_compare(zoo.nudenet(), tmp_path, shapes={"images": (1, 3, 64, 96)})


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 3, 320, 320), (2, 3, 320, 256)])
def test_nudenet(shape: tuple[int, ...], tmp_path: Path) -> None:
    compile_and_compare(zoo.nudenet(), tmp_path, shapes={"images": shape})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "shufflenet"])
def test_light_models(name: str, tmp_path: Path) -> None:
    """As they are: their constant weights are made by nodes. tests/frontend imports all of them."""
    compile_and_compare(zoo.light_model(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.LIGHT)
def test_light_models_with_random_weights(name: str, tmp_path: Path) -> None:
    compile_and_compare(random_light_model(name, tmp_path), tmp_path)
