"""Two ways to run one op: the interpreter's, and onnxruntime's on a model of one node."""

import numpy as np
import onnx
import onnxruntime
import pytest
from xdsl.ir import Block

from sparsec.interpreter import evaluate_op
from sparsec.ir import TensorType
from sparsec.ir.types import element_of
from sparsec.weights import WeightStore


def _meaning(build, *arrays):
    """The results of the op that `build` makes of values with the types of `arrays`."""
    block = Block(arg_types=[TensorType(array.shape, element_of(array.dtype)) for array in arrays])
    op = build(*block.args)
    block.add_op(op)
    op.verify()
    return evaluate_op(op, list(arrays), WeightStore())


def _node(kind, *arrays, outputs=1, opset=18, **attributes):
    """The results of an ONNX node in onnxruntime; an array of None is an input left out."""
    names = [f"x{index}" if array is not None else "" for index, array in enumerate(arrays)]
    results = [f"y{index}" for index in range(outputs)]
    fed = {name: array for name, array in zip(names, arrays, strict=True) if name}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, names, results, **attributes)],
        "one_node",
        [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in results],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, fed)


@pytest.fixture
def meaning():
    return _meaning


@pytest.fixture
def node():
    return _node


@pytest.fixture
def random():
    """Normal f32 arrays of any shape, the same on every run."""
    generator = np.random.default_rng(0)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)
