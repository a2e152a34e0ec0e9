"""The memory that compiling a large model takes, and the size of its arena."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zoo

from sparsec.program import load

# The peak of the process itself; `ru_maxrss` would start at what the test process held when it forked.
COMPILE_AND_PRINT_PEAK = """
import sys
from sparsec.cli import main
try:
    main()
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_resnet50(sparsity: float, tmp_path: Path) -> None:
    model, artifact = zoo.save(tmp_path, "resnet50", sparsity=sparsity), tmp_path / "m.so"
    command = [sys.executable, "-c", COMPILE_AND_PRINT_PEAK, "compile", str(model), "-o", str(artifact)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert peak < 3 * model.stat().st_size + 1e9
    program = load(artifact)
    assert program.workspace_bytes < 1.2 * program.manifest["arena_lower_bound_bytes"] + (1 << 20)
