"""Attention: one head of one sequence at a time in plain NumPy says the same."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xdsl.dialects.builtin import f32

from sparsec.interpreter import run
from sparsec.ir import AttentionOp, parse_module
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
