"""Measured times of kernels on this machine, which `compile --tuned` prefers to predictions: lines of JSON in a file.

    {"kernel": "spmm_f32_csr_n96k128_1f2e…", "row": "spmm_f32_csr_n96k128", "weights": "9c1d…", "cpu": "…", "isa": "…",
     "sparsec": "0.1.0", "code": "07ab…", "where": "alone", "seconds": 0.000123}

A kernel's symbol stands for its whole specification, `code` for the sources that make machine code of it; a sparse
kernel's time also depends on where the non-zeros are, which `weights` is a digest of. A line is written at once and
never changed, so that whoever is interrupted loses nothing, and several processes and models may share a file. Of two
lines about the same, the last counts.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparsec import __version__
from sparsec.errors import UsageError
from sparsec.targets.cost import cpu_name
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel

Where = Literal["alone", "model"]
"""Where a kernel was timed: by itself, its operands placed as in a network, or as a step of the whole model."""


@dataclass(frozen=True)
class Key:
    """What a measurement is of: a kernel and, where its time depends on them, the places of the non-zeros."""

    kernel: str
    weights: str

    @staticmethod
    def of(kernel: Kernel, weight: np.ndarray, sparse: bool) -> Key:
        return Key(kernel.symbol, pattern_digest(weight) if sparse else "")


@dataclass(frozen=True)
class Time:
    """The best time of a kernel; None seconds where it failed, for the reason `error`.

    A failure that is `passing`, such as no answer in time, may not come again: tuning measures the kernel anew.
    """

    seconds: float | None
    where: Where
    error: str = ""
    passing: bool = False


class Measured:
    """The times in a file that hold for this CPU, this version and one ISA; `damaged` lines are none."""

    def __init__(self, path: Path, isa: Isa) -> None:
        self.path, self.damaged, self._isa = path, 0, isa
        self._context = {"cpu": cpu_name(), "isa": f"{isa.name} {isa.cpu} {isa.features}", "sparsec": __version__}
        self._context["code"] = code_digest()
        self._times: dict[tuple[Key, Where], Time] = {}
        self._rows: dict[Key, str] = {}
        self.rows: set[str] = set()
        for line in self._lines():
            self._take(line)

    def time(self, key: Key) -> Time | None:
        """The time inside a model where there is one, else the time alone."""
        return self._times.get((key, "model")) or self._times.get((key, "alone"))

    def alone(self, key: Key) -> Time | None:
        """The time that the kernel took by itself."""
        return self._times.get((key, "alone"))

    def warn_of_damage(self) -> None:
        """Tells on stderr of lines that were left out."""
        if self.damaged:
            print(f"sparsec: warning: {self.path}: {self.damaged} damaged line(s) are ignored", file=sys.stderr)

    def add(self, key: Key, row: str, time: Time) -> None:
        """Appends a line, whole or not at all. Raises OSError where the file cannot be written."""
        found: dict[str, Any] = {"seconds": time.seconds}
        if time.seconds is None:
            found = {"error": time.error, "passing": time.passing}
        entry = {
            "kernel": key.kernel,
            "row": row,
            "weights": key.weights,
            **self._context,
            "where": time.where,
            **found,
        }
        line = json.dumps(entry).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, self._line_end(file) + line)
        finally:
            os.close(file)
        self._keep(key, row, time)

    def write_alone(self, path: Path) -> None:
        """Writes a copy that knows what failed and the times alone, not those inside models."""
        copy = Measured(path, self._isa)
        for (key, where), time in self._times.items():
            if where == "alone" or time.seconds is None:
                copy.add(key, self._rows[key], time)

    @staticmethod
    def _line_end(file: int) -> bytes:
        """A line break where the last line has none, because its writer died."""
        size = os.fstat(file).st_size
        return b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""

    def _lines(self) -> Iterator[bytes]:
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder; name the file that holds measured times")
        if self.path.exists():
            yield from self.path.read_bytes().splitlines()

    def _take(self, line: bytes) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
            if any(entry[name] != value for name, value in self._context.items()):
                return
            seconds = None if entry.get("error") else _positive(entry["seconds"])
            time = Time(seconds, entry["where"], entry.get("error", ""), entry.get("passing", False))
            self._keep(Key(entry["kernel"], entry["weights"]), entry["row"], time)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.damaged += 1

    def _keep(self, key: Key, row: str, time: Time) -> None:
        self._times[key, time.where] = time
        self._rows[key] = row
        self.rows.add(row)


def _positive(seconds: Any) -> float:
    """`seconds`; ValueError where no kernel can have taken them."""
    if not isinstance(seconds, float) or not 0 < seconds < math.inf:
        raise ValueError(f"{seconds} is no time")
    return seconds


@cache
def code_digest() -> str:
    """Names the sources that make machine code of kernels: what was measured of others does not hold."""
    folder, found = Path(__file__).parent, sha256()
    names = [path for part in ("builder", "kernels", "vector_math") for path in (folder / part).rglob("*.py")]
    for path in sorted([folder / "codegen.py", folder / "isa.py", *names]):
        found.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def pattern_digest(weight: np.ndarray) -> str:
    """Names the places of the non-zeros of a weight."""
    found = sha256(repr(weight.shape).encode())
    found.update(np.packbits(weight != 0).data)
    return found.hexdigest()[:16]
