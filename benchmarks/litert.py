"""Writes the zoo's models as TensorFlow Lite files, with sparse weights where they are pruned, for LiteRT.js.

    python benchmarks/litert.py MODEL.onnx MODEL.tflite

XNNPACK takes its sparse path where weights of 1x1 convolutions are encoded sparsely and come through DENSIFY, windows
are 3x3 with one pixel of padding on all sides, and the first layer has three channels.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import tflite
from onnx import numpy_helper

PRUNED = 0.5  # zeros from which on weights are encoded sparsely
ACTIVATIONS = {None: 0, "Relu": 1, "Clip": 3}  # none, RELU, RELU6


class Writer:
    """A model in the making: tables are written as they come."""

    def __init__(self) -> None:
        self.b = flatbuffers.Builder(1 << 20)
        self.buffers = [self.table("Buffer")]
        self.tensors: list[int] = []
        self.operators: list[int] = []
        self.codes: list[int] = []

    def table(self, kind: str, **fields: int) -> int:
        """A table of a kind of the schema; offsets and scalars alike are given by field."""
        getattr(tflite, f"{kind}Start")(self.b)
        for field, value in fields.items():
            getattr(tflite, f"{kind}Add{field}")(self.b, value)
        return getattr(tflite, f"{kind}End")(self.b)

    def offsets(self, values: Sequence[int]) -> int:
        self.b.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.b.PrependUOffsetTRelative(value)
        return self.b.EndVector()

    def ints(self, values: Sequence[int] | np.ndarray) -> int:
        return self.b.CreateNumpyVector(np.asarray(values, np.int32))

    def tensor(self, shape: Sequence[int], data: np.ndarray | None = None, sparsity: int | None = None) -> int:
        """The index of a new tensor of f32 or i32."""
        buffer = 0
        if data is not None:
            self.b.StartVector(1, data.nbytes, 16)
            self.b.head -= data.nbytes
            self.b.Bytes[self.b.head : self.b.head + data.nbytes] = data.tobytes()
            content = self.b.EndVector()
            buffer = len(self.buffers)
            self.buffers.append(self.table("Buffer", Data=content))
        name, sizes = self.b.CreateString(f"t{len(self.tensors)}"), self.ints(shape)
        kind = tflite.TensorType.INT32 if data is not None and data.dtype == np.int32 else tflite.TensorType.FLOAT32
        more = {} if sparsity is None else {"Sparsity": sparsity}
        self.tensors.append(self.table("Tensor", Shape=sizes, Type=kind, Buffer=buffer, Name=name, **more))
        return len(self.tensors) - 1

    def operator(self, code: str, inputs: Sequence[int], output: int, options: str = "", **fields: int) -> None:
        number = getattr(tflite.BuiltinOperator, code)
        if number not in self.codes:
            self.codes.append(number)
        more = {}
        if options:
            kind = getattr(tflite.BuiltinOptions, options)
            more = {"BuiltinOptions": self.table(options, **fields), "BuiltinOptionsType": kind}
        lists = self.ints(inputs), self.ints([output])
        index = self.codes.index(number)
        self.operators.append(self.table("Operator", OpcodeIndex=index, Inputs=lists[0], Outputs=lists[1], **more))

    def weight(self, array: np.ndarray) -> int:
        """A constant; a pruned one lies as compressed rows along its last axis, and DENSIFY makes it dense."""
        if np.count_nonzero(array) > (1 - PRUNED) * array.size:
            return self.tensor(array.shape, array)
        rows = array.reshape(-1, array.shape[-1])
        counts = np.concatenate([[0], np.cumsum(np.count_nonzero(rows, axis=1))])
        indices = np.nonzero(rows)[1]
        segments, places = (self.table("Int32Vector", Values=self.ints(values)) for values in (counts, indices))
        levels = [self.table("DimensionMetadata", Format=0, DenseSize=size) for size in array.shape[:-1]]
        kinds = {"ArraySegmentsType": 1, "ArrayIndicesType": 1}
        levels += [self.table("DimensionMetadata", Format=1, ArraySegments=segments, ArrayIndices=places, **kinds)]
        lists = self.ints(range(array.ndim)), self.offsets(levels)
        sparsity = self.table("SparsityParameters", TraversalOrder=lists[0], DimMetadata=lists[1])
        dense = self.tensor(array.shape)
        self.operator("DENSIFY", [self.tensor(array.shape, rows[rows != 0], sparsity)], dense, "DensifyOptions")
        return dense

    def finish(self, source: int, result: int) -> bytes:
        lists = self.offsets(self.tensors), self.ints([source]), self.ints([result]), self.offsets(self.operators)
        graph = self.table("SubGraph", Tensors=lists[0], Inputs=lists[1], Outputs=lists[2], Operators=lists[3])
        codes = [
            self.table("OperatorCode", BuiltinCode=code, DeprecatedBuiltinCode=min(code, 127), Version=1)
            for code in self.codes
        ]
        lists = self.offsets(codes), self.offsets([graph]), self.offsets(self.buffers)
        model = self.table("Model", Version=3, OperatorCodes=lists[0], Subgraphs=lists[1], Buffers=lists[2])
        self.b.Finish(model, b"TFL3")
        return bytes(self.b.Output())


class Converter:
    """Walks a graph of Conv, Relu, Clip, Add, MaxPool, GlobalAveragePool, Flatten and Gemm; channels come last."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph, self.w = model.graph, Writer()
        self.constants = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
        self.users = {name: node for node in model.graph.node for name in node.input}
        source = model.graph.input[0]
        n, c, h, w = (dim.dim_value for dim in source.type.tensor_type.shape.dim)
        self.shapes: dict[str, tuple[int, ...]] = {source.name: (n, h, w, c)}
        self.values = {source.name: self.w.tensor((n, h, w, c))}

    def convert(self) -> bytes:
        for node in self.graph.node:
            if node.output[0] not in self.values:
                getattr(self, f"_{node.op_type.lower()}")(
                    node, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                )
        return self.w.finish(self.values[self.graph.input[0].name], self.values[self.graph.output[0].name])

    def _result(self, node: onnx.NodeProto, shape: tuple[int, ...], fuse: bool = True) -> tuple[int, int]:
        """The result's tensor and the activation that follows and is fused."""
        user = self.users.get(node.output[0])
        after = user if fuse and user is not None and user.op_type in ACTIVATIONS else None
        value = self.w.tensor(shape)
        for each in (node, after):
            if each is not None:
                self.values[each.output[0]], self.shapes[each.output[0]] = value, shape
        return value, ACTIVATIONS[after.op_type if after is not None else None]

    def _padded(self, name: str, pad: int) -> int:
        n, h, w, c = self.shapes[name]
        value = self.w.tensor((n, h + 2 * pad, w + 2 * pad, c))
        pads = self.w.tensor((4, 2), np.array([[0, 0], [pad, pad], [pad, pad], [0, 0]], np.int32))
        self.w.operator("PAD", [self.values[name], pads], value, "PadOptions")
        return value

    def _window(self, node: onnx.NodeProto, attributes: dict, kernel: int) -> tuple[int, dict[str, int], int]:
        """The source, the fields of the window, and the size of the result."""
        stride, pad = attributes.get("strides", [1])[0], attributes.get("pads", [0])[0]
        size = (self.shapes[node.input[0]][1] + 2 * pad - kernel) // stride + 1
        same = pad and stride == 1
        source = self._padded(node.input[0], pad) if pad and not same else self.values[node.input[0]]
        return source, {"Padding": 0 if same else 1, "StrideW": stride, "StrideH": stride}, size

    def _conv(self, node: onnx.NodeProto, attributes: dict) -> None:
        weight = self.constants[node.input[1]]
        outputs, channels, kernel, _ = weight.shape
        n, *_ = self.shapes[node.input[0]]
        source, window, size = self._window(node, attributes, kernel)
        depthwise = attributes.get("group", 1) > 1
        assert not depthwise or channels == 1
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        filters = self.w.weight(np.ascontiguousarray(weight.transpose(order)))
        bias = self.w.tensor((outputs,), self.constants[node.input[2]])
        value, activation = self._result(node, (n, size, size, outputs))
        kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        more = {"DepthMultiplier": 1} if depthwise else {}
        more |= {"DilationWFactor": 1, "DilationHFactor": 1, "FusedActivationFunction": activation}
        code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.w.operator(code, [source, filters, bias], value, kind, **window, **more)

    def _add(self, node: onnx.NodeProto, attributes: dict) -> None:
        value, activation = self._result(node, self.shapes[node.input[0]])
        operands = [self.values[name] for name in node.input]
        self.w.operator("ADD", operands, value, "AddOptions", FusedActivationFunction=activation)

    def _maxpool(self, node: onnx.NodeProto, attributes: dict) -> None:
        kernel = attributes["kernel_shape"][0]
        source, window, size = self._window(node, attributes, kernel)
        n, *_, c = self.shapes[node.input[0]]
        value, _ = self._result(node, (n, size, size, c), fuse=False)
        self.w.operator(
            "MAX_POOL_2D", [source], value, "Pool2DOptions", FilterWidth=kernel, FilterHeight=kernel, **window
        )

    def _globalaveragepool(self, node: onnx.NodeProto, attributes: dict) -> None:
        n, *_, c = self.shapes[node.input[0]]
        axes = self.w.tensor((2,), np.array([1, 2], np.int32))
        value, _ = self._result(node, (n, 1, 1, c), fuse=False)
        self.w.operator("MEAN", [self.values[node.input[0]], axes], value, "ReducerOptions", KeepDims=1)

    def _flatten(self, node: onnx.NodeProto, attributes: dict) -> None:
        n, *_, c = self.shapes[node.input[0]]
        value, _ = self._result(node, (n, c), fuse=False)
        shape = self.w.tensor((2,), np.array([n, c], np.int32))
        self.w.operator("RESHAPE", [self.values[node.input[0]], shape], value)

    def _gemm(self, node: onnx.NodeProto, attributes: dict) -> None:
        weight = self.constants[node.input[1]]
        weight = weight if attributes.get("transB") else weight.T
        filters = self.w.tensor(weight.shape, np.ascontiguousarray(weight))
        bias = self.w.tensor((len(weight),), self.constants[node.input[2]])
        n, _ = self.shapes[node.input[0]]
        value, _ = self._result(node, (n, len(weight)))
        inputs = [self.values[node.input[0]], filters, bias]
        self.w.operator("FULLY_CONNECTED", inputs, value, "FullyConnectedOptions", FusedActivationFunction=0)


def convert(model: Path) -> bytes:
    """The model as a TensorFlow Lite file, its input in NHWC."""
    return Converter(onnx.load(model)).convert()


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(convert(Path(sys.argv[1])))
