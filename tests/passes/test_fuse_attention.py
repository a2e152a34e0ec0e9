"""Attention in the forms in which exporters write it: what is joined into sp.attention, and what must not be."""

import numpy as np
import pytest
from whole_models import write_model

from sparsec.compiler import Options, import_model
from sparsec.interpreter import run
from sparsec.ir import AttentionOp, type_of
from sparsec.passes import FoldConstants, FuseAttention, LegalizeSpatial, MergeEqual, SimplifyMovement, run_pipeline

B, S, H, D = 2, 6, 3, 4
CLEAN = FoldConstants(), SimplifyMovement(), MergeEqual()
RANDOM = np.random.default_rng(0)

SPLIT = """
  q4 = Reshape(q, heads)  qh = Transpose<perm=[0,2,1,3]>(q4)
  k4 = Reshape(k, heads)  kt = Transpose<perm=[0,2,3,1]>(k4)
  v4 = Reshape(v, heads)  vh = Transpose<perm=[0,2,1,3]>(v4)
"""
JOIN = """
  o = MatMul(p, vh)  ot = Transpose<perm=[0,2,1,3]>(o)  y = Reshape(ot, joined)
"""
FOUR = "float[2,3,5,4] q, float[2,3,4,7] k, float[2,3,7,6] v"
THREE = "float[2,6,12] q, float[2,6,12] k, float[2,6,12] v"
CONSTANTS = {
    "heads": np.array([0, 0, H, D]),
    "joined": np.array([0, 0, H * D]),
    "half": np.array(0.5, np.float32),
    "eight": np.array(8.0, np.float32),
    "root": np.array([0.7], np.float32),
    "zero": np.array(0.0, np.float32),
    "one": np.array(1.0, np.float32),
    "least": np.array(np.finfo(np.float32).min, np.float32),
    "causal": np.tril(np.ones((1, 1, S, S), bool)),
    "two_three": np.array([1, 2]),
    "axis1": np.array([1]),
    "wide": np.array([B, 1, S, S]),
    "bhsd": np.array([B * H, S, D]),
    "bhds": np.array([B * H, D, S]),
    "bhss": np.array([B * H, S, S]),
    "b_h_s_s": np.array([B, H, S, S]),
    "b_h_s_d": np.array([B, H, S, D]),
    "kv_heads": np.array([0, 0, 1, D]),
    "groups": np.array([B, 1, 1, S, D]),
    "repeated": np.array([B, 1, H, S, D]),
    "thrice": np.array([1, 1, H, 1, 1]),
}
# name: inputs, nodes
FORMS = {
    "plain": (THREE, SPLIT + "s = MatMul(qh, kt)  p = Softmax<axis=-1>(s)" + JOIN),
    "scaled after": (THREE, SPLIT + "s = MatMul(qh, kt)  t = Div(s, eight)  p = Softmax<axis=-1>(t)" + JOIN),
    "scaled before": (
        THREE,
        SPLIT
        + "qs = Mul(qh, half)  ks = Mul(kt, root)  s = MatMul(qs, ks)  p = Softmax<axis=-1>(s)  n = IsNaN(p)"
        + "  g = Where(n, zero, p)"
        + JOIN.replace("MatMul(p", "MatMul(g"),
    ),
    "padding": (
        THREE + ", float[2,1,1,6] m",
        SPLIT
        + "s = MatMul(qh, kt)  t = Mul(s, half)  i = Sub(one, m)  a = Mul(i, least)  u = Add(t, a)"
        + "  p = Softmax<axis=-1>(u)"
        + JOIN,
    ),
    "expanded padding": (
        THREE + ", float[2,6] m",
        SPLIT
        + "s = MatMul(qh, kt)  m4 = Unsqueeze(m, two_three)  w = Expand(m4, wide)  i = Sub(one, w)"
        + "  b = Cast<to=9>(i)  a = Where(b, least, i)  u = Add(s, a)  p = Softmax<axis=-1>(u)"
        + JOIN,
    ),
    "causal and padding": (
        THREE + ", bool[2,6] m",
        SPLIT
        + "s = MatMul(qh, kt)  m4 = Unsqueeze(m, two_three)  w = Expand(m4, wide)  b = And(w, causal)"
        + "  a = Where(b, zero, least)  u = Add(s, a)  p = Softmax<axis=-1>(u)"
        + JOIN,
    ),
    "three axes": (
        THREE + ", float[2,1,6,6] m",
        SPLIT
        + "qb = Reshape(qh, bhsd)  kb = Reshape(kt, bhds)  vb = Reshape(vh, bhsd)  s = MatMul(qb, kb)"
        + "  s4 = Reshape(s, b_h_s_s)  u = Add(s4, m)  s3 = Reshape(u, bhss)  p = Softmax<axis=-1>(s3)"
        + "  o3 = MatMul(p, vb)  o = Reshape(o3, b_h_s_d)  ot = Transpose<perm=[0,2,1,3]>(o)  y = Reshape(ot, joined)",
    ),
    "three axes without masks": (
        THREE,
        SPLIT
        + "qb = Reshape(qh, bhsd)  kb = Reshape(kt, bhds)  vb = Reshape(vh, bhsd)  s = MatMul(qb, kb)"
        + "  p = Softmax<axis=-1>(s)"
        + "  o3 = MatMul(p, vb)  o = Reshape(o3, b_h_s_d)  ot = Transpose<perm=[0,2,1,3]>(o)  y = Reshape(ot, joined)",
    ),
    "soft cap": (
        THREE,
        SPLIT + "s = MatMul(qh, kt)  t = Div(s, eight)  h = Tanh(t)  u = Mul(h, eight)  p = Softmax<axis=-1>(u)" + JOIN,
    ),
    "one head of keys, repeated": (
        "float[2,6,12] q, float[2,6,4] k, float[2,6,4] v",
        SPLIT.replace("Reshape(k, heads)", "Reshape(k, kv_heads)")
        .replace("Reshape(v, heads)", "Reshape(v, kv_heads)")
        .replace("kt = Transpose<perm=[0,2,3,1]>(k4)", "kh = Transpose<perm=[0,2,1,3]>(k4)")
        + "kg = Reshape(kh, groups)  ke = Expand(kg, repeated)  kr = Reshape(ke, b_h_s_d)"
        + "  vg = Reshape(vh, groups)  ve = Expand(vg, repeated)  vr = Reshape(ve, b_h_s_d)"
        + "  kt = Transpose<perm=[0,1,3,2]>(kr)  s = MatMul(qh, kt)  p = Softmax<axis=-1>(s)"
        + JOIN.replace("vh", "vr"),
    ),
    "keys repeated and scaled, values as they are": (
        "float[2,6,12] q, float[2,6,4] k, float[2,6,12] v",
        SPLIT.replace("Reshape(k, heads)", "Reshape(k, kv_heads)").replace(
            "kt = Transpose<perm=[0,2,3,1]>(k4)", "kh = Transpose<perm=[0,2,1,3]>(k4)"
        )
        + "kg = Reshape(kh, groups)  ke = Expand(kg, repeated)  kr = Reshape(ke, b_h_s_d)"
        + "  kt = Transpose<perm=[0,1,3,2]>(kr)  ks = Mul(kt, half)  s = MatMul(qh, ks)  p = Softmax<axis=-1>(s)"
        + JOIN,
    ),
    "keys repeated by an expansion, values by tiles": (
        "float[2,6,12] q, float[2,6,4] k, float[2,6,4] v",
        SPLIT.replace("Reshape(k, heads)", "Reshape(k, kv_heads)")
        .replace("Reshape(v, heads)", "Reshape(v, kv_heads)")
        .replace("kt = Transpose<perm=[0,2,3,1]>(k4)", "kh = Transpose<perm=[0,2,1,3]>(k4)")
        + "kg = Reshape(kh, groups)  ke = Expand(kg, repeated)  kr = Reshape(ke, b_h_s_d)"
        + "  vg = Reshape(vh, groups)  ve = Tile(vg, thrice)  vr = Reshape(ve, b_h_s_d)"
        + "  kt = Transpose<perm=[0,1,3,2]>(kr)  s = MatMul(qh, kt)  p = Softmax<axis=-1>(s)"
        + JOIN.replace("vh", "vr"),
    ),
    "four axes": (FOUR, "s = MatMul(q, k)  p = Softmax<axis=-1>(s)  y = MatMul(p, v)"),
    "one head": (
        "float[5,4] q, float[4,7] k, float[7,6] v",
        "s = MatMul(q, k)  p = Softmax<axis=-1>(s)  y = MatMul(p, v)",
    ),
}
NOT_JOINED = {
    "softmax over queries": (FOUR, "s = MatMul(q, k)  p = Softmax<axis=2>(s)  y = MatMul(p, v)"),
    "two queries": (
        "float[2,3,2,4] q, float[2,3,4,7] k, float[2,3,7,6] v",
        "s = MatMul(q, k)  p = Softmax<axis=-1>(s)  y = MatMul(p, v)",
    ),
    "a linear layer": ("float[5,4] q, float[4,7] k", "s = MatMul(q, k)  y = Softmax<axis=-1>(s)"),
    "scaled probabilities": (FOUR, "s = MatMul(q, k)  p = Softmax<axis=-1>(s)  t = Mul(p, half)  y = MatMul(t, v)"),
}


