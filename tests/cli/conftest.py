"""The real command in a process of its own, small models, and one artifact that many tests look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo
from forked import run_command
from whole_models import write_model


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """stdout, which is one JSON value and nothing else."""
        return json.loads(self.stdout, parse_constant=pytest.fail)


Sparsec = Callable[..., Outcome]


@pytest.fixture
def sparsec(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Sparsec:
    """Runs `sparsec WORDS…` in the test's folder. No outcome but an internal error's may mention a traceback."""

    def run(*words: object, code: int = 0, stdin: str = "", **environment: str) -> Outcome:
        streams = tmp_path_factory.mktemp("streams")
        (streams / "0").write_text(stdin)
        ended = run_command([str(word) for word in words], tmp_path, streams, {**os.environ, **environment})
        stdout, stderr = ((streams / name).read_text() for name in "12")
        assert ended == code, f"{words}: {ended}\n{stdout}\n{stderr}"
        assert "Traceback" not in stdout + stderr or "--debug" in words, stderr
        return Outcome(code, stdout, stderr)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """One convolution with a ReLU: input x, 1×3×8×8."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    text = "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { c = Conv(x, w) y = Relu(c) }"
    return write_model(tmp_path / "m.onnx", text, {"w": weight})


@pytest.fixture
def symbolic(tmp_path: Path) -> Path:
    """Input x of batch×3×h×8."""
    return write_model(tmp_path / "symbolic.onnx", "g (float[batch,3,h,8] x) => (float[a,b,c,d] y) { y = Relu(x) }")


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pruned MobileNetV1, compiled for this machine by the command line."""
    folder = tmp_path_factory.mktemp("artifact")
    path = zoo.save(folder, "mobilenet_v1", size=32, width=0.25, classes=10, sparsity=0.9)
    command = [sys.executable, "-m", "sparsec", "compile", path, "-o", folder / "mobile.so"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "mobile.so"


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[str]]:
    """The names of all files and folders below the test's folder."""
    return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
