"""Models whose sizes are symbols, and runs of them for sizes in range between guards, against onnxruntime."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from artifact.test_guards import guarded
from encoders import Geometry, Options, _bert

from sparsec.artifact import read_artifact
from sparsec.run_sizes import sizes_of
from sparsec.verify import onnxruntime_session, relative_error

MLP = """mlp (float[batch, 48] x) => (float[batch, 10] y) {
    h = Gemm<transB=1>(x, w0, b0)
    r = Relu(h)
    s = Gemm<transB=1>(r, w1, b1)
    y = Softmax<axis=-1>(s)
}"""
CNN = """cnn (float[batch, 3, 24, 24] x) => (float[batch, 7] y, float[batch, 24, 12, 12] image) {
    a = Conv<pads=[1, 1, 1, 1]>(x, c0)
    b = Relu(a)
    c = Conv<pads=[1, 1, 1, 1], strides=[2, 2], group=16>(b, c1)
    d = Clip(c, zero, six)
    squeezed = GlobalAveragePool(d)
    inner = Conv(squeezed, c4, b4)
    gate = Sigmoid(inner)
    gated = Mul(d, gate)
    image = Conv(gated, c2)
    e = Conv<pads=[1, 1, 1, 1]>(image, c3)
    f = Add(e, image)
    large = Resize<mode="nearest">(f, , doubled)
    p = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]>(large)
    g = GlobalAveragePool(p)
    flat = Flatten(g)
    y = Gemm<transB=1>(flat, w2, b2)
}"""
# What encoders consist of beside linear layers: pooling under a mask, a first token, positions, attention by hand.
PIECES = """pieces (float[batch, seq, 32] x, int64[batch, seq] mask) => (float[batch, 32] mean, float[batch, 32] first,
    float[batch, seq, 32] placed, float[batch, seq, 32] attended, float[seq, batch] turned, bool[batch, seq] longer) {
    real = Cast<to=1>(mask)
    column = Unsqueeze(real, minus)
    kept = Mul(x, column)
    total = ReduceSum<keepdims=0>(kept, one)
    count = ReduceSum<keepdims=0>(column, one)
    least = Clip(count, tiny)
    mean = Div(total, least)
    token = Gather<axis=1>(x, zero_index)
    dense = Gemm<transB=1>(token, w3, b3)
    first = Tanh(dense)
    shape = Shape(x)
    length = Slice(shape, one, two)
    positions = Slice(table, start, length)
    placed = Add(x, positions)
    batch = Slice(shape, start, one)
    target = Concat<axis=0>(batch, length, heads)
    query = Reshape(placed, target)
    queries = Transpose<perm=[0, 2, 1, 3]>(query)
    keys = Transpose<perm=[0, 2, 3, 1]>(query)
    products = MatMul(queries, keys)
    weights = Softmax<axis=-1>(products)
    values = MatMul(weights, queries)
    joined = Transpose<perm=[0, 2, 1, 3]>(values)
    back = Concat<axis=0>(batch, length, width)
    attended = Reshape(joined, back)
    last = ReduceMax<axes=[2], keepdims=0>(x)
    turned = Transpose<perm=[1, 0]>(last)
    longer = Greater(mask, zero_index)
}"""
_SHAPES = {
    "w0": (64, 48),
    "b0": (64,),
    "w1": (10, 64),
    "b1": (10,),
    "c0": (16, 3, 3, 3),
    "c1": (16, 1, 3, 3),
    "c2": (24, 16, 1, 1),
    "c3": (24, 24, 3, 3),
    "c4": (16, 16, 1, 1),
    "b4": (16,),
    "w2": (7, 24),
    "b2": (7,),
    "w3": (32, 32),
    "b3": (32,),
    "table": (128, 32),
}
_CONSTANTS = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "tiny": np.float32(1e-9),
    "minus": np.array([-1]),
    "start": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "doubled": np.array([1, 1, 2, 2], np.float32),
    "far": np.array([2**31 - 1]),
    "zero_index": np.array(0),
    "heads": np.array([4, 8]),
    "width": np.array([32]),
}


def write(folder: Path, text: str) -> Path:
    """A graph in ONNX's textual syntax as a file, with seeded weights."""
    graph = onnx.parser.parse_graph(text)
    used = {name for node in graph.node for name in node.input}
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, np.float32) * 0.3 for name, shape in _SHAPES.items() if name in used}
    arrays |= {name: array for name, array in _CONSTANTS.items() if name in used}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items())
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"{graph.name}.onnx"
    onnx.save(model, path)
    return path


def write_encoder(folder: Path) -> Path:
    """A small BERT with a pooler, as torch exports it."""
    path = folder / "encoder.onnx"
    onnx.save(_bert("encoder", Geometry(2, 32, 4, 64), 100, Options()), path)
    return path


def inputs(path: Path, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs of these sizes; of a mask, the last tokens of each sequence count as padding."""
    rng = np.random.default_rng([seed, *sizes.values()])
    arrays: dict[str, np.ndarray] = {}
    for port in onnx.load(path, load_external_data=False).graph.input:
        dims = port.type.tensor_type.shape.dim
        shape = [dim.dim_value or sizes[dim.dim_param] for dim in dims]
        if port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            arrays[port.name] = rng.standard_normal(shape, np.float32)
        elif "mask" in port.name:
            arrays[port.name] = (np.arange(shape[1]) < rng.integers(1, shape[1] + 1, (shape[0], 1))).astype(np.int64)
        else:
            arrays[port.name] = rng.integers(0, 2, shape)
    return arrays


@dataclass
class Guarded:
    """Runs of an artifact by its C ABI, each buffer between two pages without access: a fault ends the process."""

    path: Path
    threads: int = 1
    library: ctypes.CDLL = field(init=False)

    def __post_init__(self) -> None:
        self.library, self.artifact = ctypes.CDLL(str(self.path)), read_artifact(self.path)
        self.name = self.artifact.name

    def run(self, arrays: Sequence[np.ndarray], at_end: bool = True) -> dict[str, np.ndarray]:
        """The outputs; memory that nobody wrote holds NaNs."""
        sizes = sizes_of(self.artifact.inputs, arrays, self.artifact.ranges)
        given = (ctypes.c_int64 * len(sizes))(*sizes.values())
        size_for = self.library[f"{self.name}_workspace_size_for"]
        size_for.restype = ctypes.c_size_t
        ports = [port.at(sizes) for port in self.artifact.outputs]
        memories = [guarded(array.nbytes, at_end) for array in arrays]
        results = [guarded(port.nbytes, at_end) for port in ports]
        workspace = guarded(size_for(given), at_end)
        for memory, array in zip(memories, arrays, strict=True):
            memory[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for memory in (*results, workspace):
            memory[:] = 0xFF
        pointers = [(ctypes.c_void_p * len(some))(*(x.ctypes.data for x in some)) for some in (memories, results)]
        host = (ctypes.c_uint64 * 3)(0, 0, self.threads)
        code = self.library[f"{self.name}_run_sized"](given, *pointers, ctypes.c_void_p(workspace.ctypes.data), host)
        assert code == 0, f"code {code}"
        pairs = zip(results, ports, strict=True)
        return {port.name: memory.view(port.dtype).reshape(port.static_shape) for memory, port in pairs}


def worst(outputs: Mapping[str, np.ndarray], path: Path, arrays: Mapping[str, np.ndarray]) -> float:
    """The largest relative error from onnxruntime of any output."""
    session = onnxruntime_session(path)
    assert session is not None, "onnxruntime runs the model"
    return max(relative_error(outputs[name], value) for name, value in session(arrays).items())
