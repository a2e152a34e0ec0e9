"""Bad attention: attributes and shapes that cannot be, in ONNX's operators and onnxruntime's."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contributed import (
    BIAS,
    CASES,
    CROSS,
    EMBED,
    HEADS,
    IDS,
    PADDED,
    PAST,
    POSITIONS,
    TOKENS,
    WEIGHTS,
    B,
    Case,
    D,
    H,
    L,
    N,
    S,
    lengths,
    make_model,
)
from onnx import AttributeProto, ModelProto, helper

from sparsec.errors import InvalidModel, SparsecError, UnsupportedModel
from sparsec.frontend.onnx import check_model, import_model

QKV = [(B, N, S, D)] * 3
FLAT = {"q_num_heads": N, "kv_num_heads": N}
TABLE = (12, D // 2)


def onnx_case(*inputs, op: str = "Attention", **attributes) -> Case:
    return Case(op, inputs, attributes, domain="")


def case(op: str, *inputs, constants=(), **attributes) -> Case:
    return Case(op, inputs, attributes, constants=constants)


def attention(*rest, **attributes) -> Case:
    return case("Attention", TOKENS, WEIGHTS, BIAS, *rest, **{**HEADS, **attributes})


INVALID: dict[str, tuple[Case, str]] = {
    "no heads": (onnx_case(*[TOKENS] * 3), "has q_num_heads .0.; each must be at least 1"),
    "heads below 0": (onnx_case(*[TOKENS] * 3, q_num_heads=-4, kv_num_heads=N), "has q_num_heads .-4."),
    "2^40 heads": (onnx_case(*[TOKENS] * 3, q_num_heads=2**40, kv_num_heads=N), "and below 2.31"),
    "heads that do not divide": (onnx_case(*[TOKENS] * 3, q_num_heads=5, kv_num_heads=N), "32 channels, .* 5 heads"),
    "heads beside four axes": (
        onnx_case(*QKV, q_num_heads=3, kv_num_heads=N),
        "q_num_heads 3, its input 0 has 4 heads",
    ),
    "groups that do not divide": (
        onnx_case((B, N, S, D), (B, 3, S, D), (B, 3, S, D)),
        "has 4 heads of queries for 3 of keys and 3 of values",
    ),
    "axes that differ": (onnx_case(TOKENS, *QKV[1:], **FLAT), "query, key and value must all have 3 or all have 4"),
    "two axes": (onnx_case(*[(S, H)] * 3, **FLAT), "an input 0 with 2 axes"),
    "batches that differ": (onnx_case((3, N, S, D), *QKV[1:]), "differ in batches: 3 and 2"),
    "sizes of heads that differ": (onnx_case((B, N, S, 9), *QKV[1:]), "differ in channels a head: 9 and 8"),
    "keys without values": (onnx_case((B, N, S, D), (B, N, L, D), (B, N, S, D)), "differ in keys and values: 7 and 5"),
    "mask of other keys": (onnx_case(*QKV, (S, S + 1)), "a mask for 6 keys, there are 5"),
    "mask of other queries": (onnx_case(*QKV, (S + 1, S)), "a mask or bias 6x5 for scores 2x4x5x5"),
    "mask of five axes": (onnx_case(*QKV, (1, 1, 1, S, S)), "a mask or bias 1x1x1x5x5"),
    "half a past": (onnx_case(*QKV, None, (B, N, 3, D)), "only one of past_key and past_value"),
    "past of other heads": (onnx_case(*QKV, None, *[(B, 3, 3, D)] * 2), "a past 2x3x3x8 for keys or values 2x4x5x8"),
    "past and lengths": (onnx_case(*QKV, None, *[(B, N, 3, D)] * 2, np.array([4, 5])), "nonpad_kv_seqlen and a past"),
    "lengths of two axes": (onnx_case(*QKV, None, None, None, np.array([[4, 5]])), "has lengths of shape 1x2"),
    "lengths of another batch": (onnx_case(*QKV, None, None, None, np.array([4, 5, 5])), "3x1x1x5 for scores 2x4x5x5"),
    "soft cap below 0": (onnx_case(*QKV, softcap=-2.0), "has softcap -2.0"),
    "soft cap of NaN": (onnx_case(*QKV, softcap=float("nan")), "has softcap nan"),
    "mode of scores": (onnx_case(*QKV, qk_matmul_output_mode=4), "qk_matmul_output_mode 4; the latter must be 0 to 3"),
    "precision of integers": (onnx_case(*QKV, softmax_precision=7), "softmax_precision 7, which is no type of floats"),
    "rotary: heads that do not divide": (
        onnx_case(TOKENS, TABLE, TABLE, POSITIONS, op="RotaryEmbedding", num_heads=3),
        "32 channels in 3 heads",
    ),
    "rotary: more angles than channels": (
        onnx_case((B, N, S, D), (12, D), (12, D), POSITIONS, op="RotaryEmbedding"),
        "of which 8 rotate by 8 angles",
    ),
    "rotary: caches that differ": (
        onnx_case((B, N, S, D), TABLE, (12, 3), POSITIONS, op="RotaryEmbedding"),
        "caches that differ: 2x5x3 for 4 angles",
    ),
    "rotary: part": (
        onnx_case((B, N, S, D), TABLE, TABLE, POSITIONS, op="RotaryEmbedding", rotary_embedding_dim=2**33),
        "of which 8589934592 rotate by 4 angles",
    ),
    "rotary: a position outside": (
        Case("RotaryEmbedding", [(B, N, S, D), POSITIONS + 9, TABLE, TABLE], constants=(1,)),
        "reads or writes place 18 of 12",
    ),
    "rotary: positions of floats": (case("RotaryEmbedding", (B, N, S, D), (B, S), TABLE, TABLE), "int32 or int64 are"),
    "attention: no heads": (attention(num_heads=0), "has num_heads .0."),
    "attention: heads that do not divide": (attention(num_heads=7), "32 channels, which do not divide into 7 heads"),
    "attention: heads left out": (case("Attention", TOKENS, WEIGHTS), "lacks the attribute 'num_heads'"),
    "attention: unknown attribute": (attention(causal=1), "has an attribute 'causal', which Attention does not have"),
    "attention: heads of floats": (attention(num_heads=4.0), "'num_heads' of type FLOAT, Attention takes INT"),
    "attention: packed sizes": (
        attention(qkv_hidden_sizes=[H, H, H + 1]),
        r"qkv_hidden_sizes \[32, 32, 33\] for weights",
    ),
    "attention: two packed sizes": (attention(qkv_hidden_sizes=[H, 2 * H]), "qkv_hidden_sizes"),
    "attention: packed size 0": (attention(qkv_hidden_sizes=[0, 0, 3 * H]), "qkv_hidden_sizes"),
    "attention: packed size 2^62": (attention(qkv_hidden_sizes=[2**62, 2**62, 3 * H - 2**63]), "qkv_hidden_sizes"),
    "attention: weights of other inputs": (
        case("Attention", TOKENS, (9, 3 * H), BIAS, **HEADS),
        "inner sizes 32 and 9",
    ),
    "attention: bias": (case("Attention", TOKENS, WEIGHTS, (H,), **HEADS), "a bias 32 for 96 channels"),
    "attention: two axes": (case("Attention", (S, H), WEIGHTS, BIAS, **HEADS), "an input 5x32 and weights 32x96"),
    "attention: lengths": (attention(lengths(1, 2, 3)), "has 3 lengths for 2 sequences"),
    "attention: mask of other keys": (attention(PADDED[:, 1:]), "has a mask 2x4 for 2 sequences, 5 queries and 5 keys"),
    "attention: mask of floats": (attention((B, S)), "float32 elements where int32 or int64 are needed"),
    "attention: mask of booleans": (attention(PADDED.astype(bool)), "bool elements where int32 or int64 are needed"),
    "attention: past": (attention(None, PAST[1:]), "a past 2x4x3x8 instead of 2 × batch × heads"),
    "attention: past of other heads": (attention(None, (2, B, 3, 3, D)), "a past 2x3x3x8 for keys or values 2x4x5x8"),
    "attention: bias of scores": (attention(None, None, (B, N, S, S + 1)), "mask or bias 2x4x5x6 for scores 2x4x5x5"),
    "multi-head: no keys": (case("MultiHeadAttention", TOKENS, **HEADS), "has neither keys nor queries that hold them"),
    "multi-head: packed heads": (
        case("MultiHeadAttention", (B, S, 3, 3, D), **HEADS),
        "packed input 2x5x3x3x8 for 4 heads",
    ),
    "multi-head: bias": (case("MultiHeadAttention", *CROSS, (H,), **HEADS), "a bias 32 for more than 63 channels"),
    "multi-head: heads": (
        case("MultiHeadAttention", *CROSS, num_heads=3),
        "32 channels, which do not divide into 3 heads",
    ),
    "multi-head: half a past": (
        case("MultiHeadAttention", *CROSS, None, None, None, (B, N, 3, D), **HEADS),
        "only one of past_key and past_value",
    ),
    "embed: a word outside": (
        case("EmbedLayerNormalization", IDS + 1, *EMBED[1:], constants=(0,)),
        "reads or writes place 10 of 10",
    ),
    "embed: more tokens than positions": (
        case("EmbedLayerNormalization", *EMBED[:3], (3, H), *EMBED[4:]),
        "has 5 tokens, and embeddings of 3 positions",
    ),
    "embed: segments without a table": (
        case("EmbedLayerNormalization", *EMBED[:4], None, *EMBED[5:]),
        "only one of segment_ids and segment_embedding",
    ),
    "embed: ids of floats": (case("EmbedLayerNormalization", (B, S), *EMBED[1:]), "int32 or int64 are needed"),
    "skip: scale of other channels": (
        case("SkipLayerNormalization", TOKENS, TOKENS, (9,), (9,)),
        "shift 9 for 32 chan",
    ),
    "product of other sizes": (case("FusedMatMul", (S, D), (S, L)), "inner sizes 8 and 5"),
    "conv: parameters": (
        case("FusedConv", (1, 4, 6, 6), (3, 4, 3, 3), constants=(1,), activation="Relu", activation_params=[1.0]),
        "has 1 parameters for Relu, which takes 0",
    ),
    "positions: distance 0": (
        case("RelativePositionBias", (32, N), np.array(9), np.array(9), constants=(1, 2), max_distance=0),
        "has max_distance .0.",
    ),
    "positions: distance below the buckets": (
        case("RelativePositionBias", (32, N), np.array(9), np.array(9), constants=(1, 2), max_distance=16),
        "has 32 buckets for distances up to 16",
    ),
    "positions: lengths of 2^30": (
        case("RelativePositionBias", (32, N), *[np.array(2**30)] * 2, constants=(1, 2), max_distance=99),
        "more than the limit of 64 MiB",
    ),
}
UNSUPPORTED: dict[str, tuple[Case, str]] = {
    "attention that rotates": (attention(do_rotary=1), "rotates queries and keys .export them with RotaryEmbedding"),
    "attention in a buffer": (attention(past_present_share_buffer=1), "a buffer that past and present share"),
    "mask of four axes": (attention(np.ones((B, 1, S, S), np.int32)), "a mask of four axes .give it as attention_bias"),
    "packed sequences": (attention(lengths(*range(3 * B + 2))), "offsets into packed sequences"),
    "activation": (case("FusedGemm", (S, D), (D, L), activation="Snake"), "has the activation 'Snake'; Clip, Elu"),
    "lengths that are computed": (
        case("RelativePositionBias", (32, N), np.array([9]), np.array([9]), max_distance=99),
        "needs its input 'i1' to be a constant",
    ),
}


def write(folder: Path, proto: ModelProto, opset: int = 24) -> Path:
    proto.opset_import[0].version = opset
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("name", [*INVALID, *UNSUPPORTED])
def test_refused(name: str, tmp_path: Path) -> None:
    made, message = {**INVALID, **UNSUPPORTED}[name]
    path = write(tmp_path, make_model(made))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidModel if name in INVALID else UnsupportedModel, match=message) as caught:
        import_model(path)
    assert "node 'the_node'" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "took more than 200 MB"


def test_all_at_once(tmp_path: Path) -> None:
    """Bad nodes in a row are all listed."""
    proto = make_model(attention(num_heads=0))
    node = proto.graph.node[0]
    node.name = "first"
    others = [("second", "com.microsoft", "SkipLayerNormalization", 3), ("third", "com.microsoft", "GatedAttention", 2)]
    for name, domain, op, count in others:
        proto.graph.node.append(helper.make_node(op, ["i0"] * count, [name], name, domain=domain))
    proto.graph.node.append(helper.make_node("Attention", ["i0"] * 3, ["fourth"], "fourth"))
    report = check_model(write(tmp_path, proto))
    assert [problem.node for problem in report.problems] == ["first", "second", "third", "fourth"]


def _attribute(attribute: AttributeProto, dice: random.Random) -> None:
    numbers = (-1, 0, 1, 3, 8, 2**31, 2**40, 2**62)
    if attribute.type == AttributeProto.INT:
        attribute.i = dice.choice(numbers)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = dice.choice((0, -1, float("nan"), float("inf")))
    else:
        attribute.ints[:] = dice.choices(numbers, k=dice.randrange(4))


def _axes(proto: ModelProto, dice: random.Random) -> None:
    dims = dice.choice(proto.graph.input).type.tensor_type.shape.dim
    kind = dice.randrange(3)
    if kind == 0 and dims:
        dice.choice(dims).dim_value = dice.choice((0, 1, 3, 2**20, 2**31, 2**40))
    elif kind == 1 and dims:
        del dims[dice.randrange(len(dims))]
    else:
        dims.add().dim_value = dice.choice((1, 4))


def _inputs(proto: ModelProto, dice: random.Random) -> None:
    names = proto.graph.node[0].input
    first, second = (dice.randrange(len(names)) for _ in range(2))
    names[first], names[second] = dice.choice(("", names[second])), names[first]


def _type(proto: ModelProto, dice: random.Random) -> None:
    dice.choice(proto.graph.input).type.tensor_type.elem_type = dice.choice((1, 2, 3, 6, 7, 9, 10, 11))


@pytest.mark.parametrize("seed", range(4))
def test_changed_at_random(seed: int, tmp_path: Path) -> None:
    """What is damaged is imported, or ends in an error for people; and takes no memory."""
    dice = random.Random(seed)
    changes: list[Callable[[ModelProto, random.Random], None]] = [_axes, _inputs, _type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(150):
        proto = make_model(CASES[dice.choice(list(CASES))])
        for _ in range(dice.choice((1, 1, 2))):
            attributes = [a for a in proto.graph.node[0].attribute if a.type != AttributeProto.STRING]
            if attributes and dice.random() < 0.3:
                _attribute(dice.choice(attributes), dice)
            else:
                dice.choice(changes)(proto, dice)
        try:
            check_model(write(tmp_path, proto, 17))
        except SparsecError:
            continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "took more than 200 MB"
