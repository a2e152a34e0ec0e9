"""The memory that compiling a large model takes, and the size of its arena."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zoo

from sparsec.program import load


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_resnet50(sparsity: float, tmp_path: Path) -> None:
    model, artifact = zoo.save(tmp_path, "resnet50", sparsity=sparsity), tmp_path / "m.so"
    process = subprocess.Popen([sys.executable, "-m", "sparsec", "compile", model, "-o", artifact])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    assert used.ru_maxrss * 1024 < 3 * model.stat().st_size + 1e9
    program = load(artifact)
    assert program.workspace_bytes < 1.2 * program.manifest["arena_lower_bound_bytes"] + (1 << 20)
