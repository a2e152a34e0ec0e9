"""Transformer encoders of seeded weights for tests and benchmarks, as torch's TorchScript exporter writes them.

Nothing here needs sparsec, torch or the network.

    python benchmarks/encoders.py bert_base --sparsity 0.9 [--block 4] -o bert.onnx [--batch 1 --sequence 128]

Opset 17. Batch and sequence are symbols (`batch`, `seq`) unless they are given. All linear layers of the encoder's
blocks are prunable, unstructured or in blocks of outputs × 1 input; embeddings, pooler and classifier stay dense.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Size = int | str


@dataclass(frozen=True)
class Options:
    """What an encoder is made with.

    `sparsity` is the share of zeros in each prunable layer, by magnitude, the survivors scaled up to keep the layer's
    norm; a `block` of outputs is kept or dropped as one for each input. `batch` and `sequence` may be symbols' names.
    """

    batch: Size = "batch"
    sequence: Size = "seq"
    sparsity: float = 0.0
    block: int = 1
    layers: int | None = None
    pooler: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Geometry:
    """Sizes of an encoder's blocks."""

    layers: int
    hidden: int
    heads: int
    inner: int
    epsilon: float = 1e-12


def bert_base(**options) -> onnx.ModelProto:
    """Devlin et al. 2018 (arXiv 1810.04805): 12 layers of 768, 12 heads, vocabulary of 30522. See `Options`."""
    return _bert("bert_base", Geometry(12, 768, 12, 3072), 30522, Options(**options))


def minilm(**options) -> onnx.ModelProto:
    """Wang et al. 2020 (arXiv 2002.10957), as all-MiniLM-L6: 6 layers of 384, 12 heads of 32. See `Options`."""
    return _bert("minilm", Geometry(6, 384, 12, 1536), 30522, Options(**options))


def vit_b16(**options) -> onnx.ModelProto:
    """Dosovitskiy et al. 2020 (arXiv 2010.11929): 12 pre-norm layers of 768 on 196 patches of 16 × 16 and a class."""
    opts, sizes = Options(**options), Geometry(12, 768, 12, 3072, 1e-12)
    net = _Network("vit_b16", opts, sizes)
    net.port("pixel_values", TensorProto.FLOAT, [opts.batch, 3, 224, 224])
    x = net.conv_patches("pixel_values", 16)
    x = net.add("Add", [x, net.weight("embeddings.position", net.normal(1, 197, sizes.hidden, scale=0.2))])
    for index in range(opts.layers or sizes.layers):
        x = _pre_norm_layer(net, x, f"layer.{index}", 197)
    x = net.layer_norm(x, "layernorm")
    x = net.add("Gather", [x, net.constant(np.int64(0))], axis=1)
    net.gemm(x, "classifier", sizes.hidden, 1000, "logits")
    return net.finish({"logits": [opts.batch, 1000]})


def _bert(name: str, sizes: Geometry, vocabulary: int, opts: Options) -> onnx.ModelProto:
    net = _Network(name, opts, sizes)
    for port in ("input_ids", "attention_mask", "token_type_ids"):
        net.port(port, TensorProto.INT64, [opts.batch, opts.sequence])
    mask = _extended_mask(net)
    x = _embeddings(net, vocabulary)
    for index in range(opts.layers or sizes.layers):
        x = _post_norm_layer(net, x, f"encoder.layer.{index}", mask)
    net.rename(x, "last_hidden_state")
    outputs = {"last_hidden_state": [opts.batch, opts.sequence, sizes.hidden]}
    if opts.pooler:
        first = net.add("Gather", ["last_hidden_state", net.constant(np.int64(0))], axis=1)
        dense = net.gemm(first, "pooler.dense", sizes.hidden, sizes.hidden)
        net.rename(net.add("Tanh", [dense]), "pooler_output")
        outputs["pooler_output"] = [opts.batch, sizes.hidden]
    return net.finish(outputs)


