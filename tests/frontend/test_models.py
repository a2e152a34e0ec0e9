"""Whole models: the interpreter's outputs against onnxruntime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import zoo

from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.ir import type_of


def reference(path: Path, inputs: dict[str, np.ndarray]) -> list:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # idle threads would spin while other tests want the cores
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def compare(path: Path, shape: tuple[int, ...], **given) -> None:
    model = import_model(path, **given)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    (actual,) = run(model, [x])
    (expected,) = reference(path, {model.input_names[0]: x})
    assert actual.shape == expected.shape
    assert np.isfinite(expected).all()
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", zoo.LIGHT)
def test_light_models(name: str) -> None:
    compare(zoo.light_model(name), (1, 3, 224, 224))


def test_nudenet() -> None:
    compare(zoo.nudenet(), (1, 3, 320, 320), shapes={"images": (1, 3, 320, 320)})


@pytest.mark.parametrize("options", [{}, {"sparsity": 0.9}, {"batch_norm": True}], ids=["dense", "u90", "batch_norm"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_zoo(name: str, options: dict, tmp_path: Path) -> None:
    compare(zoo.save(tmp_path, name, size=64, width=0.25, classes=10, **options), (1, 3, 64, 64))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_zoo_keeps_a_symbolic_batch(name: str, tmp_path: Path) -> None:
    path = zoo.save(tmp_path, name, size=32, width=0.25, classes=10, batch="batch")
    model = import_model(path)
    assert str(type_of(model.main.body.block.args[0]).shape[0]) == "batch"
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    np.testing.assert_allclose(run(model, [x])[0], reference(path, {"input": x})[0], rtol=1e-3, atol=1e-4)


def test_nudenet_keeps_a_symbolic_batch() -> None:
    model = import_model(zoo.nudenet(), dims={"height": 320, "width": 320})
    assert [str(dim) for dim in type_of(model.main.body.block.args[0]).shape] == ["batch", "3", "320", "320"]
    x = np.random.default_rng(0).standard_normal((2, 3, 320, 320), np.float32)
    (expected,) = reference(zoo.nudenet(), {"images": x})
    assert np.abs(run(model, [x])[0] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_pruning_keeps_the_share_of_zeros(tmp_path: Path) -> None:
    model = import_model(zoo.save(tmp_path, "mobilenet_v1", size=32, width=0.25, sparsity=0.9))
    pointwise = [array for array in model.weights.values() if array.ndim == 4 and array.shape[1:] != (1, 3, 3)][1:]
    assert all(abs((array == 0).mean() - 0.9) < 0.01 for array in pointwise)
