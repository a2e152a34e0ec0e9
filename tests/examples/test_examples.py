"""The programs of examples/, built and run as their first lines say."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

from sparsec.targets.tools import zig
from sparsec.transport import emulator

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 Linux code")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Callable[[str], Path]:
    """The toy model called `model`, as the kind of artifact that is asked for, all in one folder."""
    folder = tmp_path_factory.mktemp("model")
    made: dict[str, Path] = {}

    def build(emit: str) -> Path:
        if emit not in made:
            made[emit] = toy.build(folder, "x86", emit, name="model", threads=2)
        return made[emit]

    return build


def tool(name: str) -> str:
    """The path of a command; skips where it is missing, which CI does not allow."""
    found = shutil.which(name)
    assert found or "SPARSEC_CI" not in os.environ, f"CI installs {name}"
    return found or pytest.skip(f"no {name} on this machine")


def output(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_value(size: int = 67 * 50) -> str:
    """What the toy model gives for a ramp from 0 to 1."""
    ramp = (np.arange(size, dtype=np.float32) / size).reshape(toy.SHAPE)
    return f"first value {toy.expected(ramp)[0, 0]:.6g}"


def test_c_with_threads(model, tmp_path):
    object_file = model("obj")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", f"-I{object_file.parent}"]
    subprocess.run(
        [tool("cc"), *flags, EXAMPLES / "c" / "threads.c", object_file, "-o", tmp_path / "threads"], check=True
    )
    assert output(tmp_path / "threads") == "equal\n"


@pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static")
def test_c_on_arm(tmp_path):
    """Static programs with musl, under qemu."""
    artifact = toy.build(tmp_path, "arm", "obj", name="model", threads=2)
    for example, expected in (("threads", "equal"), ("main", first_value())):
        source, program = EXAMPLES / "c" / f"{example}.c", tmp_path / example
        zig("cc", "-target", "aarch64-linux-musl", "-static", "-O1", f"-I{tmp_path}", source, artifact, "-o", program)
        assert output(*emulator(), program).splitlines()[-1] == expected


@pytest.mark.parametrize("emit", ["a", "so"])
def test_cpp(model, tmp_path, emit):
    linked = model(emit)
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{linked.parent}"]
    subprocess.run([tool("c++"), *flags, EXAMPLES / "cpp" / "main.cpp", linked, "-o", tmp_path / "main"], check=True)
    assert output(tmp_path / "main") == f"{first_value()}\n" * 4


def test_rust(model, tmp_path):
    manifest = EXAMPLES / "rust" / "Cargo.toml"
    environment = {"MODEL": str(model("a")), "CARGO_TARGET_DIR": str(tmp_path)}
    lines = output(
        tool("cargo"), "run", "--quiet", "--offline", "--manifest-path", manifest, **environment
    ).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [["first", "value"]] * 4
    np.testing.assert_allclose([float(line.split()[2]) for line in lines[:4]], float(first_value().split()[2]), 1e-5)
    assert lines[4] == "x is float32 of shape [67, 50], not 3 elements of uint8"


@pytest.mark.parametrize("threads", ["1", "2"])
def test_python_alone(model, threads):
    """-S: without any package, sparsec included."""
    program = EXAMPLES / "python" / "model_ctypes.py"
    lines = output(sys.executable, "-I", "-S", program, model("so"), threads)
    assert lines == f"output (67, 50) {first_value()}\n"


def test_python_with_tvm_ffi(model):
    if not importlib.util.find_spec("tvm_ffi"):
        pytest.skip("no apache-tvm-ffi")
    lines = output(sys.executable, "-I", EXAMPLES / "python" / "model_tvm_ffi.py", model("so"))
    assert lines == f"output (67, 50) {first_value()}\n"