def _extended_mask(net: _Network) -> str:
    """[batch, 1, 1, sequence]: 0 where a token counts, the least finite number where it does not."""
    mask = net.add("Unsqueeze", ["attention_mask", net.constant(np.array([1]))])
    mask = net.add("Unsqueeze", [mask, net.constant(np.array([2]))])
    mask = net.add("Cast", [mask], to=TensorProto.FLOAT)
    mask = net.add("Sub", [net.constant(np.float32(1)), mask])
    return net.add("Mul", [mask, net.constant(np.finfo(np.float32).min)])


def _embeddings(net: _Network, vocabulary: int) -> str:
    def table(name: str, rows: int) -> str:
        return net.weight(f"embeddings.{name}", net.normal(rows, net.sizes.hidden, scale=0.5))

    words = net.add("Gather", [table("word_embeddings.weight", vocabulary), "input_ids"])
    types = net.add("Gather", [table("token_type_embeddings.weight", 2), "token_type_ids"])
    x = net.add("Add", [words, types])
    sequence = net.options.sequence
    if isinstance(sequence, int):  # the exporter folds the slice of positions, not the look-up
        positions = net.constant(np.arange(sequence)[None])
    else:
        ends = net.add("Unsqueeze", [net.size("input_ids", 1), net.constant(np.array([0]))])
        table_of_ids = net.weight("embeddings.position_ids", np.arange(512)[None])
        start, axis, step = (net.constant(np.array([value])) for value in (0, 1, 1))
        positions = net.add("Slice", [table_of_ids, start, ends, axis, step])
    x = net.add("Add", [x, net.add("Gather", [table("position_embeddings.weight", 512), positions])])
    return net.layer_norm(x, "embeddings.LayerNorm")


def _post_norm_layer(net: _Network, x: str, name: str, mask: str) -> str:
    """BERT's: scores divided by √d, plus the mask; the bias of a layer is the first operand of its Add."""
    heads, hidden, inner = net.sizes.heads, net.sizes.hidden, net.sizes.inner
    width, sequence = hidden // heads, net.options.sequence
    query, key, value = (
        net.linear(x, f"{name}.attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")
    )
    k = net.heads(key, heads, width, sequence, (0, 2, 3, 1))
    v = net.heads(value, heads, width, sequence)
    q = net.heads(query, heads, width, sequence)
    scores = net.add("Div", [net.add("MatMul", [q, k]), net.constant(np.float32(math.sqrt(width)))])
    weights = net.add("Softmax", [net.add("Add", [scores, mask])], axis=-1)
    context = net.joined(net.add("MatMul", [weights, v]), hidden, sequence)
    y = net.linear(context, f"{name}.attention.output.dense", hidden, hidden)
    x = net.layer_norm(net.add("Add", [y, x]), f"{name}.attention.output.LayerNorm")
    y = net.gelu(net.linear(x, f"{name}.intermediate.dense", hidden, inner))
    y = net.linear(y, f"{name}.output.dense", inner, hidden)
    return net.layer_norm(net.add("Add", [y, x]), f"{name}.output.LayerNorm")


def _pre_norm_layer(net: _Network, x: str, name: str, sequence: int) -> str:
    """ViT's, with torch's scaled_dot_product_attention: query and key each times d^-1/4."""
    heads, hidden, inner = net.sizes.heads, net.sizes.hidden, net.sizes.inner
    width = hidden // heads
    y = net.layer_norm(x, f"{name}.layernorm_before")
    query, key, value = (
        net.linear(y, f"{name}.attention.attention.{part}", hidden, hidden) for part in ("query", "key", "value")
    )
    k = net.heads(key, heads, width, sequence, (0, 2, 3, 1))
    v = net.heads(value, heads, width, sequence)
    q = net.heads(query, heads, width, sequence)
    scale = [net.constant(np.float32(width**-0.25)) for _ in range(2)]
    scores = net.add("MatMul", [net.add("Mul", [q, scale[0]]), net.add("Mul", [k, scale[1]])])
    context = net.add("MatMul", [net.add("Softmax", [scores], axis=-1), v])
    y = net.linear(net.joined(context, hidden, sequence), f"{name}.attention.output.dense", hidden, hidden)
    x = net.add("Add", [y, x])
    y = net.layer_norm(x, f"{name}.layernorm_after")
    y = net.gelu(net.linear(y, f"{name}.intermediate.dense", hidden, inner))
    return net.add("Add", [net.linear(y, f"{name}.output.dense", inner, hidden), x])


