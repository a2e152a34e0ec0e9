"""`sparsec compile`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from whole_models import write_model

from sparsec.program import load
from sparsec.verify import BF16_TOLERANCE, relative_error


def test_makes_a_library_and_a_header(sparsec, model: Path, files) -> None:
    done = sparsec("compile", "m.onnx")
    assert done.stdout == ""
    assert re.search(r"m\.so: \d kernels", done.stderr)
    assert files() == ["m.h", "m.onnx", "m.so"]
    sparsec("compile", "m.onnx", "-o", "new/folder/n.so")
    assert files() == ["m.h", "m.onnx", "m.so", "new", "new/folder", "new/folder/n.h", "new/folder/n.so"]


@pytest.mark.parametrize("name", ["twice", ""])
def test_nodes_of_one_name_are_told_apart(sparsec, tmp_path: Path, name: str) -> None:
    text = "g (float[1,4,8,8] x) => (float[1,6,8,8] y) { a = Conv(x, v) b = Softmax<axis=1>(a) y = Conv(b, w) }"
    weights = {"v": np.ones((5, 4, 1, 1), np.float32), "w": np.ones((6, 5, 1, 1), np.float32)}
    path = write_model(tmp_path / "n.onnx", text, weights)
    loaded = onnx.load(path)
    for node in loaded.graph.node:
        node.name = name
    onnx.save(loaded, path)
    sparsec("compile", path, "-o", "n.so")
    layers = sparsec("explain", "n.so", "--json").json
    assert len({layer["node"] for layer in layers}) == len(layers)
    shapes = [layer["shapes"] for layer in layers if "shapes" in layer]
    assert len(set(shapes)) == len(shapes) == 2


def test_layers_keep_the_names_of_their_nodes(sparsec, tmp_path: Path) -> None:
    """Changes of layout, which come before and after them, are the ones that are numbered."""
    text = "g (float[1,4,8,8] x) => (float[1,6,8,8] y) { [first] a = Conv(x, v) [last] y = Conv(a, w) }"
    weights = {"v": np.ones((5, 4, 1, 1), np.float32), "w": np.ones((6, 5, 1, 1), np.float32)}
    sparsec("compile", write_model(tmp_path / "n.onnx", text, weights), "-o", "n.so")
    layers = {layer["node"]: layer["op"] for layer in sparsec("explain", "n.so", "--json").json}
    assert {"first": "sp.conv", "last": "sp.conv", "first#2": "sp.relayout"}.items() <= layers.items()


def test_json(sparsec, model: Path, tmp_path: Path) -> None:
    found = sparsec("compile", "m.onnx", "--verify", "--threads", "2", "--json").json
    assert found["output"] == "m.so"
    assert {"import", "passes", "generate code and link", "verify"} <= set(found["seconds"])
    assert {entry["reference"] for entry in found["verify"]} == {"the interpreter", "onnxruntime"}
    manifest = found["manifest"]
    assert (manifest["threads"], manifest["isas"]) == (2, load(tmp_path / "m.so").manifest["isas"])
    assert "sp.conv" in {layer["op"] for layer in manifest["layers"]}


@pytest.mark.parametrize("words", [("--verify", "m.onnx"), ("m.onnx", "--verify"), ("m.onnx", "--verify=random")])
def test_verify_needs_no_value(sparsec, model: Path, words: tuple[str, ...]) -> None:
    assert "verified y: error" in sparsec("compile", *words).stderr


def test_verify_on_given_inputs(sparsec, model: Path, tmp_path: Path, files) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3, 8, 8), np.float32))
    for words in (["--verify=in.npz"], ["--verify", "in.npz"]):
        assert "verified y: error" in sparsec("compile", "m.onnx", *words).stderr
    before = files()
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3, 8, 9), np.float32))
    assert "1x3x8x8" in sparsec("compile", "m.onnx", "-o", "other.so", "--verify=in.npz", code=2).stderr
    np.savez(tmp_path / "in.npz", z=np.ones((1, 3, 8, 8), np.float32))
    assert "not z" in sparsec("compile", "m.onnx", "-o", "other.so", "--verify=in.npz", code=2).stderr
    (tmp_path / "in.npz").write_bytes(b"PK nothing")
    assert "in.npz" in sparsec("compile", "m.onnx", "-o", "other.so", "--verify=in.npz", code=2).stderr
    assert "in.npz" in sparsec("compile", "m.onnx", "-o", "other.so", "--verify=missing/in.npz", code=2).stderr
    assert files() == before


@pytest.mark.parametrize(
    ("emit", "name", "content"),
    [
        ("so", "m.so", b"\x7fELF"),
        ("obj", "m.o", b"\x7fELF"),
        ("mlir", "m.mlir", b"func.func"),
        ("llvm", "m.ll", b"define"),
        ("asm", "m.s", b".globl"),
    ],
)
def test_emit(sparsec, model: Path, tmp_path: Path, emit: str, name: str, content: bytes) -> None:
    sparsec("compile", "m.onnx", "--emit", emit)
    assert content in (tmp_path / name).read_bytes()


def test_wasm(sparsec, model: Path, tmp_path: Path, files) -> None:
    sparsec("compile", "m.onnx", "--target", "wasm", "--verify")
    assert (tmp_path / "m.wasm").read_bytes().startswith(b"\0asm")
    assert files() == ["m.d.ts", "m.js", "m.onnx", "m.wasm"]
    assert "from './m.js'" in (tmp_path / "m.js").read_text()
    sparsec("compile", "m.onnx", "--target", "wasm", "--emit", "asm")
    assert "f32x4.relaxed_madd" in (tmp_path / "m.s").read_text()


def test_wasm_with_weights_beside_it(sparsec, model: Path, tmp_path: Path, files) -> None:
    sparsec("compile", "m.onnx", "--target", "wasm", "--weights", "separate", "--verify")
    assert files() == ["m.bin", "m.d.ts", "m.js", "m.onnx", "m.wasm"]
    sparsec("compile", "m.onnx", "--target", "wasm", "--weights-limit", "1.2K", "-o", "n.wasm")
    assert 0 < (tmp_path / "n.bin").stat().st_size <= 1200


def test_wasm_for_workers(sparsec, model: Path) -> None:
    done = sparsec("compile", "m.onnx", "--target", "wasm+threads", "--threads", "4", "--verify", "--json")
    assert done.json["manifest"]["threads"] == 4
    assert done.json["manifest"]["isas"] == ["wasm-relaxed", "wasm"]


def test_scripts_of_others_are_not_overwritten(sparsec, model: Path, tmp_path: Path, files) -> None:
    (tmp_path / "m.js").write_text("mine")
    before = files()
    done = sparsec("compile", "m.onnx", "--target", "wasm", code=2)
    assert "m.js would be overwritten, and sparsec did not write it" in done.stderr
    assert ((tmp_path / "m.js").read_text(), files()) == ("mine", before)


def test_object_links_into_a_program(sparsec, model: Path, tmp_path: Path) -> None:
    sparsec("compile", "m.onnx", "--emit", "obj")
    shown = subprocess.run(["nm", "-g", "--defined-only", tmp_path / "m.o"], capture_output=True, text=True, check=True)
    assert " T m_run\n" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--emit", "wasm"], 2, "--emit wasm is not for host"),
        (["--emit", "so", "--target", "wasm"], 2, "--emit so is not for wasm"),
        (["--emit", "exe"], 2, "exe"),
        (["--target", "wasm", "--threads", "2"], 2, "--target wasm+threads"),
        (["--target", "wasm+threads"], 2, "needs --threads N, 2 or more"),
        (["--target", "wasm+simd256"], 2, "of features only"),
        (["--target", "wasm", "-o", "m.js"], 2, "should end in .wasm"),
        (["--weights", "separate"], 2, "from WebAssembly only, not from host"),
        (["--target", "wasm", "--weights-limit", "1"], 2, "should look like 25M"),
        (["--target", "wasm", "--weights", "inside", "--weights-limit", "25M"], 2, "--weights separate"),
        (["--emit", "asm", "--verify"], 2, "makes none that runs"),
        (["--target", "riscv"], 2, "no target called 'riscv'"),
        (["--target", "x86:pentium9"], 2, "pentium9"),
        (["--target", "x86:nehalem"], 6, "AVX2"),
        (["--target", "x86+warp"], 2, "warp"),
        (["--target", "host:znver5"], 2, "x86:znver5"),
        (["--target", "cuda"], 6, "cuda"),
        (["--threads", "0"], 2, "0"),
        (["--shape", "x=1x3x9x9"], 2, "does not fit"),
        (["--shape", "y=1"], 2, "no input is called 'y'"),
        (["--shape", "x:1x3"], 2, "name=1x3x224x224"),
        (["--shape", "x=1xcat"], 2, "not a number"),
        (["--shape", "x=0x3x8x8"], 2, "below 1"),
        (["--dim", "n=4"], 2, "no input has a symbolic size called 'n'"),
        (["--frobnicate"], 2, "--frobnicate"),
        (["second.onnx"], 2, "second.onnx"),
        (["-o", "."], 2, "is a folder"),
        (["-o", "m.onnx"], 2, "would overwrite"),
        (["-o", "m.onnx/m.so"], 2, "cannot write"),
        (["-o", "/proc/m.so"], 2, "/proc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(sparsec, model: Path, files, words: list[str], code: int, message: str) -> None:
    done = sparsec("compile", "m.onnx", *words, code=code)
    assert message in done.stderr
    assert done.stdout == ""
    assert files() == ["m.onnx"]


def test_missing_and_damaged_models(sparsec, model: Path, tmp_path: Path, files) -> None:
    assert "nothing.onnx" in sparsec("compile", "nothing.onnx", code=2).stderr
    (tmp_path / "m.onnx").write_bytes(model.read_bytes()[:100])
    done = sparsec("compile", "m.onnx", "--json", code=4)
    assert done.json["exit_code"] == 4
    assert "m.onnx is not an ONNX model" in done.json["error"]
    write_model(tmp_path / "n.onnx", "g (float[4] x) => (float[n] y) { z = NonZero(x) y = Cast<to=1>(z) }")
    assert "NonZero" in sparsec("compile", "n.onnx", code=3).stderr
    assert files() == ["m.onnx", "n.onnx"]


def test_open_sizes_are_named(sparsec, symbolic: Path, files) -> None:
    done = sparsec("compile", "symbolic.onnx", code=2)
    assert "--dim batch=N --dim h=N" in done.stderr
    assert "--dim h=N" in sparsec("compile", "symbolic.onnx", "--dim", "batch=2", code=2).stderr
    assert files() == ["symbolic.onnx"]
    sparsec("compile", "symbolic.onnx", "--dim", "batch=2", "--dim", "h=5", "-o", "a.so")
    sparsec("compile", "symbolic.onnx", "--shape", "x=2x3x5x8", "-o", "b.so")
    assert files() == ["a.h", "a.so", "b.h", "b.so", "symbolic.onnx"]


@pytest.mark.parametrize("name", ["9 lives.so", "_x.so", "größe-v1.2.so", f"{'long' * 40}.so", "x"])
def test_names_that_c_does_not_take(sparsec, model: Path, tmp_path: Path, name: str) -> None:
    sparsec("compile", "m.onnx", "-o", name)
    assert load(tmp_path / name).run(x=np.ones((1, 3, 8, 8), np.float32))


def test_bf16_is_asked_for_and_told(sparsec, model: Path, tmp_path: Path) -> None:
    """bf16 kernels only under --precision bf16, where the artifact says so and --verify shows the error."""
    plain = sparsec("compile", "m.onnx", "--json").json["manifest"]
    assert plain["precision"] == "f32"
    assert not any("bf16" in name for name in plain["isas"])
    assert "_bf16_" not in str(plain["layers"])
    found = sparsec("compile", "m.onnx", "--precision", "bf16", "--verify", "--json", "-o", "b.so").json
    assert found["manifest"]["precision"] == "bf16"
    assert "_bf16_" in str(found["manifest"]["layers"])
    assert {entry["tolerance"] for entry in found["verify"]} == {BF16_TOLERANCE}
    assert "--precision bf16" in sparsec("explain", "b.so").stdout
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (want,) = load(tmp_path / "m.so")(x)
    for isa in load(tmp_path / "b.so").manifest["isas"]:
        (have,) = load(tmp_path / "b.so", isa=isa)(x)
        assert relative_error(have, want) < BF16_TOLERANCE, isa
