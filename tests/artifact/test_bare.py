"""Objects in programs without any library: no libc, no start files, no linker scripts."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from artifact import toy
from artifact.conftest import require_x86

from sparsec.targets.isa import NEON, refine
from sparsec.targets.tools import CFLAGS, RUNTIME, zig
from sparsec.transport import emulator

emulated = pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static")
targets = pytest.mark.parametrize("target", ["x86", pytest.param("arm", marks=emulated)])
RAMP = (np.arange(67 * 50, dtype=np.float32) / (67 * 50)).reshape(toy.SHAPE)
MACHINES = {"x86": "x86_64", "arm": "aarch64"}


def run(artifact: Path, target: str, folder: Path, cpu: str = "") -> subprocess.CompletedProcess:
    """Links tests/artifact/bare.c with the artifact alone, and runs it, ARM's under qemu."""
    machine, program = MACHINES[target], folder / "bare"
    flags = ["-O1", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-sanitize=all"]
    source = Path(__file__).with_name("bare.c")
    zig(
        "cc",
        "-c",
        "-target",
        f"{machine}-freestanding",
        *flags,
        f"-I{artifact.parent}",
        source,
        "-o",
        folder / "bare.o",
    )
    zig("ld.lld", "-static", folder / "bare.o", artifact, "-o", program)
    prefix = [] if platform.machine() == machine else emulator(cpu)
    return subprocess.run([*prefix, program], capture_output=True, check=False)


@pytest.mark.parametrize("emit", ["obj", "a"])
@targets
def test_program_without_libraries(built, tmp_path, target, emit):
    done = run(built(target, emit=emit, threads=2), target, tmp_path)
    assert done.returncode == 0, done.stdout
    y = np.frombuffer(done.stdout, np.float32).reshape(toy.SHAPE)
    np.testing.assert_allclose(y, toy.expected(RAMP), rtol=1e-6, atol=1e-5)


@emulated
def test_arm_asks_the_cpu(tmp_path, monkeypatch):
    """Without getauxval the registers of the CPU tell whether it has what the code needs."""
    monkeypatch.setitem(toy.ISAS, "arm", (refine(NEON, "cortex-a76"),))
    artifact = toy.build(tmp_path / "toy", "arm", "obj")
    assert run(artifact, "arm", tmp_path, cpu="cortex-a76").returncode == 0
    refused = run(artifact, "arm", tmp_path, cpu="cortex-a53")
    assert refused.returncode == 2
    assert b"this CPU lacks the instructions that the model was compiled for (neon)" in refused.stdout


@pytest.fixture(scope="module")
def memory(tmp_path_factory) -> ctypes.CDLL:
    """runtime/memory.c as a library of its own."""
    require_x86()
    path = tmp_path_factory.mktemp("memory") / "memory.so"
    flags = [
        "-target",
        "x86_64-linux-gnu.2.17",
        *CFLAGS,
        "-fvisibility=default",
        "-fno-builtin",
        "-shared",
        "-nostdlib",
    ]
    zig("cc", *flags, RUNTIME / "memory.c", "-o", path)
    return ctypes.CDLL(str(path))


@pytest.mark.parametrize("size", [*range(36), 63, 64, 65, 200])
def test_memory(memory, size):
    """Moves by every distance up to beyond the overlap, fills with every kind of byte."""
    for distance in range(-size - 2, size + 3):
        x = np.random.default_rng(size).integers(0, 256, 3 * size + 8, np.uint8)
        expected, start = x.copy(), size + 4
        expected[start + distance : start + distance + size] = x[start : start + size].copy()
        base = x.ctypes.data + start
        function = memory.memmove if abs(distance) < size else memory.memcpy
        function(ctypes.c_void_p(base + distance), ctypes.c_void_p(base), ctypes.c_size_t(size))
        np.testing.assert_array_equal(x, expected)
    for value in (0, 1, 255, -1, 0x1234):
        x = np.full(size + 2, 7, np.uint8)
        memory.memset(ctypes.c_void_p(x.ctypes.data + 1), value, ctypes.c_size_t(size))
        assert x.tolist() == [7, *[value & 255] * size, 7]
