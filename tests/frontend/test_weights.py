"""Weights stay in their files: views of maps, not copies; small equal ones are shared; nodes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.ir import MapOp, MatmulOp, WeightOp, node_name


def linear(folder: Path, weight: np.ndarray, **saving) -> Path:
    graph = onnx.parser.parse_graph("g (float[2, 64] x) => (float[2, 64] y) { h = MatMul(x, w) y = Add(h, b) }")
    constants = {"w": weight, "b": np.arange(64, dtype=np.float32)}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **saving)
    return path


def is_mapped(array: np.ndarray | None) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base  # pyright: ignore[reportAssignmentType]
    return array is not None


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    for saving in ({}, {"save_as_external_data": True, "size_threshold": 0, "location": "m.data"}):
        model = import_model(linear(tmp_path, weight, **saving))
        assert is_mapped(model.weights["w"])
        np.testing.assert_array_equal(model.weights["w"], weight)
        x = np.ones((2, 64), np.float32)
        np.testing.assert_allclose(run(model, [x])[0], x @ weight + np.arange(64), rtol=1e-5)


def test_ops_carry_the_names_of_their_nodes(tmp_path: Path) -> None:
    model = import_model(linear(tmp_path, np.ones((64, 64), np.float32)))
    names = {type(op): node_name(op) for op in model.main.body.block.ops}
    assert (names[MatmulOp], names[MapOp]) == ("MatMul_0", "Add_1")


def test_equal_small_constants_are_one(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[2] x) => (float[2] y) { h = Add(x, a) y = Mul(h, b) }")
    graph.initializer.extend(numpy_helper.from_array(np.ones(2, np.float32), name) for name in "ab")
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = import_model(path)
    assert sum(isinstance(op, WeightOp) for op in model.main.body.block.ops) == 1


def test_large_constants_are_not_made(tmp_path: Path) -> None:
    """Half a gigabyte of one number is a view of that number, until a kernel needs it."""
    graph = onnx.parser.parse_graph(
        "g (float[1] x) => (float[1] y) { c = ConstantOfShape(s) m = ReduceMax(c) y = Add(x, m) }"
    )
    graph.initializer.append(numpy_helper.from_array(np.array([2**27]), "s"))
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = import_model(path)
    assert all(array.nbytes <= 8 for array in model.weights.values())


def test_sparse_initializers_become_dense(tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[2, 3] x) => (float[2, 3] y) { y = Add(x, w) }")
    for indices in (np.array([1, 5]), np.array([[0, 1], [1, 2]])):
        del graph.sparse_initializer[:]
        sparse = graph.sparse_initializer.add(dims=[2, 3])
        sparse.values.CopyFrom(numpy_helper.from_array(np.array([7, 8], np.float32), "w"))
        sparse.indices.CopyFrom(numpy_helper.from_array(indices, "i"))
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        np.testing.assert_array_equal(import_model(path).weights["w"], [[0, 7, 0], [0, 0, 8]])


def test_model_functions_are_inlined(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.twice<times: float = 3.0>(x) }
        <domain: "local", opset_import: ["": 17, "local": 1]>
        twice <times>(a) => (b) { f = Constant<value_float: float = @times>() c = local.scale(a, f) b = Relu(c) }
        <domain: "local", opset_import: ["": 17]>
        scale (a, f) => (b) { b = Mul(a, f) }
    """)
    onnx.save(proto, tmp_path / "m.onnx")
    model = import_model(tmp_path / "m.onnx")
    assert [node_name(op) for op in model.main.body.block.ops if isinstance(op, MapOp)] == [
        "twice_0/scale_1/Mul_0",
        "twice_0/Relu_2",
    ]
    np.testing.assert_array_equal(run(model, [np.array([-1, 2], np.float32)])[0], [0, 6])
