"""Artifacts of the toy model, built once for all tests of this folder."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

Compiler = Callable[..., str]


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Callable[..., Path]:
    """Builds the toy model once for each set of options; see `toy.build`."""
    made: dict[str, Path] = {}

    def build(target: str = "x86", **options) -> Path:
        key = f"{target} {options}"
        if key not in made:
            made[key] = toy.build(tmp_path_factory.mktemp("toy"), target, **options)
        return made[key]

    return build


@pytest.fixture(scope="session")
def native(built) -> Path:
    """The toy model for x86 with two threads; skips on other machines."""
    require_x86()
    return built("x86", threads=2)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(toy.SHAPE, dtype=np.float32)


@pytest.fixture
def run_c(tmp_path) -> Compiler:
    """Compiles and runs a C program with the system's compiler; returns what it printed."""

    def run(source: Path, *linked: Path, flags: tuple[str, ...] = (), arguments: tuple[str | Path, ...] = ()) -> str:
        require_x86()
        compiler = shutil.which("cc") or pytest.skip("no C compiler on this machine")
        program = tmp_path / source.stem
        includes = [f"-I{file.parent}" for file in linked]
        command = [compiler, "-O1", "-Wall", "-Werror", *flags, *includes, source, *linked, "-o", program]
        subprocess.run(command, check=True)
        done = subprocess.run([program, *arguments], check=True, capture_output=True, text=True, timeout=120)
        return done.stdout

    return run


def require_x86() -> None:
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("runs x86-64 Linux code")