def model_of(folder, inputs, nodes):
    lines = "\n".join(part.strip() for part in nodes.replace("\n", "  ").split("  ") if part.strip())
    text = f"g ({inputs}) => (float y) {{ {lines} }}"
    used = {name: array for name, array in CONSTANTS.items() if name in nodes}
    return import_model(write_model(folder / "model.onnx", text, used), Options())


def fused(model):
    """The attention ops of the model, once the pass ran and left its meaning as it was."""
    run_pipeline(model, [*CLEAN, LegalizeSpatial(), *CLEAN])
    types = [type_of(argument) for argument in model.main.body.block.args]
    inputs = [RANDOM.standard_normal(type_.static_shape) for type_ in types]
    inputs = [(x > 0 if t.dtype == bool else x).astype(t.dtype) for x, t in zip(inputs, types, strict=True)]
    before = run(model, inputs)
    run_pipeline(model, [FuseAttention(), *CLEAN])
    for found, expected in zip(run(model, inputs), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return [op for op in model.main.body.block.ops if isinstance(op, AttentionOp)]


@pytest.mark.parametrize("name", FORMS)
def test_forms(name, tmp_path):
    (op,) = fused(model_of(tmp_path, *FORMS[name]))
    assert "repeated by" not in name or op.shape.kv_heads == 1
    scores = [size for size in op.shape.scores if size != 1]
    for extra in op.extras:
        assert name == "three axes" or len([d for d in type_of(extra).shape if d != 1]) < len(scores), (
            "a mask is expanded"
        )


@pytest.mark.parametrize("name", NOT_JOINED)
def test_what_is_not_joined(name, tmp_path):
    assert not fused(model_of(tmp_path, *NOT_JOINED[name]))
