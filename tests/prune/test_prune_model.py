"""`sparsec prune` on files: what is pruned, what is not, and that onnxruntime still runs the result."""

import numpy as np
import onnx
import onnxruntime
import pytest
import zoo
from onnx import TensorProto, helper, numpy_helper
from whole_models import write_model

from sparsec.errors import InvalidModel, UnsupportedModel, UsageError
from sparsec.prune import prune_model


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    return zoo.save(tmp_path_factory.mktemp("zoo"), "mobilenet_v1", size=32, width=0.25)


@pytest.mark.parametrize(
    ("pattern", "sparsity", "density"),
    [("unstructured", 0.9, 0.1), ("4x1", 0.75, 0.25), ("2:4", None, 0.5), ("channel", 0.5, 0.5)],
)
def test_pruned_model_runs_and_has_the_density(mobilenet, tmp_path, pattern, sparsity, density):
    output = tmp_path / "pruned.onnx"
    report = prune_model(mobilenet, pattern, sparsity, output)
    assert all(layer["density"] == pytest.approx(density, abs=0.03) for layer in report["layers"])
    assert [file.name for file in tmp_path.iterdir()] == ["pruned.onnx"]
    pruned = {t.name: numpy_helper.to_array(t) for t in onnx.load(output).graph.initializer}
    dense = {t.name: numpy_helper.to_array(t) for t in onnx.load(mobilenet).graph.initializer}
    changed = [name for name in dense if not np.array_equal(dense[name], pruned[name])]
    assert len(changed) == len(report["layers"])
    assert not any(dense[name].ndim == 4 and dense[name].shape[1] in (1, 3) for name in changed), "depthwise, first"
    session = onnxruntime.InferenceSession(output)
    assert np.isfinite(session.run(None, {"input": np.ones((1, 3, 32, 32), np.float32)})[0]).all()


def test_skipped_layers_stay(mobilenet, tmp_path):
    report = prune_model(mobilenet, "unstructured", 0.9, tmp_path / "pruned.onnx", skip=["fc"])
    assert "fc" not in [layer["node"] for layer in report["layers"]]
    with pytest.raises(UsageError, match="no such layer"):
        prune_model(mobilenet, "unstructured", 0.9, tmp_path / "pruned.onnx", skip=["nothing"])


def test_external_data_and_matmul_orientation(tmp_path):
    weight = np.random.default_rng(0).standard_normal((64, 32), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "linear")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])],
        [numpy_helper.from_array(weight, "w")],
    )
    source = tmp_path / "in" / "model.onnx"
    source.parent.mkdir()
    onnx.save(helper.make_model(graph), source, save_as_external_data=True, location="w.bin", size_threshold=0)
    prune_model(source, "4x1", 0.5, tmp_path / "out" / "model.onnx")
    pruned = numpy_helper.to_array(onnx.load(tmp_path / "out" / "model.onnx").graph.initializer[0])
    blocks = pruned.T.reshape(8, 4, 64).any(axis=1)  # rows of a block are outputs, the columns of the stored matrix
    assert blocks.mean() == 0.5
    assert np.count_nonzero(pruned) == pruned.size // 2


def test_constant_nodes_and_data_of_subgraphs(tmp_path):
    """Weights in Constant nodes have no name of their own; external data of an If's branches comes along."""
    weights = [numpy_helper.from_array(np.random.default_rng(i).standard_normal((8, 8), np.float32)) for i in range(2)]
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, [8])
    bias = numpy_helper.from_array(np.arange(8, dtype=np.float32), "bias")
    branches = [
        helper.make_graph([helper.make_node("Neg" if flip else "Identity", ["bias"], ["b"])], "b", [], [out], [bias])
        for flip in (False, True)
    ]
    graph = helper.make_graph(
        [
            *(helper.make_node("Constant", [], [f"w{i}"], value=weight) for i, weight in enumerate(weights)),
            helper.make_node("MatMul", ["x", "w0"], ["h"], "one"),
            helper.make_node("MatMul", ["h", "w1"], ["m"], "two"),
            helper.make_node("If", ["c"], ["b"], then_branch=branches[0], else_branch=branches[1]),
            helper.make_node("Add", ["m", "b"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    source = tmp_path / "in" / "model.onnx"
    source.parent.mkdir()
    onnx.save(model, source, save_as_external_data=True, location="w.bin", size_threshold=0, convert_attribute=True)
    report = prune_model(source, "unstructured", 0.5, tmp_path / "out" / "model.onnx")
    assert [layer["node"] for layer in report["layers"]] == ["one", "two"]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    (result,) = session.run(None, {"x": np.zeros((1, 8), np.float32), "c": np.array(False)})
    np.testing.assert_array_equal(result[0], -np.arange(8))


def test_wrong_calls_write_nothing(mobilenet, tmp_path):
    output = tmp_path / "pruned.onnx"
    with pytest.raises(UsageError, match="needs --sparsity"):
        prune_model(mobilenet, "unstructured", None, output)
    with pytest.raises(UsageError, match="leave --sparsity out"):
        prune_model(mobilenet, "2:4", 0.5, output)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(mobilenet.read_bytes()[:1000])
    with pytest.raises(InvalidModel):
        prune_model(broken, "2:4", None, output)
    assert not output.exists()


def test_two_convolutions_leave_no_channel_to_prune(tmp_path):
    weights = {name: np.ones((8, 8, 3, 3), np.float32) for name in ("v", "w")}
    text = "g (float[1,8,9,9] x) => (float[a,b,c,d] y) { h = Conv(x, v) y = Conv(h, w) }"
    source = write_model(tmp_path / "two.onnx", text, weights)
    with pytest.raises(UnsupportedModel, match="no layer to prune: channel keeps the first convolution"):
        prune_model(source, "channel", 0.5, tmp_path / "pruned.onnx")
    with pytest.raises(UnsupportedModel, match="all are in --skip"):
        prune_model(source, "2:4", None, tmp_path / "pruned.onnx", skip=["Conv_1"])
    assert prune_model(source, "2:4", None, tmp_path / "pruned.onnx")["layers"]


def test_a_model_without_layers_is_refused(tmp_path):
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", port[:1], port[1:])
    onnx.save(helper.make_model(graph), tmp_path / "relu.onnx")
    with pytest.raises(UnsupportedModel, match="no layer to prune"):
        prune_model(tmp_path / "relu.onnx", "2:4", None, tmp_path / "pruned.onnx")
