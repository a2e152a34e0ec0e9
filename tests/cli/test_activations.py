"""Activation sparsity through the command line: layers behind a ReLU, and thresholds found on samples."""

import json

import numpy as np
import onnxruntime
import pytest
from whole_models import write_model

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w1": RANDOM.standard_normal((512, 256)).astype(np.float32) / 16,
    "b1": RANDOM.standard_normal(512).astype(np.float32) - 1,
    "w2": RANDOM.standard_normal((300, 512)).astype(np.float32) / 16,
}


def write(path, activation, tokens=1):
    text = f"""g (float[{tokens},256] x) => (float[{tokens},300] y) {{
        [up] u = Gemm<transB = 1>(x, w1, b1) [act] {activation} [down] y = Gemm<transB = 1>(a, w2) }}"""
    return write_model(path, text, WEIGHTS)


def inputs(tmp_path, count=1):
    x = RANDOM.standard_normal((count, 256)).astype(np.float32)
    np.savez(tmp_path / f"in{count}.npz", x=x)
    return x


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("target", ["host", "wasm"])
def test_relu(sparsec, tmp_path, target, tokens):
    model, artifact = write(tmp_path / "m.onnx", "a = Relu(u)", tokens), tmp_path / f"m{tokens}.{target}"
    artifact = artifact.with_suffix(".wasm" if target == "wasm" else ".so")
    sparsec("compile", model, "--target", target, "-o", artifact, "--verify")
    x = inputs(tmp_path, tokens)
    sparsec("run", artifact, "--input", f"in{tokens}.npz", "--output", "y.npz")
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], expected, rtol=1e-4, atol=1e-4)


def test_explained(sparsec, tmp_path):
    """A kernel that skips is chosen behind a ReLU, whatever this machine measured, and is said to."""
    sparsec("compile", write(tmp_path / "m.onnx", "a = Relu(u)"), "--target", "arm", "-o", "m.so")
    up, down = (layer for layer in sparsec("explain", "m.so", "--json").json if layer["node"] in ("up", "down"))
    assert "_skip_" in down["row"]
    assert "_skip_" not in "".join(alternative["row"] for alternative in up["alternatives"])
    assert "skips the weights of inputs that are zero, 50% expected" in sparsec("explain", "m.so", "down").stdout


def test_thresholds(sparsec, tmp_path):
    model, x = write(tmp_path / "m.onnx", "a = Tanh(u)"), inputs(tmp_path, 64)
    one = {"x": x[:1]}
    np.savez(tmp_path / "one.npz", **one)
    found = sparsec(
        "prune", model, "--activations", "0.6", "--samples", "in64.npz", "-o", "t.npz", "--skip", "up", "--json"
    )
    (layer,) = found.json["layers"]
    assert layer["node"] == "down"
    assert layer["zeros"] == pytest.approx(0.6, abs=0.01)
    compiled = sparsec("compile", model, "--activations", "t.npz", "-o", "m.so", "--verify", "one.npz")
    assert "verified y" in compiled.stderr
    assert "from the model without thresholds" in compiled.stderr
    sparsec("run", "m.so", "--input", "one.npz", "--output", "y.npz")
    explained = sparsec("explain", "m.so", "--json").json
    (down,) = (entry for entry in explained if entry["node"] == "down")
    assert 0 < down["thresholds"][0] < down["thresholds"][1]
    assert "60% expected" in "".join(alternative["reason"] for alternative in down["alternatives"])
    assert "count as zeros (--activations)" in sparsec("explain", "m.so").stdout

    a = np.tanh(one["x"] @ WEIGHTS["w1"].T + WEIGHTS["b1"])
    cut = np.where(np.abs(a) <= np.load(tmp_path / "t.npz")["down"], 0, a)
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], cut @ WEIGHTS["w2"].T, rtol=1e-4, atol=1e-4)


def test_errors(sparsec, tmp_path):
    model = write(tmp_path / "m.onnx", "a = Relu(u)")
    (tmp_path / "t.json").write_text(json.dumps({"dawn": 1}))
    (tmp_path / "t.npz").write_text("no archive")
    inputs(tmp_path, 4)
    cases = {
        ("compile", model, "--activations", "t.json"): "'dawn': no such linear layer; there are up, down",
        ("compile", model, "--activations", "t.npz"): "t.npz: cannot be read",
        ("compile", model, "--activations", "u.npz"): "u.npz: not a file of thresholds",
        ("prune", model, "--activations", "0.5", "-o", "o.npz"): "--samples inputs.npz",
        ("prune", model, "--activations", "0.5", "--samples", "in4.npz", "-o", "o.onnx"): "an .npz file",
        ("prune", model, "--activations", "0.5", "--sparsity", "0.5", "-o", "o.npz"): "in a run of its own",
        ("prune", model, "--sparsity", "0.5", "--samples", "in4.npz", "-o", "o.onnx"): "--samples are for",
    }
    for words, message in cases.items():
        assert message in sparsec(*words, code=2).stderr
    assert not list(tmp_path.glob("o.*"))
