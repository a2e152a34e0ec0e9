"""Attention: one head of one sequence at a time in plain NumPy says the same."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xdsl.dialects.builtin import f32

from sparsec.interpreter import run
from sparsec.ir import AttentionOp, SelectBlocksOp, parse_module
from sparsec.ir.scalar import region
from sparsec.model import Model

B, HEADS, SQ, SK, D, DV = 3, 4, 5, 7, 6, 2
MASKED = region([f32, f32], lambda x, mask: x * 0.5 + mask)


def one_head(q, k, v, mask):
    """[Sq, D], [Sk, D], [Sk, Dv] and a mask that broadcasts to [Sq, Sk]."""
    weights = np.exp(q @ k.T * 0.5 + mask)
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", [(B, 1, 1, SK), (1, HEADS, SQ, SK), (SQ, SK), ()])
def test_attention(meaning, random, kv_heads, mask):
    q, k, v = (random(1, c, B * s, 1) for c, s in ((HEADS * D, SQ), (kv_heads * D, SK), (kv_heads * DV, SK)))
    extra = random(*mask)
    (ours,) = meaning(
        lambda q, k, v, m: AttentionOp(q, k, v, HEADS, B, kv_heads, extras=[m], score=MASKED.clone()), q, k, v, extra
    )
    masks = np.broadcast_to(extra, (B, HEADS, SQ, SK))
    for b in range(B):
        for h in range(HEADS):
            g = h * kv_heads // HEADS
            head = q[0, h * D : h * D + D, b * SQ : b * SQ + SQ, 0].T
            keys, values = (x[0, g * d : g * d + d, b * SK : b * SK + SK, 0].T for x, d in ((k, D), (v, DV)))
            theirs = one_head(head, keys, values, masks[b, h])
            assert_allclose(ours[0, h * DV : h * DV + DV, b * SQ : b * SQ + SQ, 0].T, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("guard", [False, True])
def test_a_query_without_keys(meaning, random, guard):
    """All scores are −inf: NaN as softmax gives, or zero where the graph guards it."""
    q = random(1, D, SQ, 1)
    mask = np.zeros((SQ, SQ), np.float32)
    mask[1] = -np.inf
    (ours,) = meaning(
        lambda q, k, v, m: AttentionOp(q, k, v, 1, guard=guard, extras=[m], score=MASKED.clone()), q, q, q, mask
    )
    lost = np.zeros(SQ, bool)
    lost[1] = True
    assert ((ours[0, :, :, 0] == 0) if guard else np.isnan(ours[0, :, :, 0])).all(0).tolist() == lost.tolist()


def test_sequences_follow_the_inputs(random):
    tokens, mask = '!sp.tensor<[1, 6, "b*s", 1], f32>', '!sp.tensor<["b", 1, 1, "s"], f32>'
    sizes = 'heads = 2 : i64, kv_heads = 2 : i64, sequences = #sp.shape<["b"]>, guard = false'
    sizes += ", operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>"
    text = f"""
func.func @main(%m: {mask}, %x: {tokens}) -> {tokens} attributes {{input_names = ["m", "x"], output_names = ["y"]}} {{
  %y = "sp.attention"(%x, %x, %x, %m) <{{{sizes}}}> ({{
  ^bb0(%p: f32, %a: f32):
    %t = arith.addf %p, %a : f32
    "sp.yield"(%t) : (f32) -> ()
  }}) : ({tokens}, {tokens}, {tokens}, {mask}) -> {tokens}
  func.return %y : {tokens}
}}"""
    model = Model(parse_module(text))
    (y,) = run(model, [random(3, 1, 1, 5), random(1, 6, 15, 1)])
    assert y.shape == (1, 6, 15, 1)


def test_what_mask_and_selection_leave_out_is_as_if_it_were_minus_infinity(meaning, random, monkeypatch):
    """Each alone and both, whole or computed in stripes."""
    q, k, v = (random(1, c, 2 * s, 1) for c, s in ((4 * D, 10), (2 * D, 13), (2 * DV, 13)))
    generator = np.random.default_rng(0)
    mask = generator.random((4, 10, 13)) < 0.7
    mask[..., 0] = True
    selection = np.array([[[[0, 1, -1], [0, 2, 3], [0, -1, -1]]] * 4] * 2, np.int32)
    blocks = np.zeros((2, 4, 3, 4), bool)
    np.put_along_axis(blocks, np.where(selection < 0, 0, selection), True, -1)
    chosen = blocks.repeat(4, 2).repeat(4, 3)[:, :, :10, :13]
    for one, two in ((mask, None), (None, selection), (mask, selection)):
        both = (one if one is not None else True) & (chosen if two is not None else True)
        dense = np.broadcast_to(np.where(both, np.float32(0), np.float32(-np.inf)), (2, 4, 10, 13))
        build = lambda q, k, v, m: AttentionOp(q, k, v, 4, 2, 2, extras=[m], score=MASKED.clone())  # noqa: E731
        (want,) = meaning(build, q, k, v, np.ascontiguousarray(dense))
        given = [x for x in (one, two) if x is not None]
        half = region([f32], lambda x: x * 0.5)

        def sparse(q, k, v, *rest, one=one, two=two, half=half):
            kept = {"mask": rest[0]} if one is not None else {}
            kept |= {"selection": rest[-1], "block": 4} if two is not None else {}
            return AttentionOp(q, k, v, 4, 2, 2, score=half.clone(), **kept)

        for stripe in (1 << 22, 30):
            monkeypatch.setattr("sparsec.interpreter.attention._STRIPE", stripe)
            (ours,) = meaning(sparse, q, k, v, *given)
            assert_allclose(ours, want, rtol=1e-6)


@pytest.mark.parametrize(("queries", "causal"), [(11, True), (11, False), (5, True)])
def test_selected_blocks(meaning, random, queries, causal):
    """The own block and the sink, then the highest products of means, none after the own one where that is causal."""
    q, k = random(1, 2 * D, 2 * queries, 1), random(1, D, 22, 1)
    (ours,) = meaning(lambda q, k: SelectBlocksOp(q, k, 2, 1, 2, 2, 4, causal), q, k)
    assert ours.shape == (2, 2, -(-queries // 2), 4)
    for b in range(2):
        for h in range(2):
            tokens = [x[0, c : c + D, b * n : b * n + n, 0].T for x, c, n in ((q, h * D, queries), (k, 0, 11))]
            q_means, k_means = ([x[i : i + 2].mean(0) for i in range(0, len(x), 2)] for x in tokens)
            for row, mean in enumerate(q_means):
                own = {(2 * row + i + 11 - queries) // 2 for i in range(min(2, queries - 2 * row))}
                free = [j for j in range(1, 6) if j not in own and (not causal or j < max(own))]
                best = sorted(free, key=lambda j: -float(mean @ k_means[j]))
                chosen = sorted([*{0, *own}, *best[: 4 - len({0, *own})]])
                assert ours[b, h, row].tolist() == [*chosen, *[-1] * (4 - len(chosen))]
