"""What an artifact should compute, by the interpreter and by onnxruntime, and how far it is from that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np

from sparsec import masked, verify
from sparsec.errors import UsageError
from sparsec.interpreter import run as interpret
from sparsec.model import Model
from sparsec.options import Options
from sparsec.program import load
from sparsec.target import Port

WITHOUT = "the model without thresholds"


@dataclass(frozen=True)
class Reference:
    """What an artifact should compute: inputs, and the outputs of each reference by its name."""

    inputs: dict[str, np.ndarray]
    expected: dict[str, dict[str, np.ndarray]]
    where: str = ""  # the sizes of the run, where there are several


def references(model: Model, path: Path, options: Options, emit: str, step: Callable[[str], None]) -> list[Reference]:
    """What `verify` asks for, before the passes rewrite the model: at several sizes where these are ranges."""
    if options.verify is None:
        return []
    if emit not in ("so", "dylib", "wasm"):
        raise UsageError(f"--verify runs the artifact, and --emit {emit} makes none that runs")
    step("reference outputs")
    if not isinstance(options.verify, str):
        return [_reference(model, path, options, dict(options.verify))]
    ports = [_reference_port(*pair) for pair in zip(model.input_names, model.main.function_type.inputs, strict=True)]
    found = []
    for sizes in verify.sizes(model.ranges):
        inputs = verify.random_inputs([port.at(sizes) for port in ports])
        where = "".join(f", {name} {size}" for name, size in sizes.items())
        found.append(replace(_reference(model, path, options, inputs), where=where))
    return found


def _reference(model: Model, path: Path, options: Options, inputs: dict[str, np.ndarray]) -> Reference:
    if options.attention is not None:
        return Reference(inputs, masked.references(model, path, options.attention, inputs))
    expected = {"the interpreter": dict(zip(model.output_names, interpret(model, inputs), strict=True))}
    if session := verify.onnxruntime_session(path):
        expected["onnxruntime"] = session(inputs)
    elif verify.has_onnxruntime():
        print("sparsec: warning: onnxruntime refuses this model: verified by the interpreter alone", file=sys.stderr)
    return Reference(inputs, expected)


def with_thresholds(model: Model, reference: Reference, options: Options) -> Reference:
    """The outputs of `model`, which has thresholds; and those that it had before, for comparison only."""
    before = reference.expected
    model = masked.meaning(model, options.attention) if options.attention is not None else model
    outputs = dict(zip(model.output_names, interpret(model, reference.inputs), strict=True))
    expected = {"the interpreter": outputs, WITHOUT: before.get("onnxruntime", before["the interpreter"])}
    return replace(reference, expected=expected)


def _reference_port(name: str, type_) -> Port:
    return Port(name, type_.dtype.name, type_.shape)


def verify_artifact(
    built: Path, wanted: Sequence[Reference], precision: str, step: Callable[[str], None]
) -> list[verify.Comparison]:
    """Runs the artifact on the inputs of all references. Raises AccuracyError where it is too far from one."""
    if not wanted:
        return []
    step("verify")
    program, comparisons = load(built), []
    for reference in wanted:
        outputs = program.run(**reference.inputs)
        for name, values in reference.expected.items():
            where = name + reference.where
            comparisons += verify.compare(outputs, values, where, _tolerance(name, precision))
    verify.check(comparisons)
    return comparisons


def _tolerance(reference: str, precision: str) -> float:
    """How far outputs may be from a reference."""
    return inf if reference == WITHOUT else verify.tolerance(precision)
