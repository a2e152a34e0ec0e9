"""The other verbs: check, run, bench, explain, prune, opt, targets, doctor, and help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import zoo
from onnx import TensorProto, helper, numpy_helper
from whole_models import write_model

from sparsec.program import load

VERBS = ("check", "compile", "run", "bench", "explain", "prune", "opt", "targets", "calibrate", "tune", "doctor")
HEAVY = {"numpy", "onnx", "xdsl", "mlir", "llvmlite", "rich"}


def test_help_is_quick() -> None:
    """It imports nothing that takes long."""
    script = "import sys, sparsec.cli\ntry: sparsec.cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(f"  {verb} " in done.stdout for verb in VERBS)
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "sparsec", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sparsec, version ")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(sparsec, verb: str) -> None:
    assert f"Usage: sparsec {verb}" in sparsec(verb, "--help").stdout


def test_usage(sparsec) -> None:
    assert "Usage: sparsec" in sparsec(code=2).stderr
    assert "No such command 'frobnicate'" in sparsec("frobnicate", code=2).stderr
    assert "Missing argument" in sparsec("run", code=2).stderr
    assert sparsec("--version").stdout.startswith("sparsec, version ")


def test_check(sparsec, model: Path) -> None:
    done = sparsec("check", "m.onnx")
    assert "input x: 1x3x8x8 float32" in done.stdout
    assert "nothing is in the way" in done.stdout
    found = sparsec("check", "m.onnx", "--json").json
    assert found["operators"] == {"Conv": 1, "Relu": 1}
    assert (found["problems"], found["layers"][0]["pattern"]) == ([], "dense")


def test_check_lists_everything_unsupported(sparsec, tmp_path: Path) -> None:
    text = "g (float[4] x) => (float[n] y) { a = NonZero(x) b = Unique(x) c = Cast<to=1>(a) y = Add(c, b) }"
    write_model(tmp_path / "n.onnx", text)
    done = sparsec("check", "n.onnx", code=3)
    assert "NonZero" in done.stdout
    assert "Unique" in done.stdout
    problems = sparsec("check", "n.onnx", "--json", code=3).json["problems"]
    assert {"NonZero", "Unique"} <= {problem["op"] for problem in problems}


def test_check_of_symbolic_sizes(sparsec, symbolic: Path) -> None:
    done = sparsec("check", "symbolic.onnx")
    assert "input x: batchx3xhx8 float32" in done.stdout
    assert "--dim batch=N --dim h=N" in done.stdout
    done = sparsec("check", zoo.nudenet(), code=2)
    assert "--dim height=… --dim width=…" in done.stdout
    assert "Conv" in done.stdout
    found = sparsec("check", zoo.nudenet(), "--dim", "height=320", "--dim", "width=320", "--json").json
    assert found["symbols"] == ["batch"]


def external(path: Path, location: str) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    path.write_bytes(
        helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:], [tensor])).SerializeToString()
    )


def test_check_of_hostile_files(sparsec, model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"hello",
        "short": whole[: len(whole) // 2],
        "elf": b"\x7fELF" * 40,
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        done = sparsec("check", f"{name}.onnx", "--json", code=4)
        assert f"{name}.onnx" in done.json["error"]
    for location in ("../secret", "/etc/passwd", "missing"):
        external(tmp_path / "e.onnx", location)
        assert location in sparsec("check", "e.onnx", code=4).stdout
    assert "is a folder" in sparsec("check", ".", code=2).stderr


def test_run(sparsec, artifact: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 32, 32), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", input=x)
    (expected,) = load(artifact)(x)
    for name in ("x.npy", "x.npz"):
        sparsec("run", artifact, "--input", name, "--output", "out/y.npz")
        with np.load(tmp_path / "out/y.npz") as found:
            np.testing.assert_array_equal(found["output"], expected)
    (row,) = sparsec("run", artifact, "--input", "x.npy", "--json").json["outputs"]
    assert (row["name"], row["shape"]) == ("output", "1x10")
    assert row["max"] == pytest.approx(float(expected.max()))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["y.npz"]


def test_outputs_without_numbers_are_still_json(sparsec, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 3, 8, 8), np.nan, np.float32))
    sparsec("compile", "m.onnx")
    assert sparsec("run", "m.so", "--input", "x.npy", "--json").json["outputs"][0]["max"] is None


def test_run_on_wrong_inputs(sparsec, artifact: Path, tmp_path: Path) -> None:
    wrong = {
        "shape": ({"input": np.ones((1, 3, 32, 31), np.float32)}, "expected float32[1, 3, 32, 32], got"),
        "dtype": ({"input": np.ones((1, 3, 32, 32))}, "astype"),
        "name": ({"image": np.ones((1, 3, 32, 32), np.float32)}, "no input 'image'"),
        "none": ({}, "is missing"),
    }
    for name, (arrays, message) in wrong.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        assert message in sparsec("run", artifact, "--input", f"{name}.npz", "--output", "y.npz", code=2).stderr
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    (tmp_path / "words.txt").write_text("1 2 3")
    for name in ("object.npy", "broken.npz", "words.txt", "missing.npy"):
        assert name in sparsec("run", artifact, "--input", name, code=2).stderr
    assert not (tmp_path / "y.npz").exists()


def test_run_on_what_is_no_artifact(sparsec, artifact: Path, model: Path, tmp_path: Path) -> None:
    assert "no such file" in sparsec("run", "missing.so", code=2).stderr
    assert "not an artifact" in sparsec("run", "m.onnx", code=4).stderr
    (tmp_path / "cut.so").write_bytes(artifact.read_bytes()[:5000])
    assert "truncated" in sparsec("run", "cut.so", code=4).stderr


def test_run_of_code_for_another_machine(sparsec, model: Path) -> None:
    sparsec("compile", "m.onnx", "--target", "arm", "-o", "arm.so")
    assert "qemu-user-static" in sparsec("run", "arm.so", code=6, PATH="/nowhere").stderr
    assert sparsec("explain", "arm.so", "--json", PATH="/nowhere").json


def test_bench(sparsec, artifact: Path, model: Path) -> None:
    found = sparsec("bench", artifact, "--time", "0.1", "--json").json
    assert found["sparsec"]["median_ms"] > 0
    found = sparsec("bench", "m.onnx", "--vs", "onnxruntime", "--time", "0.1", "--json").json
    medians = [found[name]["median_ms"] for name in ("onnxruntime", "sparsec")]
    assert found["ratio"] == pytest.approx(medians[0] / medians[1], rel=0.5)
    assert "times as fast" in sparsec("bench", "m.onnx", "--vs", "onnxruntime", "--time", "0.1").stdout
    assert "--model" in sparsec("bench", artifact, "--vs", "onnxruntime", code=2).stderr
    assert sparsec("bench", "m.onnx", "--target", "wasm", "--time", "0.1", "--json").json["sparsec"]["runs"] > 0


def test_explain(sparsec, artifact: Path) -> None:
    text = sparsec("explain", artifact).stdout
    steps = sparsec("explain", artifact, "--json").json
    assert all(step["seconds"] > 0 for step in steps)
    layers = [layer for layer in steps if "alternatives" in layer]
    pruned = [layer for layer in layers if layer["pattern"].startswith("unstructured")]
    assert len(pruned) >= 10
    for layer in layers:
        assert layer["node"] in text
        assert layer["reason"] or len(layer["alternatives"]) == 1
        mostly_zero = layer["density"] <= 0.9
        allowed = [a for a in layer["alternatives"] if mostly_zero or a["format"] == "dense"]
        assert min(allowed, key=lambda a: a["seconds"])["row"] == layer["row"]
    detail = sparsec("explain", artifact, pruned[0]["node"]).stdout
    assert all(alternative["row"] in detail for alternative in pruned[0]["alternatives"])
    assert "no layer called 'nothing'" in sparsec("explain", artifact, "nothing", code=2).stderr
    assert "not an artifact" in sparsec("explain", __file__, code=4).stderr


@pytest.mark.parametrize(
    ("pattern", "found"), [("unstructured", "unstructured"), ("4x1", "4x1"), ("2:4", "2:4"), ("channel", "channel")]
)
def test_prune_then_compile_then_explain(sparsec, tmp_path: Path, pattern: str, found: str) -> None:
    zoo.save(tmp_path, "mobilenet_v1", size=32, width=0.5, classes=10)
    sparsity = [] if ":" in pattern else ["--sparsity", "0.75"]
    report = sparsec("prune", "mobilenet_v1.onnx", "--pattern", pattern, *sparsity, "-o", "pruned.onnx", "--json").json
    assert any(layer["pattern"].startswith(found) for layer in report["layers"])
    onnx.checker.check_model(tmp_path / "pruned.onnx")
    layers = sparsec("check", "pruned.onnx", "--json").json["layers"]
    assert any(layer["pattern"].startswith(found) for layer in layers)
    sparsec("compile", "pruned.onnx", "-o", "pruned.so", "--verify")
    rows = [layer for layer in sparsec("explain", "pruned.so", "--json").json if "alternatives" in layer]
    assert all(row["pattern"] and (row["reason"] or len(row["alternatives"]) == 1) for row in rows)
    if pattern != "channel":  # dead channels are gone from what runs
        assert any(row["pattern"].startswith(found) for row in rows)


def test_prune_usage(sparsec, tmp_path: Path, files) -> None:
    zoo.save(tmp_path, "mobilenet_v1", size=32, width=0.25, classes=10)

    def message(*words: str) -> str:
        return sparsec("prune", "mobilenet_v1.onnx", *words, code=2).stderr

    assert "no pattern '3x'" in message("--pattern", "3x", "--sparsity", "0.5", "-o", "p.onnx")
    assert "needs --sparsity" in message("-o", "p.onnx")
    assert "--skip nothing" in message("--skip", "nothing", "--sparsity", "0.5", "-o", "p.onnx")
    assert "mobilenet_v1.onnx" in message("--sparsity", "0.5", "-o", "mobilenet_v1.onnx/p.onnx")
    assert files() == ["mobilenet_v1.onnx"]


def test_opt(sparsec, tmp_path: Path) -> None:
    text = sparsec("opt", "-", "-p", "fold_constants", stdin=IDENTITY).stdout
    assert "func.func @main" in text
    assert "no pass called magic" in sparsec("opt", "-", "-p", "magic", stdin=IDENTITY, code=2).stderr
    assert "not a valid module" in sparsec("opt", "-", "-p", "fold_constants", stdin="func", code=4).stderr
    assert "missing.mlir" in sparsec("opt", "missing.mlir", "-p", "fold_constants", code=2).stderr


IDENTITY = """
func.func @main(%x: !sp.tensor<[2, 3], f32>) -> !sp.tensor<[2, 3], f32> attributes {
    input_names = ["x"], output_names = ["y"]} {
  func.return %x : !sp.tensor<[2, 3], f32>
}
"""


def test_targets_and_doctor(sparsec) -> None:
    assert {"host", "x86", "arm", "wasm"} <= set(sparsec("targets", "--json").json)
    assert "x86:znver5" in sparsec("targets").stdout
    findings = {finding["what"]: finding for finding in sparsec("doctor", "--json").json}
    assert findings["code generation and linking"]["state"] == "ok"
    assert "onnxruntime" in sparsec("doctor").stdout


def test_weights_of_the_model_are_not_in_dumps(sparsec, tmp_path: Path, model: Path) -> None:
    sparsec("compile", "m.onnx", SPARSEC_DUMP="dump", SPARSEC_VERIFY="1")
    names = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert names[0] == "00-import.mlir"
    assert "sp.conv" in (tmp_path / "dump" / names[-1]).read_text()
    assert numpy_helper is not None
