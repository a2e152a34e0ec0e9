"""Artifacts as modules of TVM-FFI: tensors are used where they lie, and wrong ones are refused with their name."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

tvm_ffi = pytest.importorskip("tvm_ffi", reason="no apache-tvm-ffi")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 Linux code")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return toy.build(tmp_path_factory.mktemp("toy"), "x86", threads=2)


@pytest.fixture(scope="module")
def module(library):
    return tvm_ffi.load_module(str(library))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(toy.SHAPE, dtype=np.float32)


def run(module, *arrays: np.ndarray, workspace: np.ndarray | None = None) -> None:
    """`arrays` and a workspace, whose memory TVM-FFI's tensors share."""
    space = np.empty(module.workspace_size(), np.uint8) if workspace is None else workspace
    module.run(*map(tvm_ffi.from_dlpack, (*arrays, space)))


def test_nothing_is_copied(module, x):
    """The result is in the caller's own memory, also inside a larger tensor, from where it begins."""
    y = np.zeros((3, *toy.SHAPE), np.float32)
    run(module, x, y[1])
    np.testing.assert_allclose(y[1], toy.expected(x), rtol=1e-6, atol=1e-5)
    assert not y[0].any()
    assert not y[2].any()


def test_tensors_by_dlpack_pointer(module, x):
    """Arrays are taken as they are as well: TVM-FFI passes pointers to their DLTensor."""
    y = np.zeros_like(x)
    module.run(x, y, np.empty(module.workspace_size(), np.uint8))
    np.testing.assert_allclose(y, toy.expected(x), rtol=1e-6, atol=1e-5)


def test_four_callers_at_once(module, x):
    def scaled(scale: int) -> np.ndarray:
        y = np.zeros_like(x)
        run(module, x * scale, y)
        return y

    with ThreadPoolExecutor(4) as pool:
        for scale, y in enumerate(pool.map(scaled, range(4))):
            np.testing.assert_allclose(y, toy.expected(x * scale), rtol=1e-6, atol=1e-5)


def test_program_in_cpp(library, tmp_path):
    """By TVM-FFI's own header and library, without Python."""
    compiler = shutil.which("c++") or pytest.skip("no C++ compiler")
    runtime = Path(tvm_ffi.libinfo.find_libtvm_ffi())
    includes = [
        f"-I{path}" for path in (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())
    ]
    flags = ["-std=c++17", "-O0", *includes, f"-Wl,-rpath,{runtime.parent}"]
    source = Path(__file__).with_name("load_module.cpp")
    subprocess.run([compiler, *flags, source, runtime, "-o", tmp_path / "program"], check=True)
    done = subprocess.run([tmp_path / "program", library], check=True, capture_output=True, text=True)
    ones = toy.expected(np.ones(toy.SHAPE, np.float32))
    assert float(done.stdout) == pytest.approx(ones[-1, -1], rel=1e-5)


def test_manifest(module):
    manifest = json.loads(module.manifest())
    assert [port["name"] for port in manifest["inputs"] + manifest["outputs"]] == ["x", 'y"\\ü']
    assert manifest["workspace_bytes"] == module.workspace_size()


def test_wrong_tensors(module, x):
    y, wrong = np.zeros_like(x), "needs a contiguous tensor on the CPU"
    for inputs, message in (
        ((x[1:], y), f"input x {wrong}"),
        ((x.astype(np.float64), y), f"input x {wrong}"),
        ((x.view(np.int32), y), f"input x {wrong}"),
        ((x, y.T), f"output y.* {wrong}"),
        ((np.asfortranarray(x), y), f"input x {wrong}"),
        ((x[0], y), f"input x {wrong}"),
    ):
        with pytest.raises(ValueError, match=message):
            run(module, *inputs)
    with pytest.raises(ValueError, match=f"the workspace.* {wrong}"):
        run(module, x, y, workspace=np.empty(8, np.uint8))
    with pytest.raises(TypeError, match="run takes the inputs, the outputs and a workspace"):
        run(module, x)
    with pytest.raises(TypeError, match="input x is no tensor"):
        module.run(1, y, y)
