"""The compiler as one list of steps: import, passes, kernels, code, link."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsec import attention_file, debug, thresholds, verify
from sparsec.artifact import flat
from sparsec.errors import UsageError
from sparsec.frontend.onnx import check_model, raise_all
from sparsec.ir import print_module
from sparsec.ir.dims import symbols
from sparsec.ir.shapes import format_shape
from sparsec.manifest import manifest
from sparsec.model import Model
from sparsec.options import Options
from sparsec.passes import Passed, pipeline, run_pipeline
from sparsec.references import references, verify_artifact, with_thresholds
from sparsec.schedule import Schedule, schedule
from sparsec.targets.link_wasm import Delivery
from sparsec.targets.measured import Measured
from sparsec.targets.native import NativeTarget
from sparsec.targets.registry import parse_target
from sparsec.targets.wasm import WasmTarget

EMITS = ("so", "dylib", "obj", "a", "wasm", "mlir", "llvm", "asm")
Progress = Callable[[str, int, int], None]


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
        layers = flat(self.manifest["layers"])
        sparse = sum(layer["format"] != "dense" for layer in layers if layer.get("format"))
        precision = self.manifest["precision"]
        rounding = sum(f"_{precision}_" in layer.get("row", "") for layer in layers)
        notes = f", {rounding} round products to {precision}" if precision != "f32" else ""
        if self.manifest["attention"] is not None:
            notes += f", keys of attention chosen by {self.manifest['attention']}"
        if self.manifest["tuned"] is not None:
            notes += f", {self.manifest['tuned']} chosen by measured times"
        weights, arena = (self.manifest[key] / 1e6 for key in ("weights_bytes", "arena_bytes"))
        if ranges := self.manifest.get("sizes"):
            notes += f", for {', '.join('{name} {low}..{high}'.format(**size) for size in ranges)}"
        lines = [
            f"{self.output}: {len(layers)} kernels, {sparse} of them on sparse weights{notes}; "
            f"weights {weights:.1f} MB, arena {arena:.2f} MB; compiled in {sum(self.seconds.values()):.1f} s"
        ]
        for c in self.comparisons:
            verb = "verified" if c.is_check else "compared"
            lines.append(f"{verb} {c.output}: error {c.error:.1e} from {c.reference}")
        return "\n".join(lines)


class Clock:
    """Seconds spent in each named step, told to `progress` as they begin."""

    def __init__(self, progress: Progress):
        self.seconds: dict[str, float] = {}
        self.progress, self._name, self._start = progress, "", time.perf_counter()

    def step(self, name: str) -> None:
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._start, 3)
        self.progress(name, 0, 0)
        self._name, self._start = name, now


def compile_file(
    path: Path, output: Path | None = None, options: Options | None = None, progress: Progress = lambda *_: None
) -> Result:
    """Compile the ONNX model `path` into `output` (default: its name in the current folder).

    Nothing is written unless all steps succeed, verification included. Raises the errors of sparsec.errors, and OSError
    where the disk is full.
    """
    options = options or Options()
    clock = Clock(progress)
    clock.step("import")
    target = target_of(options)
    emit = options.emit or target.default_emit
    target.check_emit(emit)
    output = output or Path(path.stem + _SUFFIXES[emit])
    _check_output(output, path)
    target.check_output(output, emit)
    cuts = thresholds.read(options.activations) if options.activations is not None else {}
    if options.attention is not None:
        attention_file.read(options.attention)  # what is wrong in it is told before any work
    model = import_model(path, options)
    if model.ranges and isinstance(target, WasmTarget):
        name = next(iter(model.ranges))
        raise UsageError(f"{target.name} takes fixed sizes only: give --dim {name}=N, without a range")
    model.name = _identifier(output.stem)
    wanted = references(model, path, options, emit, clock.step)
    if cuts:
        thresholds.insert(model, cuts)
        wanted = [with_thresholds(model, reference, options) for reference in wanted]

    clock.step("passes")
    patterns = str(options.attention or "")
    steps = pipeline({}, options.formats, options.threads, options.chains, options.loops, patterns, options.interleave)
    passed = run_pipeline(model, steps, target)
    _warn_of_idle_times(target.measured, passed)

    with (
        tempfile.TemporaryDirectory(dir=_existing_folder(output), prefix=".sparsec-") as folder,
        debug.stage("code generation", lambda: print_module(model.module)),
    ):
        built = Path(folder) / "built" / output.name
        scheduled = _build(model, target, passed, built, emit, options, clock)
        comparisons = verify_artifact(built, wanted, target.precision, clock.step)
        _move(built, output)
    clock.step("done")
    return Result(output, scheduled.plan.manifest, clock.seconds, comparisons)


def _build(
    model: Model, target: NativeTarget, passed: Passed, built: Path, emit: str, options: Options, clock: Clock
) -> Schedule:
    """Writes the artifact of a model that all passes went over, and what lies beside it."""
    clock.step("pack weights")
    weights = built.parent.with_name("weights")
    scheduled = schedule(model, target, passed.memory, weights, options.threads, clock.progress)
    scheduled.plan.manifest.update(manifest(model, target, scheduled, passed, options))

    clock.step("generate code and link")
    built.parent.mkdir()
    target.build(scheduled.plan, scheduled.kernels, weights, built, emit)
    return scheduled


def _move(built: Path, output: Path) -> None:
    """Puts the artifact and what lies beside it in their places: what describes the artifact comes first."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for file in sorted(built.parent.iterdir(), key=lambda file: (file == built, file)):
        file.replace(output.parent / file.name)


