"""The compiler as one list of steps: import, passes, kernels, code, link."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparsec import __version__, verify
from sparsec.errors import UsageError
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run as interpret
from sparsec.ir import node_name
from sparsec.model import Model
from sparsec.passes import pipeline, run_pipeline
from sparsec.program import load
from sparsec.schedule import Schedule, schedule
from sparsec.target import Port
from sparsec.targets.native import NativeTarget
from sparsec.targets.registry import parse_target

EMITS = ("so", "obj", "wasm", "mlir", "llvm", "asm")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """How to compile. `verify` is None, "random", or inputs by name; `emit` is None for what the target makes by default."""

    target: str = "host"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    formats: Literal["auto", "dense", "sparse"] = "auto"
    emit: str | None = None
    verify: Mapping[str, np.ndarray] | str | None = None


@dataclass
class Result:
    """What a compilation made, for people and for `--json`."""

    output: Path
    manifest: dict[str, Any]
    seconds: dict[str, float]
    comparisons: list[verify.Comparison]

    def summary(self) -> dict[str, Any]:
        comparisons = [asdict(comparison) for comparison in self.comparisons]
        return {"output": str(self.output), "seconds": self.seconds, "verify": comparisons, "manifest": self.manifest}

    def describe(self) -> str:
        """A few lines about the artifact."""
        layers = self.manifest["layers"]
        sparse = sum(layer["format"] != "dense" for layer in layers if layer.get("format"))
        lines = [
            f"{self.output}: {len(layers)} kernels, {sparse} of them on sparse weights; "
            f"weights {self.manifest['weights_bytes'] / 1e6:.1f} MB, arena {self.manifest['arena_bytes'] / 1e6:.2f} MB; "
            f"compiled in {sum(self.seconds.values()):.1f} s"
        ]
        lines += [f"verified {c.output}: error {c.error:.1e} from {c.reference}" for c in self.comparisons]
        return "\n".join(lines)


class Clock:
    """Seconds spent in each named step, told to `progress` as they begin."""

    def __init__(self, progress: Progress):
        self.seconds: dict[str, float] = {}
        self._progress, self._name, self._start = progress, "", time.perf_counter()

    def step(self, name: str) -> None:
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._start, 3)
        self._progress(name, 0, 0)
        self._name, self._start = name, now


def compile_file(
    path: Path, output: Path | None = None, options: Options | None = None, progress: Progress = lambda *_: None
) -> Result:
    """Compile the ONNX model `path` into `output` (default: its name in the current folder).

    Nothing is written unless all steps succeed, verification included. Raises the errors of sparsec.errors.
    """
    options = options or Options()
    clock = Clock(progress)
    clock.step("import")
    target = parse_target(options.target)
    emit = options.emit or target.default_emit
    target.check_emit(emit)
    output = output or Path(path.stem + _SUFFIXES[emit])
    model = import_model(path, shapes=options.shapes, dims=options.dims)
    model.name = _identifier(output.stem)
    references = _references(model, path, options, clock)

    clock.step("passes")
    passed = run_pipeline(model, pipeline(formats=options.formats), target)

    with tempfile.TemporaryDirectory(prefix="sparsec-") as folder:
        clock.step("pack weights")
        weights = Path(folder) / "weights.bin"
        scheduled = schedule(model, target, passed.memory, weights, options.threads, progress)
        scheduled.plan.manifest.update(_manifest(model, target, scheduled, passed))

        clock.step("generate code and link")
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sparsec-") as place:
            built = Path(place) / output.name
            target.build(scheduled.plan, scheduled.kernels, weights, built, emit)
            comparisons = _verify(built, references, clock)
            for file in Path(place).iterdir():
                file.replace(output.parent / file.name)
    clock.step("done")
    return Result(output, scheduled.plan.manifest, clock.seconds, comparisons)


_SUFFIXES = {"so": ".so", "obj": ".o", "wasm": ".wasm", "mlir": ".mlir", "llvm": ".ll", "asm": ".s"}


def _identifier(stem: str) -> str:
    """The model's name in C: letters, digits and underscores, no digit first."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return name if name and not name[0].isdigit() else f"m_{name}"


def _references(model: Model, path: Path, options: Options, clock: Clock) -> tuple[dict, dict]:
    """Inputs, and the outputs of each reference by its name, before the passes rewrite the model."""
    if options.verify is None:
        return {}, {}
    if (options.emit or "so") not in ("so", "wasm"):
        raise UsageError(f"--verify runs the artifact, and --emit {options.emit} makes none that runs")
    clock.step("reference outputs")
    ports = [_reference_port(*pair) for pair in zip(model.input_names, model.main.function_type.inputs, strict=True)]
    inputs = verify.random_inputs(ports) if options.verify == "random" else dict(options.verify)
    expected = {"the interpreter": dict(zip(model.output_names, interpret(model, inputs), strict=True))}
    if session := verify.onnxruntime_session(path):
        expected["onnxruntime"] = session(inputs)
    return inputs, expected


def _reference_port(name: str, type_) -> Port:
    return Port(name, type_.dtype.name, type_.static_shape)


def _verify(built: Path, references: tuple[dict, dict], clock: Clock) -> list[verify.Comparison]:
    inputs, expected = references
    if not expected:
        return []
    clock.step("verify")
    outputs = load(built).run(**inputs)
    comparisons = [
        comparison
        for name, values in expected.items()
        for comparison in verify.compare(outputs, values, name, verify.LONG_SUMS_TOLERANCE)
    ]
    verify.check(comparisons)
    return comparisons


def _manifest(model: Model, target: NativeTarget, scheduled: Schedule, passed) -> dict[str, Any]:
    decisions = {decision.node: asdict(decision) for decision in passed.decisions}
    layers = []
    for step, op in zip(scheduled.plan.steps, scheduled.origins, strict=True):
        layer = {"step": step.name, "node": node_name(op), "op": op.name, "kernel": step.symbol}
        layers.append({**layer, **decisions.get(layer["node"], {})})
    return {
        "sparsec": __version__,
        "model": model.name,
        "target": target.name,
        "isas": [isa.name for isa in target.isas],
        "threads": scheduled.plan.threads,
        "arena_bytes": scheduled.plan.arena_bytes,
        "arena_lower_bound_bytes": passed.memory.lower_bound_bytes,
        "layers": layers,
    }
