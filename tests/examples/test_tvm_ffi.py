"""Artifacts as modules of TVM-FFI: tensors are used where they lie, and wrong ones are refused with their name."""

from __future__ import annotations

import json
import platform
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from artifact import toy

tvm_ffi = pytest.importorskip("tvm_ffi", reason="no apache-tvm-ffi")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 Linux code")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return tvm_ffi.load_module(str(toy.build(tmp_path_factory.mktemp("toy"), "x86", threads=2)))


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
