"""Models of one of onnxruntime's own operators, with inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

B, S, N, D = 2, 5, 4, 8  # sequences, tokens, heads, size of a head
H, L, P = N * D, 7, 3  # channels, tokens of another sequence, tokens of the past
SYMBOLS = {B: "batch", S: "seq", L: "keys", P: "past"}


@dataclass(frozen=True)
class Case:
    """A node: for each input its array, or its shape (random), or None; `outputs` are those compared ("" left out).

    `symbols` are the axes of inputs that may be symbolic, by input; constant inputs are in `constants`.
    """

    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: str = "y"
    constants: Sequence[int] = ()
    symbols: Mapping[int, Sequence[int]] = field(default_factory=dict)
    domain: str = "com.microsoft"


def lengths(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


PADDED = np.array([[1] * S, [1, 1, 1, 0, 0]], np.int32)
ROWS = np.tril(np.ones((B, S, S), np.int32))
TOKENS, WEIGHTS, BIAS = (B, S, H), (H, 3 * H), (3 * H,)
BY_TOKENS = {0: (0, 1)}
IDS = np.array([[1, 2, 3, 4, 0], [9, 8, 7, 6, 5]], np.int32)
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 0, 1, 0]], np.int32)
EMBED = [IDS, SEGMENTS, (10, H), (12, H), (2, H), (H,), (H,)]
PAST = (2, B, N, P, D)
HEADS = {"num_heads": N}
CROSS = [TOKENS, (B, L, H), (B, L, H)]
POSITIONS = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]], np.int64)

CASES: dict[str, Case] = {
    "attention": Case("Attention", [TOKENS, WEIGHTS, BIAS], HEADS, constants=(1, 2), symbols=BY_TOKENS),
    "attention, scale": Case("Attention", [TOKENS, WEIGHTS, BIAS], {**HEADS, "scale": 0.5}, constants=(1,)),
    "attention, weights computed": Case("Attention", [TOKENS, WEIGHTS, BIAS], HEADS),
    "attention, lengths": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, lengths(5, 2)], HEADS, constants=(1, 2), symbols={0: (0, 1), 3: (0,)}
    ),
    "attention, ends and starts": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, lengths(5, 4, 0, 2)], HEADS, constants=(1, 2)
    ),
    "attention, mask": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, PADDED], HEADS, constants=(1, 2), symbols={0: (0, 1), 3: (0, 1)}
    ),
    "attention, mask of rows": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, ROWS], {**HEADS, "mask_filter_value": -1e9}, constants=(1, 2)
    ),
    "attention, nothing but padding": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, PADDED * 0], {**HEADS, "mask_filter_value": -100.0}, constants=(1, 2)
    ),
    "attention, unidirectional": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS], {**HEADS, "unidirectional": 1}, constants=(1, 2), symbols=BY_TOKENS
    ),
    "attention, unidirectional, mask, past": Case(
        "Attention",
        [TOKENS, WEIGHTS, BIAS, np.ones((B, P + S), np.int32), PAST],
        {**HEADS, "unidirectional": 1},
        outputs="yz",
        constants=(1, 2),
    ),
    "attention, past": Case(
        "Attention",
        [TOKENS, WEIGHTS, BIAS, None, PAST],
        {**HEADS, "unidirectional": 1},
        outputs="yz",
        constants=(1, 2),
        symbols={0: (0, 1), 4: (1, 3)},
    ),
    "attention, biased": Case("Attention", [TOKENS, WEIGHTS, BIAS, None, None, (B, N, S, S)], HEADS, constants=(1, 2)),
    "attention, one bias": Case(
        "Attention", [TOKENS, WEIGHTS, BIAS, PADDED, None, (1, 1, S, S)], HEADS, constants=(1, 2)
    ),
    "attention, wide values": Case(
        "Attention",
        [TOKENS, (H, 2 * H + 16), (2 * H + 16,)],
        {**HEADS, "qkv_hidden_sizes": [H, H, 16]},
        constants=(1, 2),
    ),
    "multi-head": Case("MultiHeadAttention", [TOKENS] * 3, HEADS, symbols=dict.fromkeys(range(3), (0, 1))),
    "multi-head, cross": Case(
        "MultiHeadAttention", [*CROSS, BIAS], HEADS, constants=(3,), symbols=dict.fromkeys(range(3), (0, 1))
    ),
    "multi-head, lengths": Case("MultiHeadAttention", [*CROSS, None, lengths(7, 3)], HEADS),
    "multi-head, mask": Case(
        "MultiHeadAttention", [*CROSS, BIAS, np.array([[1] * L, [1] * 4 + [0] * 3], np.int32)], HEADS, constants=(3,)
    ),
    "multi-head, mask of rows": Case("MultiHeadAttention", [*[TOKENS] * 3, None, ROWS], HEADS),
    "multi-head, biased": Case("MultiHeadAttention", [*CROSS, None, None, (1, N, S, L)], {**HEADS, "scale": 0.2}),
    "multi-head, unidirectional": Case("MultiHeadAttention", [*[TOKENS] * 3, BIAS], {**HEADS, "unidirectional": 1}),
    "multi-head, keys with heads": Case("MultiHeadAttention", [TOKENS, (B, N, L, D), (B, N, L, D)], HEADS),
    "multi-head, keys with heads, bias": Case("MultiHeadAttention", [TOKENS, (B, N, L, D), (B, N, L, D), BIAS], HEADS),
    "multi-head, past": Case(
        "MultiHeadAttention",
        [*[TOKENS] * 3, BIAS, None, None, (B, N, P, D), (B, N, P, D)],
        {**HEADS, "unidirectional": 1},
        outputs="ykv",
    ),
    "multi-head, wide values": Case("MultiHeadAttention", [TOKENS, (B, L, H), (B, L, 16)], HEADS),
    "embed": Case(
        "EmbedLayerNormalization", EMBED, outputs="yn", constants=range(2, 7), symbols={0: (0, 1), 1: (0, 1)}
    ),
    "embed, mask": Case(
        "EmbedLayerNormalization", [*EMBED, PADDED], {"epsilon": 1e-3}, outputs="yns", constants=range(2, 7)
    ),
    "embed, no mask": Case("EmbedLayerNormalization", EMBED, outputs="yns", constants=range(2, 7)),
    "embed, positions": Case(
        "EmbedLayerNormalization", [*EMBED, None, (IDS + 2) % 12], outputs="yn", constants=range(2, 7)
    ),
    "embed, words only": Case(
        "EmbedLayerNormalization", [IDS, None, (10, H), (12, H), None, (H,), (H,)], outputs="yn", constants=(2, 3, 5, 6)
    ),
    "skip": Case("SkipLayerNormalization", [TOKENS, TOKENS, (H,), (H,)], symbols={0: (0, 1), 1: (0, 1)}),
    "skip, bias, sum": Case("SkipLayerNormalization", [TOKENS, TOKENS, (H,), (H,), (H,)], outputs="y--s"),
    "skip, no beta": Case("SkipLayerNormalization", [TOKENS, TOKENS, (H,)], {"epsilon": 1e-2}),
    "skip, one sequence": Case("SkipLayerNormalization", [TOKENS, (1, S, H), (H,), (H,)]),
    "skip, rows": Case("SkipLayerNormalization", [TOKENS, (S, H), (H,), (H,)]),
    "skip, simplified": Case("SkipSimplifiedLayerNormalization", [TOKENS, TOKENS, (H,), (H,)], outputs="y--s"),
    "layer norm": Case("LayerNormalization", [TOKENS, (H,), (H,)], {"axis": -1}, domain=""),
    "simplified": Case("SimplifiedLayerNormalization", [TOKENS, (H,)], {"axis": -1}, outputs="yi", domain=""),
    "gelu": Case("Gelu", [TOKENS]),
    "gelu with bias": Case("BiasGelu", [TOKENS, (H,)]),
    "fast gelu": Case("FastGelu", [TOKENS]),
    "fast gelu with bias": Case("FastGelu", [TOKENS, (H,)]),
    "quick gelu": Case("QuickGelu", [TOKENS], {"alpha": 1.5}),
    "product": Case("FusedMatMul", [(B, N, S, D), (B, N, L, D)], {"alpha": 0.3, "transB": 1}),
    "product, left": Case("FusedMatMul", [(B, N, D, S), (D, L)], {"transA": 1}),
    "product, batch on the left": Case("FusedMatMul", [(S, B, N, D), (B, N, D, L)], {"transBatchA": 1}),
    "product, batch on both": Case(
        "FusedMatMul", [(D, B, N, S), (L, B, N, D)], {"transBatchA": 1, "transA": 1, "transBatchB": 1, "transB": 1}
    ),
    "product, old name": Case("TransposeMatMul", [(N, S, D), (N, L, D)], {"transB": 1}),
    "gemm": Case("FusedGemm", [(S, D), (L, D), (L,)], {"activation": "Relu", "transB": 1, "alpha": 0.5, "beta": 2.0}),
    "gemm, leaky": Case("FusedGemm", [(S, D), (D, L)], {"activation": "LeakyRelu", "activation_alpha": 0.2}),
    "gemm, hard": Case(
        "FusedGemm",
        [(S, D), (D, L)],
        {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4},
    ),
    "conv": Case("FusedConv", [(1, 4, 6, 6), (3, 4, 3, 3), (3,)], {"activation": "Relu"}, constants=(1, 2)),
    "conv, clipped": Case(
        "FusedConv",
        [(1, 4, 6, 6), (3, 4, 3, 3), (3,), (1, 3, 4, 4)],
        {"activation": "Clip", "activation_params": [-1.0, 2.0]},
        constants=(1, 2),
    ),
    "rotary": Case("RotaryEmbedding", [TOKENS, POSITIONS, (12, D // 2), (12, D // 2)], symbols={0: (0, 1), 1: (0, 1)}),
    "rotary, interleaved": Case(
        "RotaryEmbedding", [(B, N, S, D), POSITIONS, (12, D // 2), (12, D // 2)], {"interleaved": 1}
    ),
    "rotary, from a place": Case(
        "RotaryEmbedding", [TOKENS, np.array([4]), (12, D // 2), (12, D // 2)], symbols={0: (0, 1)}
    ),
    "rotary, in part": Case(
        "RotaryEmbedding",
        [TOKENS, POSITIONS, (12, 2), (12, 2)],
        {"num_heads": N, "rotary_embedding_dim": 4},
    ),
}


def arrays(case: Case) -> dict[str, np.ndarray]:
    """The inputs by name."""
    random = np.random.default_rng(0)
    found = {}
    for index, given in enumerate(case.inputs):
        if isinstance(given, tuple):
            given = random.standard_normal(given, np.float32)
        if given is not None:
            found[f"i{index}"] = given
    return found


def make_model(case: Case, symbolic: bool = False) -> ModelProto:
    """The model of one node."""
    given = arrays(case)
    names = [f"i{index}" if f"i{index}" in given else "" for index in range(len(case.inputs))]
    outputs = ["" if letter == "-" else letter for letter in case.outputs]
    node = helper.make_node(case.op, names, outputs, "the_node", domain=case.domain, **case.attributes)
    ports, constants = [], []
    for index in range(len(names)):
        if not (name := names[index]):
            continue
        if index in case.constants:
            constants.append(numpy_helper.from_array(given[name], name))
            continue
        shape: list[int | str] = list(given[name].shape)
        for axis in case.symbols.get(index, ()) if symbolic else ():
            shape[axis] = SYMBOLS[given[name].shape[axis]]
        ports.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(given[name].dtype), shape))
    results = [ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([node], "g", ports, results, constants)
    domains = [helper.make_opsetid("", 14), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)
