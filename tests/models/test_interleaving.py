"""Interleaved images of batches: whole models, with regions of all sizes, against images that lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import zoo
from graphs import random_model
from onnx import TensorProto, helper, numpy_helper
from plan_runner import check_on_host, check_on_target

from sparsec.compiler import Options, compile_file
from sparsec.model import Model
from sparsec.program import load
from sparsec.targets.isa import host_isas
from sparsec.verify import random_inputs

BATCHES = (2, 3, 16, 8, 17, 6, 32)
SMALL = {"size": 64, "width": 0.25, "classes": 20}


@pytest.fixture
def always() -> Iterator[None]:
    """Regions are interleaved wherever that is possible."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsec.passes.interleave_images._Prediction.gains", lambda self: True)
        yield


def compiled(path: Path, output: Path, interleave: bool, **options) -> tuple[Path, int]:
    """An artifact, and how many values it interleaves."""
    manifest = compile_file(path, output, Options(target="x86", interleave=interleave, **options)).manifest
    return output, sum(layer["kernel"].startswith("interleave") for layer in manifest["layers"])


@pytest.mark.parametrize(
    ("name", "images", "threads"),
    [("resnet50", 16, 2), ("mobilenet_v2", 17, 1), ("efficientnet_b0", 2, 1)],
)
def test_models(name: str, images: int, threads: int, tmp_path: Path, always) -> None:
    path = zoo.save(tmp_path, name, sparsity=0.9, batch=images, **SMALL)
    joined, count = compiled(path, tmp_path / "joined.so", True, threads=threads)
    apart, none = compiled(path, tmp_path / "apart.so", False)
    assert count > 0
    assert none == 0
    program = load(joined, threads=threads)
    inputs = random_inputs(program.inputs)
    for key, expected in load(apart).run(**inputs).items():
        np.testing.assert_allclose(program.run(**inputs)[key], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def strided_with_residual(path: Path, images: int) -> Path:
    """A strided convolution of one tap to which is added what has the size of its result, and one that follows."""
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in (("w", (8, 6, 1, 1)), ("v", (8, 8, 3, 3)))
    }
    nodes = [
        helper.make_node("Relu", ["r"], ["added"]),
        helper.make_node("Conv", ["x", "w"], ["short"], strides=[2, 2]),
        helper.make_node("Add", ["short", "added"], ["sum"]),
        helper.make_node("Conv", ["sum", "v"], ["y"], pads=[1] * 4),
    ]
    shapes = {"x": [images, 6, 14, 14], "r": [images, 8, 7, 7], "y": [images, 8, 7, 7]}
    x, r, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    initial = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "strided", [x, r], [y], initial)), path)
    return path


def test_strided_layer_with_residual(tmp_path: Path, always) -> None:
    path = strided_with_residual(tmp_path / "m.onnx", 3)
    joined, count = compiled(path, tmp_path / "joined.so", True)
    apart, _ = compiled(path, tmp_path / "apart.so", False)
    assert count == 2
    program = load(joined)
    inputs = random_inputs(program.inputs)
    expected = load(apart).run(**inputs)["y"]
    np.testing.assert_allclose(program.run(**inputs)["y"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_last_stage_of_resnet(tmp_path: Path) -> None:
    """7 × 7 pixels are interleaved by prediction, and of larger images those that their first layers read."""
    for images, wanted in ((16, 2), (3, 2), (1, 0)):
        path = zoo.save(tmp_path, "resnet50", sparsity=0.9, batch=images)
        manifest = compile_file(path, tmp_path / "x.so", Options(target="x86")).manifest
        kernels = [layer["kernel"] for layer in manifest["layers"]]
        assert sum(kernel.startswith("interleave") for kernel in kernels) == wanted
        convs = [layer["shapes"] for layer in manifest["layers"] if "shapes" in layer]
        assert sum(shapes.endswith(f"x7x{7 * images}") for shapes in convs) == (8 if images > 1 else 9)


def random_batches(seed: int) -> tuple[Model, list[np.ndarray]]:
    """A random network on two batches."""
    first, second = (BATCHES[(seed + i) % len(BATCHES)] for i in range(2))
    return random_model(seed, 25, shapes=[(first, 3, 8, 8), (second, 4, 7, 5)])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.skipif(not host_isas(), reason="no x86 to run on")
def test_random_networks(seed: int, always) -> None:
    model, inputs = random_batches(seed)
    check_on_host(model, inputs, f"seed {seed}")


@pytest.mark.parametrize("name", ["arm", "wasm"])
def test_other_targets(name: str, always) -> None:
    check_on_target(name, [random_batches(seed) for seed in range(100, 106)])