_SUFFIXES = {
    "so": ".so",
    "dylib": ".dylib",
    "obj": ".o",
    "a": ".a",
    "wasm": ".wasm",
    "mlir": ".mlir",
    "llvm": ".ll",
    "asm": ".s",
}


def _check_output(output: Path, model: Path) -> None:
    """UsageError, before any work, where the artifact cannot be written."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name the file to write")
    if output.suffix in (".onnx", ".h") or (output.exists() and model.exists() and output.samefile(model)):
        raise UsageError(f"{output} would overwrite a model or the artifact's own header; choose another name")
    existing = _existing_folder(output)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {output}: {existing} is no folder that can be written")


def _existing_folder(output: Path) -> Path:
    """The innermost folder around `output` that exists."""
    return next(folder for folder in output.absolute().parents if folder.exists())


def _identifier(stem: str) -> str:
    """The model's name in C: letters, digits and underscores, a letter first, 100 at most."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return (name if name[:1].isalpha() else f"m_{name}")[:100]


def target_of(options: Options) -> NativeTarget:
    """The target of a compilation, with its measured times."""
    target = parse_target(options.target, options.precision)
    target.threads = options.threads
    if isinstance(target, WasmTarget):
        target.delivery = Delivery(options.weights == "separate", options.weights_limit or 0)
    elif options.weights == "separate":
        raise UsageError(f"weights are separate from WebAssembly only, not from {target.name}")
    if options.tuned is not None:
        if not options.tuned.exists():
            raise UsageError(f"{options.tuned}: no such file; `sparsec tune` writes it")
        target.measured = Measured(options.tuned, target.isas[0])
        target.measured.warn_of_damage()
    return target


def _warn_of_idle_times(measured: Measured | None, passed: Passed) -> None:
    """Tells on stderr where a file of measured times chose nothing."""
    if measured is not None and not any(decision.measured for decision in passed.decisions):
        print(
            f"sparsec: warning: {measured.path}: no time in it is of this model's kernels, on this CPU and with this "
            "sparsec: nothing is tuned",
            file=sys.stderr,
        )


def import_model(path: Path, options: Options) -> Model:
    """The model, all sizes known. UsageError names all sizes that are not, once nothing else is wrong."""
    report = check_model(path, options.shapes, options.dims)
    raise_all([problem for problem in report.problems if not issubclass(problem.error, UsageError)])
    dims = (dim for type_ in report.inputs.values() for dim in type_.shape)
    if open_sizes := sorted(set().union(*map(symbols, dims)) - report.ranges.keys()):
        given = "; ".join(f"{name} is {format_shape(type_.shape)}" for name, type_ in report.inputs.items())
        flags = " ".join(f"--dim {name}=N" for name in open_sizes)
        raise UsageError(
            f"sizes are not known: {given}. Fix {', '.join(open_sizes)} with {flags}, or with --shape; "
            f"or give ranges, as in --dim {open_sizes[0]}=1..8"
        )
    raise_all(report.problems)
    assert report.model is not None, "without problems there is a model"
    return report.model
