"""Feed-forwards around activations that are often zero, on all ISAs of x86 and several threads, against onnxruntime."""

import numpy as np
import pytest
from whole_models import compile_and_compare, write_model

ACTIVATIONS = {
    "relu": "a = Relu(u)",
    "relu6": "a = Clip(u, zero, six)",
    "squared relu": "r = Relu(u) a = Mul(r, r)",
    "gated": "g = Gemm<transB = 1>(x, w3) r = Relu(g) a = Mul(r, u)",
    "in another shape": "r = Relu(u) s = Reshape(r, shape) c = Abs(s) a = Reshape(c, back)",
}


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_feed_forward(tmp_path, activation, tokens):
    random = np.random.default_rng(0)
    sizes = {"w1": (1100, 96), "w2": (600, 1100), "w3": (1100, 96)}
    weights = {name: random.standard_normal(size).astype(np.float32) / 10 for name, size in sizes.items()}
    weights |= {"zero": np.float32(0), "six": np.float32(6)}
    weights |= {"shape": np.array([tokens, 2, 550]), "back": np.array([tokens, 1100])}
    text = f"""g (float[{tokens},96] x) => (float[{tokens},600] y) {{
        [up] u = Gemm<transB = 1>(x, w1) {activation} [down] y = Gemm<transB = 1>(a, w2) }}"""
    used = {name: np.asarray(array) for name, array in weights.items() if name in text}
    compile_and_compare(write_model(tmp_path / "m.onnx", text, used), tmp_path)
