"""Interrupts, internal errors, accuracy, and files that cannot be written: nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zoo


def patched(tmp_path: Path, patch: str, *words: str) -> subprocess.CompletedProcess:
    """The command line after some Python statements."""
    script = f"import sys, sparsec.compiler, sparsec.cli\n{patch}\nsparsec.cli.main({list(words)!r})"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


FAULT = """
def fault(*_, **__):
    raise KeyError("the fault")
sparsec.compiler.schedule = fault"""


def test_an_internal_error_writes_a_report(model: Path, tmp_path: Path) -> None:
    done = patched(tmp_path, FAULT, "compile", "m.onnx")
    assert done.returncode == 1
    assert "internal error: KeyError: 'the fault'" in done.stderr
    assert "Traceback" not in done.stderr
    (report,) = (tmp_path / "tmp").iterdir()
    assert str(report) in done.stderr
    text = report.read_text()
    assert "KeyError" in text
    assert "sp.conv" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "tmp"]


@pytest.mark.parametrize("words", [("--debug", "compile", "m.onnx"), ("compile", "m.onnx", "--debug")])
def test_debug_shows_the_traceback(model: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = patched(tmp_path, FAULT, *words)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "in compile_file" in done.stderr


def test_accuracy(model: Path, tmp_path: Path) -> None:
    done = patched(
        tmp_path, "sparsec.compiler.verify.LONG_SUMS_TOLERANCE = -1", "compile", "m.onnx", "--verify", "--json"
    )
    assert done.returncode == 5
    assert "outputs differ from the reference" in done.stderr
    assert '"exit_code": 5' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "tmp"]


def test_a_full_disk(model: Path, tmp_path: Path, files) -> None:
    full = """
import errno
def fault(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
sparsec.compiler.schedule = fault"""
    done = patched(tmp_path, full, "compile", "m.onnx")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert files() == ["m.onnx", "tmp"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupts_leave_nothing(tmp_path: Path, number: int, code: int) -> None:
    path = zoo.save(tmp_path, "mobilenet_v2", size=64)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sparsec", "compile", path, "-o", out / "m.so"]
    # A test run in the background of a shell ignores SIGINT, and so would its children.
    command = ["env", "--default-signal=INT", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".sparsec-*")):  # code is being generated
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_that_has_seen_enough(artifact: Path) -> None:
    command = f"{sys.executable} -m sparsec explain {artifact} --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "["
    assert done.stderr == ""
