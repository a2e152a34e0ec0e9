"""The floor of each layer, its time, and the share reached: where a model's time goes and what is left to gain.

    python benchmarks/report.py [MODEL[@SPARSITY] ...] [--top N] [--option KEY=VALUE] [--json FILE]

A layer's floor is the larger of two times: its useful FLOPs (non-zeros, computed directly) at the register-only FMA
peak, and its bytes (weights, operands, result) at the measured read bandwidth: that of the L2 where the layer's bytes
fit in half of it, else that of what lies beyond. Both are measured in the same run, pinned to one core. Winograd
kernels may go below the floor of direct computing. Equal layers are one line; those with the most to gain come first.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from machine import FAR, NEAR, bandwidth, peak
from models import model_of

from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.targets.cost import calibrated
from sparsec.targets.isa import host_isas
from sparsec.verify import random_inputs

DEFAULT = ["mobilenet_v1", "mobilenet_v2", "efficientnet_b0", "resnet50"]


@dataclass(frozen=True)
class Machine:
    """FLOP/s and bytes/s of one core, and the bytes of its L2."""

    flops: float
    near: float
    far: float
    l2: int

    def floor(self, flops: float, nbytes: float) -> float:
        """Seconds that a layer takes at least."""
        return max(flops / self.flops, nbytes / (self.near if nbytes < self.l2 / 2 else self.far))


@dataclass(frozen=True)
class Line:
    """`count` equal layers: their FLOPs, bytes and seconds together."""

    kernel: str
    shapes: str
    count: int
    flops: int
    bytes: int
    floor: float
    seconds: float
    predicted: float


def main() -> None:
    arguments = _arguments()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    isa = host_isas()[0]
    machine = Machine(peak(isa), bandwidth(isa, NEAR), bandwidth(isa, FAR), calibrated(isa).caches.l2)
    print(f"{isa.name}: {machine.flops / 1e9:.0f} GFLOP/s, {machine.near / 1e9:.0f} and {machine.far / 1e9:.0f} GB/s")
    results = {}
    for spec in arguments.models:
        lines = measure(spec, arguments.batch, dict(pair.split("=", 1) for pair in arguments.option), machine)
        show(spec, lines, arguments.top)
        results[spec] = [asdict(line) for line in lines]
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"machine": asdict(machine), "models": results}, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [spec for name in DEFAULT for spec in (name, f"{name}@0.9")]
    parser.add_argument("models", nargs="*", default=[*default, "nudenet"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--top", type=int, default=12, help="lines of each model")
    parser.add_argument("--option", action="append", default=[], help="of the compiler, such as formats=dense")
    parser.add_argument("--json")
    return parser.parse_args()


def measure(spec: str, batch: int, options: dict[str, str], machine: Machine) -> list[Line]:
    """The layers of a model, those with the most to gain first."""
    with tempfile.TemporaryDirectory() as folder:
        model, shape = model_of(spec, batch, Path(folder))
        name = next(iter(i.name for i in onnx.load(model, load_external_data=False).graph.input))
        settings = Options(target="host", shapes={name: shape}, chains=False, **options)
        compile_file(model, Path(folder) / "m.so", settings)
        program = load(Path(folder) / "m.so")
        times = program.profile(30, **random_inputs(program.inputs))
    groups: dict[tuple, list[tuple[dict, float]]] = {}
    for layer, (_, seconds) in zip(program.manifest["layers"], times, strict=True):
        groups.setdefault((_row(layer), _what(layer)), []).append((layer, seconds))
    lines = [_line(members, machine) for members in groups.values()]
    return sorted(lines, key=lambda line: line.floor - line.seconds)


def _row(layer: dict) -> str:
    """The kernel without the digest of its sizes."""
    return layer["kernel"].rpartition("_")[0]


def _what(layer: dict) -> str:
    return layer.get("shapes") or layer["node"]


def _line(members: list[tuple[dict, float]], machine: Machine) -> Line:
    layers = [layer for layer, _ in members]
    return Line(
        _row(layers[0]),
        _what(layers[0]),
        len(members),
        sum(layer["flops"] for layer in layers),
        sum(layer["bytes"] for layer in layers),
        sum(machine.floor(layer["flops"], layer["bytes"]) for layer in layers),
        sum(seconds for _, seconds in members),
        sum(layer.get("seconds", 0.0) for layer in layers),
    )


def show(spec: str, lines: list[Line], top: int) -> None:
    """Prints the first `top` lines and the sum of all."""
    total, floor = (sum(getattr(line, name) for line in lines) for name in ("seconds", "floor"))
    print(f"\n{spec}: {total * 1e3:.2f} ms, floor {floor * 1e3:.2f} ms = {floor / total:.0%}")
    print("|   | kernel | shapes | MFLOP | MB | GFLOP/s | floor ms | ms | share | predicted ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for line in lines[:top]:
        work = f"{line.flops / 1e6:.1f} | {line.bytes / 1e6:.2f} | {line.flops / line.seconds / 1e9:.0f}"
        share = f"{line.floor * 1e3:.3f} | {line.seconds * 1e3:.3f} | {line.floor / line.seconds:.0%}"
        print(f"| {line.count} | {line.kernel} | {line.shapes} | {work} | {share} | {line.predicted * 1e3:.3f} |")


if __name__ == "__main__":
    main()
