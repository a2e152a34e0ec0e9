"""Models on ARM touch no byte outside the caller's buffers, which lie between pages without access, under qemu."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zoo

from sparsec.compiler import Options, compile_file
from sparsec.targets.tools import zig
from sparsec.verify import onnxruntime_session

MODELS = {
    "mobilenet_v1": {"sparsity": 0.0},
    "mobilenet_v1 with 90 % zeros": {"sparsity": 0.9},
    "resnet50 with 80 % zeros": {"sparsity": 0.8},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the zoo; odd sizes leave parts of vectors and panels over."""
    name = request.param.split()[0]
    folder = tmp_path_factory.mktemp("guards")
    return zoo.save(folder, name, size=72, width=0.25, classes=37, **MODELS[request.param])


@pytest.fixture(scope="module")
def program(model: Path) -> Path:
    """The model for ARM, linked with guarded.c."""
    compile_file(model, model.with_suffix(".o"), Options(target="arm", emit="obj"))
    header = model.with_suffix(".h")
    name = re.search(r"(\w+)_workspace_size\(", header.read_text())
    assert name
    flags = "-static", "-O1", f"-DMODEL={name[1]}", f'-DMODEL_HEADER="{header.name}"', f"-I{model.parent}"
    source, made = Path(__file__).with_name("guarded.c"), model.with_suffix("")
    zig("cc", "-target", "aarch64-linux-musl", *flags, source, model.with_suffix(".o"), "-o", made)
    return made


@pytest.mark.parametrize("where", ["start", "end"])
def test_nothing_beside_the_buffers_is_touched(model: Path, program: Path, where: str) -> None:
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        assert "SPARSEC_CI" not in os.environ, "CI installs qemu-user-static"
        pytest.skip("qemu-aarch64-static is not installed")
    session = onnxruntime_session(model)
    assert session is not None
    x = np.random.default_rng(0).standard_normal((1, 3, 72, 72), dtype=np.float32)
    done = subprocess.run([emulator, program, where], input=x.tobytes(), stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0, f"qemu ended with {done.returncode}"
    (expected,) = session({"input": x}).values()
    y = np.frombuffer(done.stdout, np.float32).reshape(expected.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
