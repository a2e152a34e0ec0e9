"""Whole models in tests: onnx's light models with random weights, and an artifact against onnxruntime."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import zoo
from onnx import NodeProto, helper, numpy_helper

from sparsec.compiler import Options, Result, compile_file
from sparsec.program import load
from sparsec.targets.isa import host_isas
from sparsec.verify import compare, onnxruntime_session, random_inputs

RUNS = 3  # of several threads, which take their pieces in another order each time


def random_light_model(name: str, folder: Path, size: int = 224) -> Path:
    """onnx's light model `name` with seeded weights in place of its constant ones, which hide most errors.

    Weights of layers keep the energy of what passes through; `size` is the height and width of the input.
    """
    model = onnx.load(zoo.light_model(name))
    graph, random = model.graph, np.random.default_rng(0)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type == 1}
    integers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == 7}
    kept = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(int(size) for size in integers[node.input[0]])
        else:
            kept.append(node)
    roles = _roles(kept)
    weights = [
        numpy_helper.from_array(_draw(*roles.get(key, ("", 0)), shape, random), key) for key, shape in shapes.items()
    ]
    constants = [tensor for tensor in graph.initializer if tensor.data_type != 1]
    for field, values in ((graph.node, kept), (graph.initializer, [*constants, *weights]), (graph.value_info, [])):
        del field[:]
        field.extend(values)
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = size
    path = folder / f"light_{name}.onnx"
    onnx.save(model, path)
    return path


def _roles(nodes: list[NodeProto]) -> dict[str, tuple[str, int]]:
    """The operator that reads each constant, and as which input; behind an Unsqueeze, its reader's."""
    roles: dict[str, tuple[str, int]] = {}
    for node in reversed(nodes):
        for index, name in enumerate(node.input):
            roles[name] = roles.get(node.output[0], ("", 0)) if node.op_type == "Unsqueeze" else (node.op_type, index)
    return roles


def _draw(op: str, index: int, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Weights of variance 2 / inputs, scales and variances near 1, all else small."""
    if op in ("Conv", "Gemm") and index == 1:
        deviation = math.sqrt(2 / math.prod(shape[1:]))
        return (random.standard_normal(shape) * deviation).astype(np.float32)
    if op == "Mul" or (op == "BatchNormalization" and index in (1, 4)):
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    return (0.1 * random.standard_normal(shape)).astype(np.float32)


def write_model(path: Path, text: str, constants: dict[str, np.ndarray] | None = None) -> Path:
    """Write a graph in ONNX's textual syntax as a model."""
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (constants or {}).items())
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def compile_and_compare(
    path: Path,
    folder: Path,
    tolerance: float = 1e-4,
    isas: tuple[str | None, ...] = ("avx512", "avx2"),
    threads: tuple[int, ...] = (1, 2),
    **options,
) -> Result:
    """Compile a model, run it on each ISA (None: the artifact's best) and number of threads, compare each output with
    onnxruntime's, and the arena with the lower bound of live tensors. ISAs that this CPU or the artifact lacks are left
    out.
    """
    options = {"target": "x86", "threads": max(threads), **options}
    result = compile_file(
        path, folder / f"{path.stem}{'.wasm' if 'wasm' in options['target'] else '.so'}", Options(**options)
    )
    session = onnxruntime_session(path)
    assert session is not None
    inputs = random_inputs(load(result.output).inputs)
    expected = session(inputs)
    assert all(np.isfinite(array).all() for array in expected.values())
    hosts = {host.name for host in host_isas("bf16")} & set(result.manifest["isas"])
    usable = [isa for isa in isas if isa is None or isa in hosts or isa.startswith("wasm")]
    for isa, count in product(usable, threads):
        program = load(result.output, threads=count, isa=isa)
        for _ in range(RUNS if count > 1 else 1):
            for comparison in compare(program.run(**inputs), expected, "onnxruntime", tolerance):
                assert comparison.passed, f"{isa}, {count} threads: {comparison}"
    assert result.manifest["arena_bytes"] <= 1.2 * result.manifest["arena_lower_bound_bytes"]
    return result
