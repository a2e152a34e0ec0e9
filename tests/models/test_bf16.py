"""Whole models with --precision bf16, on every ISA of an x86 artifact, against onnxruntime's f32."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import zoo
from whole_models import compile_and_compare

import sparsec
from sparsec.compiler import Options, compile_file
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


@pytest.mark.skipif(not any(isa.tiles for isa in host_isas("bf16")), reason="only AMX makes bf16 the faster choice")
@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_zeros(tmp_path: Path, threads: int) -> None:
    """Everywhere in an artifact that has kernels of bf16, and nowhere else: the caller's own arithmetic keeps them."""
    shape = [1, 256, 28, 28]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["y"]),
        onnx.helper.make_node("Mul", ["x", "large"], ["z"]),
    ]
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((256, 256, 1, 1), np.float32), "large": np.float32([1e30])}
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y", "z")]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "denormals", ports[:1], ports[1:], initializers)
    onnx.save(
        onnx.helper.make_model_gen_version(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "m.onnx"
    )
    options = Options(precision="bf16", threads=threads)
    compile_file(tmp_path / "m.onnx", tmp_path / "m.so", options)
    denormal = np.float32(1e-40)
    outputs = sparsec.load(tmp_path / "m.so").run(x=np.full(shape, denormal))
    assert not outputs["z"].any()
    assert denormal * np.float32(1e30) > 0
