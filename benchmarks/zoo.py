"""Models for tests and benchmarks: MobileNets, EfficientNet-B0, ResNet-50 of seeded weights; models of other packages.

Nothing here needs sparsec or the network.

    python benchmarks/zoo.py mobilenet_v1 --sparsity 0.9 -o mobilenet.onnx

Weights are He-initialised, so activations stay of order one through the whole network, pruned or not. BatchNorm is left
as nodes with random statistics, or folded into the convolutions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LIGHT = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]  # models of real structure and constant weights, in the onnx package


def light_model(name: str) -> Path:
    """One of onnx's own LIGHT models: input 1x3x224x224."""
    return _package("onnx") / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"


def nudenet() -> Path:
    """YOLOv8n of the nudenet package, real weights: input `images`, batch x 3 x height x width, multiples of 32."""
    return _package("nudenet") / "320n.onnx"


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is not installed: pip install 'sparsec[test]'")
    return Path(spec.origin).parent


@dataclass
class Options:
    """What a network of the zoo is made with.

    `sparsity` is the share of zeros in each prunable layer, by magnitude; the survivors are scaled up to keep the
    layer's norm. `batch` may be a symbol's name.
    """

    size: int = 224
    width: float = 1.0
    classes: int = 1000
    batch: int | str = 1
    sparsity: float = 0.0
    batch_norm: bool = False
    seed: int = 0
    opset: int = 17


def mobilenet_v1(**options) -> onnx.ModelProto:
    """Howard et al. 2017 (arXiv 1704.04861), ReLU; its 13 pointwise convolutions are prunable. See `Options`."""
    net = _Network("mobilenet_v1", Options(**options))
    x = net.conv("input", 3, net.wide(32), 3, 2, activation="Relu")
    channels = net.wide(32)
    for out, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        x = net.conv(x, channels, channels, 3, stride, groups=channels, activation="Relu")
        x = net.conv(x, channels, net.wide(out), 1, activation="Relu", prune=True)
        channels = net.wide(out)
    return net.finish(x, channels)


def mobilenet_v2(**options) -> onnx.ModelProto:
    """Sandler et al. 2018 (arXiv 1801.04381), ReLU6; its pointwise convolutions are prunable. See `Options`."""
    net = _Network("mobilenet_v2", Options(**options))
    channels = net.wide(32)
    x = net.conv("input", 3, channels, 3, 2, activation="Clip")
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, out, repeats, stride in plan:
        for index in range(repeats):
            x = _inverted_residual(net, x, channels, net.wide(out), expansion, stride if index == 0 else 1)
            channels = net.wide(out)
    last = max(1280, net.wide(1280)) if net.options.width >= 1 else net.wide(1280)
    x = net.conv(x, channels, last, 1, activation="Clip", prune=True, rectified=False)
    return net.finish(x, last)


def _inverted_residual(net: _Network, x: str, channels: int, out: int, expansion: int, stride: int) -> str:
    hidden, y = channels * expansion, x
    if expansion > 1:
        y = net.conv(y, channels, hidden, 1, activation="Clip", prune=True, rectified=False)
    y = net.conv(y, hidden, hidden, 3, stride, groups=hidden, activation="Clip", rectified=expansion > 1)
    residual = stride == 1 and channels == out
    y = net.conv(y, hidden, out, 1, prune=True, gain=0.5 if residual else 1.0)
    return net.add("Add", [x, y]) if residual else y


def resnet50(**options) -> onnx.ModelProto:
    """He et al. 2015 (arXiv 1512.03385), stride in the 3x3 (v1.5); all convolutions but the first are prunable."""
    net = _Network("resnet50", Options(**options))
    channels = net.wide(64)
    x = net.conv("input", 3, channels, 7, 2, activation="Relu")
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for out, repeats, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for index in range(repeats):
            x = _bottleneck(net, x, channels, net.wide(out), stride if index == 0 else 1, index == 0)
            channels = 4 * net.wide(out)
    return net.finish(x, channels)


def _bottleneck(net: _Network, x: str, channels: int, inner: int, stride: int, project: bool) -> str:
    y = net.conv(x, channels, inner, 1, activation="Relu", prune=True)
    y = net.conv(y, inner, inner, 3, stride, activation="Relu", prune=True)
    y = net.conv(y, inner, 4 * inner, 1, prune=True, gain=0.2)
    shortcut = net.conv(x, channels, 4 * inner, 1, stride, prune=True) if project else x
    return net.add("Relu", [net.add("Add", [y, shortcut])])


def efficientnet_b0(**options) -> onnx.ModelProto:
    """Tan and Le 2019 (arXiv 1905.11946), swish; pointwise convolutions outside the gates are prunable."""
    net = _Network("efficientnet_b0", Options(**options))
    channels = net.wide(32)
    x = net.conv("input", 3, channels, 3, 2, activation="Swish")
    plan = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
    ]
    for expansion, out, repeats, stride, kernel in [*plan, (6, 320, 1, 1, 3)]:
        for index in range(repeats):
            x = _gated_residual(net, x, channels, net.wide(out), expansion, stride if index == 0 else 1, kernel)
            channels = net.wide(out)
    x = net.conv(x, channels, net.wide(1280), 1, activation="Swish", prune=True, rectified=False)
    return net.finish(x, net.wide(1280))


