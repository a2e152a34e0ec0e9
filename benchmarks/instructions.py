"""How many instructions an ARM model executes, counted by QEMU's emulator of AArch64 with a plugin (instructions.c).

Needs Debian's package qemu-user: the static binaries of qemu-user-static take no plugins. The model is linked with a
program that runs it once, on zeros: the count depends on the kernels and on the weights, not on the input.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparsec.compiler import Options, compile_file
from sparsec.errors import TargetError
from sparsec.targets.tools import llvm, zig

HERE = Path(__file__).parent
ARM = "aarch64-linux-musl"
KINDS = {"spmm_": "sparse layers", "dwconv_": "depthwise", "conv_": "dense layers", "gemv_": "dense layers"}
LINE = re.compile(r"(?P<address>\w+) [tTwW] (?P<name>\S+)")


@dataclass(frozen=True)
class Counts:
    """Executed instructions of one run, by function; kernels without the digest of their sizes."""

    functions: Counter[str]

    @property
    def total(self) -> int:
        """Of all functions."""
        return self.functions.total()

    @property
    def kinds(self) -> Counter[str]:
        """By what functions are for, which the first words of kernels' names say."""
        kinds: Counter[str] = Counter()
        for name, number in self.functions.items():
            kinds[next((kind for start, kind in KINDS.items() if name.startswith(start)), "all else")] += number
        return kinds


def count(model: Path, **options: object) -> Counts:
    """The instructions of one run of `model`, compiled with `options`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = Options(emit="obj", **{"target": "arm", **options})  # type: ignore[arg-type]
        compile_file(model, place / "model.o", settings)
        return _count(_link(place), place)


def available() -> bool:
    """Whether there is an emulator that takes plugins."""
    return shutil.which("qemu-aarch64") is not None


def _link(place: Path) -> Path:
    header = (place / "model.h").read_text()
    found = re.search(r"(\w+)_workspace_size\(", header)
    assert found, "the header declares the ABI"
    names = f"-DMODEL={found[1]}", '-DMODEL_HEADER="model.h"'
    program = place / "program"
    zig(
        "cc",
        "-target",
        ARM,
        "-static",
        "-O1",
        *names,
        f"-I{place}",
        HERE / "run_once.c",
        place / "model.o",
        "-o",
        program,
    )
    return program


def _count(program: Path, place: Path) -> Counts:
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        raise TargetError("counting instructions needs qemu-aarch64: apt install qemu-user")
    counted = place / "counts"
    command = [emulator, "-plugin", f"file={_plugin()},path={counted}", str(program)]
    subprocess.run(command, check=True, timeout=600)
    functions = _functions(program)
    addresses = [address for address, _ in functions]
    totals: Counter[str] = Counter()
    for line in counted.read_text().splitlines():
        address, instructions, runs = line.split()
        index = bisect(addresses, int(address, 16)) - 1
        totals[_kind(functions[index][1]) if index >= 0 else "other"] += int(instructions) * int(runs)
    return Counts(totals)


def _functions(program: Path) -> list[tuple[int, str]]:
    """The functions of a program in the order of their addresses."""
    matches = map(LINE.match, llvm("llvm-nm", "-n", program).splitlines())
    return [(int(match["address"], 16), match["name"]) for match in matches if match]


def _kind(function: str) -> str:
    """A kernel's row in the table; all that is no kernel is one kind."""
    kernel = re.fullmatch(r"(\w+)_[0-9a-f]{10}__\w+", function)
    return kernel[1] if kernel else function


@cache
def _plugin() -> Path:
    """The plugin, built for this machine; the folder is removed at the end of the process."""
    folder = tempfile.TemporaryDirectory()
    _kept.append(folder)
    path = Path(folder.name) / "instructions.so"
    zig("cc", "-shared", "-fPIC", "-O2", HERE / "instructions.c", "-o", path)
    return path


_kept: list[tempfile.TemporaryDirectory] = []