MODELS: dict[str, Callable[..., onnx.ModelProto]] = {"bert_base": bert_base, "minilm": minilm, "vit_b16": vit_b16}


def save(folder: Path, stem: str, name: str, **options) -> Path:
    """Make the encoder called `name` and write it as `folder/stem.onnx`."""
    path = Path(folder) / f"{stem}.onnx"
    onnx.save(MODELS[name](**options), path)
    return path


def inputs(name: str, batch: int, sequence: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Operands of a run: tokens all of which count, or an image."""
    rng = np.random.default_rng(seed)
    if name.startswith("vit"):
        return {"pixel_values": rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)}
    shape = (batch, sequence)
    ids = rng.integers(0, 30522, shape)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def prune(weight: np.ndarray, sparsity: float, block: int = 1) -> np.ndarray:
    """[K, M] with the blocks of `block` outputs of one input that have the smallest norms zero, the others scaled up.

    The sum of squares stays.
    """
    blocks = weight.reshape(weight.shape[0], -1, block)
    norms = np.square(blocks).sum(axis=2)
    count = round(norms.size * sparsity)
    if count == 0:
        return weight
    kept = np.ones(norms.size, bool)
    kept[np.argpartition(norms, count - 1, axis=None)[:count]] = False
    pruned = (blocks * kept.reshape(*norms.shape, 1)).reshape(weight.shape)
    return pruned * np.float32(np.linalg.norm(weight) / np.linalg.norm(pruned))


@dataclass
class _Network:
    """A graph under construction; values are names."""

    name: str
    options: Options
    sizes: Geometry
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    ports: list[onnx.ValueInfoProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.options.seed)

    def port(self, name: str, element: int, shape: list[Size]) -> None:
        self.ports.append(helper.make_tensor_value_info(name, element, shape))

    def weight(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        return self.add("Constant", [], value=numpy_helper.from_array(np.asarray(value)))

    def normal(self, *shape: int, scale: float = 0.1) -> np.ndarray:
        return self.random.standard_normal(shape, np.float32) * np.float32(scale)

    def add(self, op: str, operands: list[str], **attributes) -> str:
        """Append a node; its output has its name."""
        name = f"/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [f"{name}_output_0"], name=name, **attributes))
        return f"{name}_output_0"

    def rename(self, value: str, name: str) -> None:
        """Call the last node's output `name`."""
        assert self.nodes[-1].output[0] == value
        self.nodes[-1].output[0] = name

    def linear(self, x: str, name: str, channels: int, out: int) -> str:
        """MatMul with [K, M] weights and Add, pruned."""
        weight = prune(self.normal(channels, out, scale=channels**-0.5), self.options.sparsity, self.options.block)
        product = self.add("MatMul", [x, self.weight(f"onnx::MatMul_{len(self.nodes)}", weight)])
        return self.add("Add", [self.weight(f"{name}.bias", self.normal(out)), product])

    def gemm(self, x: str, name: str, channels: int, out: int, output: str | None = None) -> str:
        """A linear layer on a matrix, dense."""
        weight = self.weight(f"{name}.weight", self.normal(out, channels, scale=channels**-0.5))
        y = self.add("Gemm", [x, weight, self.weight(f"{name}.bias", self.normal(out))], alpha=1.0, beta=1.0, transB=1)
        if output:
            self.rename(y, output)
        return output or y

    def layer_norm(self, x: str, name: str) -> str:
        hidden = self.sizes.hidden
        scale = self.weight(f"{name}.weight", self.random.uniform(0.8, 1.2, hidden).astype(np.float32))
        bias = self.weight(f"{name}.bias", self.normal(hidden))
        return self.add("LayerNormalization", [x, scale, bias], axis=-1, epsilon=self.sizes.epsilon)

    def gelu(self, x: str) -> str:
        """x · (1 + erf(x / √2)) · ½, in the exporter's five nodes."""
        y = self.add("Erf", [self.add("Div", [x, self.constant(np.float32(math.sqrt(2)))])])
        y = self.add("Mul", [x, self.add("Add", [y, self.constant(np.float32(1))])])
        return self.add("Mul", [y, self.constant(np.float32(0.5))])

    def size(self, x: str, axis: int) -> str:
        """A dimension, computed at run time."""
        return self.add("Gather", [self.add("Shape", [x]), self.constant(np.int64(axis))], axis=0)

    def heads(self, x: str, heads: int, width: int, sequence: Size, order: tuple[int, ...] = (0, 2, 1, 3)) -> str:
        """[batch, sequence, heads · width] with the heads split off, transposed."""
        y = self.add("Reshape", [x, self.shape(x, [self.options.batch, sequence, heads, width])], allowzero=0)
        return self.add("Transpose", [y], perm=order)

    def joined(self, x: str, hidden: int, sequence: Size) -> str:
        """[batch, heads, sequence, width] as [batch, sequence, hidden]."""
        y = self.add("Transpose", [x], perm=(0, 2, 1, 3))
        return self.add("Reshape", [y, self.shape(y, [self.options.batch, sequence, hidden])], allowzero=0)

    def shape(self, x: str, sizes: list[Size]) -> str:
        """A Reshape's operand: a constant where all sizes are known, else a Concat, symbols from x's shape."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(np.array(sizes))
        axis = self.constant(np.array([0]))
        parts = [
            self.constant(np.array([size]))
            if isinstance(size, int)
            else self.add("Unsqueeze", [self.size(x, at), axis])
            for at, size in enumerate(sizes)
        ]
        return self.add("Concat", parts, axis=0)

    def conv_patches(self, image: str, patch: int) -> str:
        """[batch, 1 + patches, hidden]: the class token, and a linear image of each patch."""
        hidden, batch = self.sizes.hidden, self.options.batch
        weight = self.weight("patch.weight", self.normal(hidden, 3, patch, patch, scale=(3 * patch**2) ** -0.5))
        bias = self.weight("patch.bias", self.normal(hidden))
        geometry = {
            "strides": [patch] * 2,
            "kernel_shape": [patch] * 2,
            "pads": [0] * 4,
            "dilations": [1, 1],
            "group": 1,
        }
        x = self.add("Conv", [image, weight, bias], **geometry)
        x = self.add("Reshape", [x, self.shape(x, [batch, hidden, 196])], allowzero=0)
        x = self.add("Transpose", [x], perm=(0, 2, 1))
        token = self.weight("embeddings.cls_token", self.normal(1, 1, hidden))
        token = self.add("Expand", [token, self.shape(x, [batch, 1, hidden])])
        return self.add("Concat", [token, x], axis=1)

    def finish(self, outputs: dict[str, list[Size]]) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "main_graph", self.ports, results, initializer=self.initializers)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model_gen_version(graph, producer_name="sparsec zoo", opset_imports=opsets)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make an encoder.")
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--batch", type=int, help="default: a symbol, batch")
    parser.add_argument("--sequence", type=int, help="default: a symbol, seq")
    parser.add_argument("--layers", type=int, help="default: all of the model's")
    parser.add_argument("--sparsity", type=float, default=0.0, help="share of zeros in each prunable layer")
    parser.add_argument("--block", type=int, default=1, help="outputs that are pruned as one")
    parser.add_argument("--no-pooler", dest="pooler", action="store_false")
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    name, output = options.pop("name"), options.pop("output")
    onnx.save(MODELS[name](**options), output)


if __name__ == "__main__":
    main()
