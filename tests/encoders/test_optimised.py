"""Encoders rewritten by onnxruntime's optimizers, the one of its sessions and the one for transformers."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sparsec.compiler import Options, compile_file
from sparsec.errors import UnsupportedModel
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.program import load
from sparsec.verify import compare, onnxruntime_session

TEXT = ("bert", "distilbert", "roberta", "gpt2", "t5")
NAMES = (*TEXT, "vit", "torch_encoder", "torch_encoder_pre_norm", "sdpa_boolean")
EXAMPLE = (2, 10)
slow = pytest.mark.slow


def optimise(path: Path, level: str, folder: Path) -> Path:
    """What a session writes at an optimisation level."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    target = folder / f"{path.stem}_{level}.onnx"
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return target


def optimise_transformer(path: Path, kind: str, folder: Path, multi_head: bool = False) -> Path:
    """What onnxruntime.transformers writes for models of a kind."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions(kind)
    options.use_multi_head_attention = multi_head
    logging.disable(logging.WARNING)
    optimised = optimize_model(str(path), kind, num_heads=4, hidden_size=32, optimization_options=options, opt_level=0)
    logging.disable(logging.NOTSET)
    target = folder / f"{path.stem}_{kind}.onnx"
    optimised.save_model_to_file(str(target))
    return target


def arrays_of(name: str) -> dict[str, np.ndarray]:
    from torch_exports import NETWORKS

    return {given: value.numpy() for given, value in NETWORKS[name].inputs(EXAMPLE).items()}


def check(path: Path, original: Path, arrays: dict[str, np.ndarray], compiled: Path | None = None) -> None:
    """The optimised model against itself in onnxruntime, or the original one where onnxruntime refuses its own file;
    compiled where a file is named. The optimizer for ViT drops masks that it does not expect.
    """
    arrays = {port.name: arrays[port.name] for port in onnx.load(path).graph.input}
    session = onnxruntime_session(path) or onnxruntime_session(original)
    assert session is not None
    expected = session(arrays)
    if compiled is None:
        model = import_model(path)
        actual = dict(zip(model.output_names, run(model, arrays), strict=True))
    else:
        shapes = {name: array.shape for name, array in arrays.items()}
        actual = load(compile_file(path, compiled, Options(target="x86", shapes=shapes)).output).run(**arrays)
    for comparison in compare(actual, expected, "onnxruntime", 1e-4):
        assert comparison.passed, comparison


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
@pytest.mark.parametrize("name", NAMES)
def test_sessions(name: str, level: str, exported, tmp_path: Path) -> None:
    original = exported(name, "torchscript", 17, False)
    path = optimise(original, level, tmp_path)
    if (name, level) == ("vit", "ALL"):  # its convolution's weights lie as this CPU wants them
        with pytest.raises(UnsupportedModel, match="save the model with ORT_ENABLE_EXTENDED instead of ALL"):
            import_model(path)
        return
    check(path, original, arrays_of(name))


def test_sessions_fuse(exported, tmp_path: Path) -> None:
    """These tests see the operators that they are for."""
    cases = (("bert", False), ("bert", True), ("gpt2", False))
    files = [optimise(exported(name, "torchscript", 17, dynamic), "EXTENDED", tmp_path) for name, dynamic in cases]
    found = set().union(*map(operators, files))
    assert not {"BiasGelu", "FastGelu", "FusedGemm", "FusedMatMul", "Gelu", "SkipLayerNormalization"} - found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["bert", *(pytest.param(kind, marks=slow) for kind in ("gpt2", "vit", "t5"))])
def test_transformers_optimizer(kind: str, name: str, exported, tmp_path: Path) -> None:
    original = exported(name, "torchscript", 17, not name.startswith("torch"))
    check(optimise_transformer(original, kind, tmp_path), original, arrays_of(name))


@pytest.mark.parametrize("multi_head", [False, True])
def test_fused_attention(multi_head: bool, exported, tmp_path: Path) -> None:
    original = exported("bert", "torchscript", 14)
    path = optimise_transformer(original, "bert", tmp_path, multi_head)
    found = operators(path)
    assert found["MultiHeadAttention" if multi_head else "Attention"] == 2
    assert found["EmbedLayerNormalization"] == 1
    check(path, original, arrays_of("bert"), tmp_path / "m.so")


@slow
@pytest.mark.parametrize("name", ["roberta", "t5", "vit", "torch_encoder"])
def test_compiled(name: str, exported, tmp_path: Path) -> None:
    original = exported(name, "torchscript", 17, False)
    check(optimise(original, "EXTENDED", tmp_path), original, arrays_of(name), tmp_path / "m.so")
