"""Predicted times of kernels: a kernel counts the events that cost time, a model knows what each costs on a machine.

The costs are measured on this machine by running a few kernels once, and kept in the user's cache directory.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from sparsec import __version__
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.shipped import ARM_COSTS, COSTS
from sparsec.targets.shipped_arm import CPUS, cpu_named

SETS = 64  # of an L1 cache; its ways are what differs


@dataclass(frozen=True)
class Caches:
    """Bytes of the data caches of one core."""

    l1: int
    l2: int

    def beyond(self, nbytes: float) -> float:
        """The part of `nbytes` of activations that the L2 no longer holds when they are wanted."""
        return min(1.0, max(0.0, nbytes / self.l2 - 0.5))

    def overflow(self, rows: int, nbytes: int, stride: int) -> float:
        """The part of `rows` rows of `nbytes` bytes, `stride` bytes apart, that does not stay in the L1."""
        held = [0] * SETS
        lines = -(-nbytes // LINE_BYTES)
        for row in range(rows):
            for line in range(lines):
                held[(row * stride // LINE_BYTES + line) % SETS] += 1
        ways = self.l1 // (SETS * LINE_BYTES)
        return sum(count for count in held if count > ways) / (rows * lines)


Events = Mapping[str, float]


def moved(kind: str, read: float, written: float, caches: Caches) -> dict[str, float]:
    """The events of one step of a kind of kernels whose arguments have so many bytes, beside its own work."""
    beyond = caches.beyond(read + written)
    return {
        f"{kind} step": 1,
        f"{kind} byte": read + written,
        f"{kind} byte from afar": beyond * read,
        f"{kind} byte to afar": beyond * written,
    }


@dataclass(frozen=True)
class CostModel:
    """Nanoseconds of each kind of event on one core."""

    nanoseconds: Mapping[str, float]
    caches: Caches

    def seconds(self, events: Events) -> float:
        """The predicted time of a kernel. Raises KeyError for an event that the model does not know."""
        return sum(count * self.nanoseconds[name] for name, count in events.items()) * 1e-9


def calibrated(isa: Isa) -> CostModel:
    """Costs on this machine, measured in a few seconds where the cache has none for this CPU and this code."""
    key = machine_key(isa)
    try:
        saved = json.loads(cache_file(isa, key).read_text())
        if saved["machine"] == key:
            return CostModel(saved["nanoseconds"], Caches(**saved["caches"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from sparsec.targets.calibration import calibrate  # here, because kernels use this module

    print(f"sparsec: measuring what {isa.name} code costs on this CPU, once", file=sys.stderr, flush=True)
    model = calibrate(isa, host_caches()).model
    if save(isa, key, model) is None:
        _warn_of_folder(_cache_folder())
    return model


@cache
def _warn_of_folder(folder: Path) -> None:
    """Tells once a process that measured costs cannot be kept."""
    print(
        f"sparsec: warning: {folder} cannot be written, so each run measures these costs anew: "
        "XDG_CACHE_HOME can name another folder",
        file=sys.stderr,
    )


def save(isa: Isa, key: str, model: CostModel) -> Path | None:
    """Keeps measured costs for later compilations; None where the cache's folder cannot be written."""
    path = cache_file(isa, key)
    return path if _write(path, {"machine": key, **asdict(model)}) else None


def cache_file(isa: Isa, key: str) -> Path:
    """Where the costs of this machine and code are kept."""
    return _cache_folder() / f"{isa.name}-{sha256(key.encode()).hexdigest()[:16]}.json"


@cache
def machine_key(isa: Isa) -> str:
    """What measured costs depend on: the CPU, the instructions, this version, and the events that its kernels count.

    The kernels that count stay the same while a process runs, and counting takes 50 ms.
    """
    from sparsec.targets.calibration import fingerprint

    events = sha256(fingerprint(isa, host_caches()).encode()).hexdigest()[:16]
    return f"{cpu_name()}, {host_caches()}, {isa}, sparsec {__version__}, events {events}"


def cpu_name() -> str:
    """The CPU as Linux names it, with the numbers that tell models of one name apart in virtual machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = "-".join(found[name] for name in ("cpu family", "model", "stepping") if name in found)
    return f"{found.get('model name', platform.machine())} {numbers}".strip()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparsec" / "cost"


def host_caches() -> Caches:
    """Of this machine: the sizes that Linux reports; where it does not, those of a small core."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [_size(folder / f"index{index}" / "size") for index in (0, 2)]
    return Caches(sizes[0] or 32 << 10, sizes[1] or 512 << 10)


def _size(path: Path) -> int:
    try:
        text = path.read_text().strip()
        return int(text.removesuffix("K")) << 10
    except (OSError, ValueError):
        return 0


def _write(path: Path, content: Mapping[str, object]) -> bool:
    """Writes the whole file or none; a folder that cannot be written means that every run measures anew."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
            json.dump(content, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        return False
    return True


def shipped(isa: Isa) -> CostModel:
    """Costs for machines that are not at hand."""
    if isa.triple.startswith("aarch64"):
        cpu = cpu_named(isa.cpu)
        return CostModel(ARM_COSTS[cpu], Caches(CPUS[cpu].l1, CPUS[cpu].l2))
    return CostModel(COSTS[isa.name], Caches(32 << 10, 512 << 10))
