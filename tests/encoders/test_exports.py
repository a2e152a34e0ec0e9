"""Encoders by both exporters of torch: interpreted at several sizes, and compiled, against torch and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparsec.compiler import Options, compile_file
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.program import load
from sparsec.verify import compare, onnxruntime_session

Arrays = dict[str, np.ndarray]
NAMES = (
    "bert", "distilbert", "roberta", "vit", "gpt2", "t5", "torch_encoder", "torch_encoder_pre_norm", "torch_attention",
    "sdpa", "sdpa_scaled", "sdpa_causal", "sdpa_boolean", "sdpa_additive",
)  # fmt: skip
EXAMPLE, OTHER = (2, 10), (3, 7)  # sequences and tokens
# onnxruntime takes Attention with a mask of one row for all queries only outside opset 23.
NEEDS_ROWS = ("roberta", "torch_encoder", "torch_encoder_pre_norm", "torch_attention", "sdpa_boolean")


def check(name: str, path: Path, runner: Callable[[Arrays], Arrays], sizes: tuple[int, int], opset: int) -> None:
    """The outputs of `runner` against torch's, and onnxruntime's."""
    from torch_exports import NETWORKS, outputs

    inputs = NETWORKS[name].inputs(sizes)
    arrays = {given: value.numpy() for given, value in inputs.items()}
    actual = runner(arrays)
    references = {"torch": dict(zip(actual, [value.numpy() for value in outputs(name, inputs)], strict=True))}
    if opset < 23 or name not in NEEDS_ROWS:
        session = onnxruntime_session(path)
        assert session is not None
        references["onnxruntime"] = session(arrays)
    for reference, expected in references.items():
        for comparison in compare(actual, expected, reference, 1e-4):
            assert comparison.passed, f"{sizes}: {comparison}"


def interpreter(path: Path, dims: dict[str, int]) -> Callable[[Arrays], Arrays]:
    """Runs a model with all symbols but `dims`."""
    model = import_model(path, dims=dims)

    def runner(arrays: Arrays) -> Arrays:
        return dict(zip(model.output_names, run(model, {n: arrays[n] for n in model.input_names}), strict=True))

    return runner


def check_interpreted(name: str, path: Path, opset: int, dynamic: bool, older: bool) -> None:
    """Where it is dynamic, with symbols and two sizes; the older exporter bakes some sizes into the graph."""
    from torch_exports import NETWORKS

    network = NETWORKS[name]
    example = network.sizes(network.inputs(EXAMPLE))
    baked = {symbol: example[symbol] for symbol in network.baked if older and dynamic}
    runner = interpreter(path, baked)
    for batch, length in (EXAMPLE, OTHER) if dynamic else (EXAMPLE,):
        check(name, path, runner, (batch, baked.get("seq", length)), opset)


@pytest.mark.parametrize(
    ("opset", "dynamic"), [(14, False), (17, True), pytest.param(20, True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", NAMES)
def test_older_exporter(name: str, opset: int, dynamic: bool, exported) -> None:
    path = exported(name, "torchscript", opset, dynamic)
    check_interpreted(name, path, opset, dynamic, older=True)


def _newer() -> list:
    """Each network in one of these forms, as the exporter takes seconds; two of them are not slow."""
    forms = ((18, True), (20, False), (23, True))
    slow = [(name, *forms[index % 3]) for index, name in enumerate(NAMES[1:])]
    quick = [("bert", 18, True), ("sdpa_boolean", 23, True)]
    return [*quick, *(pytest.param(*case, marks=pytest.mark.slow) for case in slow)]


@pytest.mark.parametrize(("name", "opset", "dynamic"), _newer())
def test_newer_exporter(name: str, opset: int, dynamic: bool, exported) -> None:
    path = exported(name, "dynamo", opset, dynamic)
    check_interpreted(name, path, opset, dynamic, older=False)


@pytest.mark.parametrize(
    ("name", "exporter", "opset"),
    [
        ("bert", "torchscript", 17),
        *(pytest.param(name, "torchscript", 17, marks=pytest.mark.slow) for name in NAMES[1:]),
        *(pytest.param(name, "dynamo", 23, marks=pytest.mark.slow) for name in ("t5", "sdpa_causal", "sdpa_boolean")),
    ],
)
def test_compiled(name: str, exporter: str, opset: int, exported, tmp_path: Path) -> None:
    """With all symbols fixed by --dim, at another size than the example's where the file allows."""
    from torch_exports import NETWORKS

    network, path = NETWORKS[name], exported(name, exporter, opset)
    sizes = EXAMPLE if exporter == "torchscript" and network.baked else OTHER
    dims = network.sizes(network.inputs(sizes))
    result = compile_file(path, tmp_path / "m.so", Options(target="x86", dims=dims))
    program = load(result.output)

    def runner(arrays: Arrays) -> Arrays:
        return program.run(**{port.name: arrays[port.name] for port in program.inputs})

    check(name, path, runner, sizes, opset)


def test_names() -> None:
    pytest.importorskip("torch")
    from torch_exports import NETWORKS

    assert tuple(NETWORKS) == NAMES