def _gated_residual(net: _Network, x: str, channels: int, out: int, expansion: int, stride: int, kernel: int) -> str:
    """An inverted residual with squeeze and excitation, whose inner width is a quarter of the block's input."""
    hidden, y = channels * expansion, x
    if expansion > 1:
        y = net.conv(y, channels, hidden, 1, activation="Swish", prune=True, rectified=False)
    y = net.conv(y, hidden, hidden, kernel, stride, groups=hidden, activation="Swish")
    gate = net.add("GlobalAveragePool", [y])
    gate = net.conv(gate, hidden, max(1, channels // 4), 1, activation="Swish")
    gate = net.conv(gate, max(1, channels // 4), hidden, 1, activation="Sigmoid")
    residual = stride == 1 and channels == out
    y = net.conv(net.add("Mul", [y, gate]), hidden, out, 1, prune=True, gain=0.5 if residual else 1.0)
    return net.add("Add", [x, y]) if residual else y


MODELS: dict[str, Callable[..., onnx.ModelProto]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_b0": efficientnet_b0,
    "resnet50": resnet50,
}


def save(folder: Path, name: str, **options) -> Path:
    """Make the network called `name` and write it as `folder/name.onnx`."""
    path = Path(folder) / f"{name}.onnx"
    onnx.save(MODELS[name](**options), path)
    return path


def prune_by_magnitude(weight: np.ndarray, sparsity: float) -> np.ndarray:
    """`weight` with its smallest elements zero, and the others scaled so that the sum of squares stays."""
    count = round(weight.size * sparsity)
    if count == 0:
        return weight
    pruned = weight.copy()
    pruned.ravel()[np.argpartition(np.abs(weight), count - 1, axis=None)[:count]] = 0
    norm = np.linalg.norm(pruned)
    return pruned * np.float32(np.linalg.norm(weight) / norm if norm else 1)


@dataclass
class _Network:
    """A graph under construction; values are names."""

    name: str
    options: Options
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.options.seed)

    def wide(self, channels: int) -> int:
        """A number of channels scaled by the width, a multiple of 8."""
        return max(8, int(channels * self.options.width + 4) // 8 * 8)

    def weight(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def add(self, op: str, inputs: Iterable[str], **attributes) -> str:
        """Append a node; its output has its name."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(
        self,
        x: str,
        channels: int,
        out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
        prune: bool = False,
        rectified: bool = True,
        gain: float = 1.0,
    ) -> str:
        """Convolution, BatchNorm and activation. `rectified`: the input is a ReLU's, half of its energy gone."""
        shape = (out, channels // groups, kernel, kernel)
        deviation = math.sqrt((2 if rectified and x != "input" else 1) / math.prod(shape[1:]))
        weight = self.random.standard_normal(shape, np.float32) * np.float32(deviation)
        if prune:
            weight = prune_by_magnitude(weight, self.options.sparsity)
        y = self._normalised_conv(x, weight, stride, groups, gain)
        if activation == "Clip":
            return self.add("Clip", [y, self._bound("zero", 0.0), self._bound("six", 6.0)])
        if activation == "Swish":
            return self.add("Mul", [y, self.add("Sigmoid", [y])])
        return self.add(activation, [y]) if activation else y

    def _normalised_conv(self, x: str, weight: np.ndarray, stride: int, groups: int, gain: float) -> str:
        out, kernel = weight.shape[0], weight.shape[2]
        scale, var = gain * self.random.uniform(0.8, 1.2, out), self.random.uniform(0.8, 1.2, out)
        bias, mean = (0.1 * self.random.standard_normal(out) for _ in range(2))
        key = f"conv{len(self.nodes)}"
        geometry = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "kernel_shape": [kernel] * 2, "group": groups}
        if not self.options.batch_norm:
            factor = scale / np.sqrt(var + 1e-5)
            weight = weight * factor.reshape(-1, 1, 1, 1)
            arrays = {"weight": weight, "bias": bias - mean * factor}
            return self.add("Conv", [x, *(self.weight(f"{key}.{k}", a) for k, a in arrays.items())], **geometry)
        y = self.add("Conv", [x, self.weight(f"{key}.weight", weight)], **geometry)
        statistics = {"scale": scale, "bias": bias, "mean": mean, "var": var}
        inputs = [y, *(self.weight(f"{key}.bn.{k}", a) for k, a in statistics.items())]
        return self.add("BatchNormalization", inputs, epsilon=1e-5)

    def _bound(self, name: str, value: float) -> str:
        if all(tensor.name != name for tensor in self.initializers):
            self.weight(name, np.array(value))
        return name

    def finish(self, x: str, channels: int) -> onnx.ModelProto:
        """Pooling and classifier, and the model around the graph."""
        options = self.options
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        weight = self.random.standard_normal((options.classes, channels)) / math.sqrt(channels)
        bias = 0.1 * self.random.standard_normal(options.classes)
        self.nodes.append(
            helper.make_node(
                "Gemm", [x, self.weight("fc.weight", weight), self.weight("fc.bias", bias)], ["output"], "fc", transB=1
            )
        )
        shapes = {"input": [options.batch, 3, options.size, options.size], "output": [options.batch, options.classes]}
        ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])] for name in shapes]
        graph = helper.make_graph(self.nodes, self.name, *ports, initializer=self.initializers)
        opsets = [helper.make_opsetid("", options.opset)]
        return helper.make_model_gen_version(graph, producer_name="sparsec zoo", opset_imports=opsets)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a network of the zoo.")
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224, help="height and width of the input")
    parser.add_argument("--width", type=float, default=1.0, help="factor of all numbers of channels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--sparsity", type=float, default=0.0, help="share of zeros in each prunable layer")
    parser.add_argument("--batch-norm", action="store_true", help="leave BatchNormalization nodes in")
    options = vars(parser.parse_args())
    name, output = options.pop("name"), options.pop("output")
    onnx.save(MODELS[name](**options), output)


if __name__ == "__main__":
    main()
