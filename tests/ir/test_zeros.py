"""Which linear layers read activations that are often zero, through fusion and movements."""

import onnx.parser
import pytest
from xdsl.dialects.builtin import FloatAttr, f64

from sparsec.frontend.onnx import check_model
from sparsec.ir import Contraction
from sparsec.passes import run_pipeline
from sparsec.passes.fuse_epilogues import FuseEpilogues
from sparsec.passes.fuse_maps import FuseMaps
from sparsec.zeros import AFTER_RELU, NONZEROS, nonzeros

OFTEN = {
    "relu": "a = Relu(u)",
    "relu6": "a = Clip(u, zero, six)",
    "clipped": "a = Clip(u, zero)",
    "squared": "r = Relu(u) a = Mul(r, r)",
    "power": "r = Relu(u) a = Pow(r, two)",
    "gated": "r = Relu(u) v = Tanh(x) a = Mul(r, v)",
    "thresholded": "a = ThresholdedRelu<alpha = 0.3>(u)",
    "shrunk": "a = Shrink<lambd = 0.5>(u)",
    "scaled": "r = Relu(u) a = Div(r, six)",
    "moved": "r = Relu(u) s = Reshape(r, turned) a = Reshape(s, back)",
    "two layers": "r = Relu(u) t = Transpose<perm = [1, 0]>(r) a = Transpose<perm = [1, 0]>(t)",
}
SELDOM = {
    "none": "a = Identity(u)",
    "gelu": "a = Gelu(u)",
    "silu": "s = Sigmoid(u) a = Mul(u, s)",
    "hard swish": "a = HardSwish(u)",
    "leaky": "a = LeakyRelu(u)",
    "shifted": "r = Relu(u) a = Add(r, six)",
    "from one": "a = Clip(u, two)",
    "softmax": "a = Softmax(u)",
}


def last_layer(text, tmp_path, fused):
    body = f"""<ir_version: 9, opset_import: ["" : 20]>
    g (float[1, 8] x) => (float[1, 4] y)
    <float[8, 8] w1 = {{{", ".join(["1"] * 64)}}}, float[8, 4] w2 = {{{", ".join(["1"] * 32)}}},
     float zero = {{0}}, float two = {{2}}, float six = {{6}}, int64[2] turned = {{4, 2}}, int64[2] back = {{1, 8}}>
    {{ u = MatMul(x, w1) {text} y = MatMul(a, w2) }}"""
    onnx.save(onnx.parser.parse_model(body), tmp_path / "m.onnx")
    model = check_model(tmp_path / "m.onnx").model
    assert model is not None
    if fused:
        run_pipeline(model, [FuseMaps(), FuseEpilogues()])
    return [op for op in model.module.walk() if isinstance(op, Contraction)][-1]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("text", OFTEN.values(), ids=OFTEN)
def test_often_zero(text, fused, tmp_path):
    assert nonzeros(last_layer(text, tmp_path, fused)) == AFTER_RELU


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("text", SELDOM.values(), ids=SELDOM)
def test_seldom_zero(text, fused, tmp_path):
    assert nonzeros(last_layer(text, tmp_path, fused)) is None


def test_known_share(tmp_path):
    op = last_layer(OFTEN["relu"], tmp_path, True)
    op.attributes[NONZEROS] = FloatAttr(0.125, f64)
    assert nonzeros(op) == 0.125


def test_long_graphs(tmp_path):
    """Neither many squares of squares nor a long chain take long or fail."""
    squares = " ".join(f"s{i + 1} = Mul(s{i}, s{i})" for i in range(60))
    assert nonzeros(last_layer(f"s0 = Tanh(u) {squares} a = Identity(s60)", tmp_path, False)) is None
    chain = " ".join(f"s{i + 1} = Abs(s{i})" for i in range(1500))
    assert nonzeros(last_layer(f"s0 = Relu(u) {chain} a = Identity(s1500)", tmp_path, False)) is None
