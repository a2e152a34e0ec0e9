"""`sparsec compile --attention`, and masks that a model has itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from whole_models import write_model

from sparsec import compile as compile_model

TOKENS, HEADS, DEPTH = 150, 2, 8
SPLIT = """
    q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
    qs = Reshape(q, split) ks = Reshape(k, split) vs = Reshape(v, split)
    qh = Transpose<perm=[0, 2, 1, 3]>(qs) kh = Transpose<perm=[0, 2, 3, 1]>(ks) vh = Transpose<perm=[0, 2, 1, 3]>(vs)
    s = MatMul(qh, kh)
"""
JOIN = "p = Softmax<axis=-1>(m) o = MatMul(p, vh) ot = Transpose<perm=[0, 2, 1, 3]>(o) y = Reshape(ot, joined)"


@pytest.fixture
def model(tmp_path: Path):
    """Writes self-attention, its softmax called "attn", with the scores m made of s."""

    def write(scores: str = "m = Mul(s, scale)", **weights: np.ndarray) -> Path:
        random = np.random.default_rng(0)
        width = HEADS * DEPTH
        arrays = {f"w{name}": random.standard_normal((width, width)).astype(np.float32) for name in "qkv"}
        arrays |= {"split": np.array([1, TOKENS, HEADS, DEPTH]), "joined": np.array([1, TOKENS, width])}
        arrays |= {"scale": np.array(0.1, np.float32), **weights}
        used = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", SPLIT + scores + JOIN)}
        sizes = f"float[1,{TOKENS},{width}]"
        path = write_model(tmp_path / "m.onnx", f"g ({sizes} x) => ({sizes} y) {{ {SPLIT} {scores} {JOIN} }}", used)
        proto = onnx.load(path)
        for node in proto.graph.node:
            node.name = "attn" if node.op_type == "Softmax" else f"/{node.output[0]}"
        onnx.save(proto, path)
        return path

    return write


def attention(sparsec) -> dict:
    """What `explain` says of the attention of m.so."""
    (layer,) = [layer for layer in sparsec("explain", "m.so", "--json").json if layer["op"] == "sp.attention"]
    return layer


def test_patterns_are_masks(sparsec, model, tmp_path: Path) -> None:
    model()
    pattern = {"causal": True, "streaming": {"sink": 10, "recent": 20, "heads": [1]}}
    (tmp_path / "p.json").write_text(json.dumps({"attn": pattern}))
    done = sparsec("compile", "m.onnx", "--attention", "p.json", "--verify")
    assert "keys of attention chosen by p.json" in done.stderr
    assert "from the interpreter" in done.stderr
    assert "from onnxruntime with explicit masks" in done.stderr
    layer = attention(sparsec)
    assert layer["pattern"] == "head 0 causal; head 1 causal, 10 first and 20 recent keys (by p.json)"
    assert layer["density"] == pytest.approx(18 / 30)
    assert "Compiled with --attention p.json" in sparsec("explain", "m.so").stdout


def test_other_verbs_compile_with_patterns_too(sparsec, model, tmp_path: Path) -> None:
    model()
    (tmp_path / "p.json").write_text(json.dumps({"attn": {"causal": True}}))
    (tmp_path / "none.json").write_text(json.dumps({"nobody": {"causal": True}}))
    assert sparsec("bench", "m.onnx", "--attention", "p.json", "--time", "0.1", "--json").json["sparsec"]["runs"] > 0
    assert "ratio" in sparsec("tune", "m.onnx", "--attention", "p.json", "--time", "0s", "-o", "c.jsonl", "--json").json
    for verb in ("bench", "tune"):
        assert "nobody" in sparsec(verb, "m.onnx", "--attention", "none.json", code=2).stderr
    sparsec("compile", "m.onnx")
    assert "--attention" in sparsec("bench", "m.so", "--attention", "p.json", code=2).stderr


def test_selections_are_made_by_the_run(sparsec, model, tmp_path: Path) -> None:
    kept, low = np.tri(TOKENS, dtype=bool), np.array([-3e38], np.float32)
    model("t = Mul(s, scale) m = Where(kept, t, low)", kept=kept, low=low)
    (tmp_path / "p.json").write_text(json.dumps({"*": {"topk": {"keep": 2}}}))
    done = sparsec("compile", "m.onnx", "--attention", "p.json", "--verify")
    assert "verified by the interpreter alone" in done.stderr
    layer = attention(sparsec)
    assert layer["pattern"] == "causal; the best 2 blocks of 64 keys, found at run time (by p.json)"
    assert layer["row"].endswith("_selected_masked")


@pytest.mark.parametrize("target", ["host", "wasm"])
def test_masks_of_the_model(sparsec, model, target: str) -> None:
    mask = np.where(np.tri(TOKENS, dtype=bool) & ~np.tri(TOKENS, k=-30, dtype=bool), 0, -np.inf)
    model("t = Mul(s, scale) m = Add(t, mask)", mask=mask.astype(np.float32)[None, None])
    output = ["--target", target, "-o", "m.wasm" if target == "wasm" else "m.so"]
    done = sparsec("compile", "m.onnx", *output, "--verify")
    assert "from onnxruntime" in done.stderr
    if target == "host":
        assert attention(sparsec)["pattern"] == "causal, a window of 30"


def test_operators_take_masks(sparsec, tmp_path: Path) -> None:
    sizes = f"float[1,{TOKENS},16]"
    text = f"({sizes} q, {sizes} k) => ({sizes} y) {{ y = Attention<q_num_heads=2, kv_num_heads=2>(q, k, k) }}"
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> g {text}')
    proto.graph.node[0].name = "attn"
    onnx.save(proto, tmp_path / "m.onnx")
    (tmp_path / "p.json").write_text(json.dumps({"*": {"window": {"size": 20}}}))
    done = sparsec("compile", "m.onnx", "--attention", "p.json", "--verify")
    assert "from onnxruntime with explicit masks" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"attn": {"causal": true', "p.json: not JSON"),
        ('{"attn": {"window": {"width": 3}}}', 'p.json: "attn": window knows no width: there are size'),
        ('{"other": {"causal": true}}', "p.json: no attention is called other; there are attn"),
    ],
)
def test_bad_files(sparsec, model, tmp_path: Path, files, content: str, message: str) -> None:
    model()
    (tmp_path / "p.json").write_text(content)
    assert message in sparsec("compile", "m.onnx", "--attention", "p.json", code=2).stderr
    assert files() == ["m.onnx", "p.json"]


def test_from_python(model, tmp_path: Path) -> None:
    pattern = tmp_path / "p.json"
    pattern.write_text('{"*": {"window": {"size": 10}}}')
    program = compile_model(str(model()), attention=str(pattern), verify=True)
    assert program.manifest["attention"] == "p.json"
