"""A toy model, y = scale · x + Σ_rows(scale · x), with kernels in C: an artifact without the rest of the compiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparsec.target import Buffer, Plan, Port, Step
from sparsec.targets import link_wasm
from sparsec.targets.isa import AVX2, AVX512, NEON, WASM, WASM_RELAXED, Isa, refine
from sparsec.targets.link import link
from sparsec.targets.link_wasm import Delivery
from sparsec.targets.tools import zig, zig_target

ISAS = {"x86": (AVX512, AVX2), "arm": (NEON,), "wasm": (WASM_RELAXED, WASM)}
SHAPE = (67, 50)
SCALE = np.linspace(-1, 1, SHAPE[0], dtype=np.float32)
WEIGHTS_OFFSET = 64
EMIT = {"x86": "so", "arm": "so", "wasm": "wasm"}


def expected(x: np.ndarray) -> np.ndarray:
    y = SCALE[:, None] * x
    return y + y.sum(0, dtype=np.float32)


def toy_plan(name: str = "toy", threads: int = 1, repeat: int = 1, shape: tuple[int, int] = SHAPE) -> Plan:
    """`repeat` runs the three steps again and again, for tests of the threads."""
    rows, columns = shape
    size = rows * columns * 4
    scaled_bytes = -(-size // 64) * 64
    x, y = Buffer("input", 0, 0, size), Buffer("output", 0, 0, size)
    scaled, total = Buffer("arena", 0, 0, size), Buffer("arena", 0, scaled_bytes, columns * 4)
    weights = Buffer("weights", 0, WEIGHTS_OFFSET, rows * 4)
    steps = [
        Step("scale/*first*/", "scale", (x, weights, scaled), rows, columns * 4),
        Step("sum", "sum", (scaled, total), 1, 0),
        Step("add", "add", (scaled, total, y), rows, 0),
    ]
    ports = (Port("x", "float32", shape),), (Port('y"\\ü', "float32", shape),)
    return Plan(name, *ports, steps * repeat, scaled_bytes + columns * 4, threads, {"layers": [{"name": "scale"}]})


def toy_objects(folder: Path, isas: tuple[Isa, ...], shape: tuple[int, ...] = SHAPE) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    objects = {}
    for isa in isas:
        cpu = isa.cpu.replace("-", "_") + ("+simd128+bulk_memory" if isa.wasm else "")
        cpu += "+atomics" if "atomics" in isa.features else ""
        flags = ["-O3", "-fPIC", "-fno-sanitize=all", f"-mcpu={cpu}"]
        flags += [f"-DKERNEL(name)=name##{isa.suffix}", f"-DROWS={shape[0]}", f"-DCOLS={shape[1]}"]
        made = folder / f"kernels{isa.suffix}.o"
        zig("cc", "-c", "-target", zig_target(isa), *flags, Path(__file__).with_name("kernels.c"), "-o", made)
        objects[isa.name] = made.read_bytes()
    return objects


def toy_weights(folder: Path, scale: np.ndarray = SCALE) -> Path:
    path = folder / "weights.bin"
    path.write_bytes(bytes(WEIGHTS_OFFSET) + scale.tobytes())
    return path


def build(folder: Path, target: str = "x86", emit: str | None = None, **options) -> Path:
    """Link the toy model for `target` in `folder`; `options` are those of `toy_plan`, `delivery` and `isas`."""
    delivery, isas = options.pop("delivery", Delivery()), options.pop("isas", ISAS[target])
    plan = toy_plan(**options)
    if target == "wasm" and plan.threads > 1:
        isas = tuple(refine(isa, features=("+atomics",)) for isa in isas)
    objects = toy_objects(folder / "kernels", isas, plan.inputs[0].shape)
    emit = emit or EMIT[target]
    output = folder / f"{plan.name}.{'o' if emit == 'obj' else emit}"
    weights = toy_weights(folder, np.linspace(-1, 1, plan.inputs[0].shape[0], dtype=np.float32))
    return link_any(plan, objects, isas, weights, output, emit, delivery)


def link_any(
    plan: Plan, objects, isas, weights: Path, output: Path, emit: str, delivery: Delivery | None = None
) -> Path:
    """Link by the linker of the ISAs; returns `output`."""
    if isas[0].wasm:
        link_wasm.link(plan, objects, isas, weights, output, delivery or Delivery())
    else:
        link(plan, objects, isas, weights, output, emit)
    return output
