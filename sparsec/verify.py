"""Comparing an artifact with its references: sparsec's interpreter, and onnxruntime where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from sparsec.errors import AccuracyError
from sparsec.target import Port

TOLERANCE = 1e-4
# Accumulating thousands of products in another order moves results of deep models by more than TOLERANCE.
LONG_SUMS_TOLERANCE = 2e-3
# Rounding to bf16 moves each operand by up to 2^-9; over L layers such errors add up to about 2^-9 · sqrt(2 L) of the
# output, 2e-2 at 50 layers. MobileNetV1 and V2, ResNet-50 and YOLOv8n are off by 8e-3 to 1e-2 at the worst element.
BF16_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Comparison:
    """The largest error of one output against one reference, relative to |reference| + rms(reference).

    One without a tolerance, infinity, is for people to know, and no check.
    """

    output: str
    reference: str
    error: float
    tolerance: float

    @property
    def is_check(self) -> bool:
        return isfinite(self.tolerance)

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def tolerance(precision: str) -> float:
    """What whole models compiled at `precision` may differ by."""
    return LONG_SUMS_TOLERANCE if precision == "f32" else BF16_TOLERANCE  # f16 is off by less


def sizes(ranges: Mapping[str, tuple[int, int]]) -> list[dict[str, int]]:
    """Sizes of runs that tell most: the lowest, the highest, and odd ones between; those of no symbols, without."""
    if not ranges:
        return [{}]
    odd = {name: min(high, round((low * high) ** 0.5) | 1) for name, (low, high) in ranges.items()}
    return [{name: low for name, (low, _) in ranges.items()}, odd, {name: high for name, (_, high) in ranges.items()}]


def random_inputs(ports: Sequence[Port], seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal reals, zeros and ones for whole numbers and booleans (valid as indices and masks)."""
    rng = np.random.default_rng(seed)

    def draw(port: Port) -> np.ndarray:
        if np.dtype(port.dtype).kind == "f":
            return rng.standard_normal(port.static_shape).astype(port.dtype)
        return rng.integers(0, 2, port.static_shape).astype(port.dtype)

    return {port.name: draw(port) for port in ports}


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """max |actual − expected| / (|expected| + rms(expected)); infinite where one is finite and the other is not."""
    if actual.shape != expected.shape:
        return float("inf")
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    finite = np.isfinite(b)
    rms = np.sqrt(np.mean(np.square(b[finite]))) if finite.any() else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(same, 0.0, np.abs(a - b) / (np.abs(b) + rms))
    return float(np.nan_to_num(error, nan=np.inf).max())


def compare(
    outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], reference: str, tolerance: float
) -> list[Comparison]:
    """One comparison for each output that the reference has."""
    pairs = ((name, outputs[name], expected[name]) for name in expected)
    return [Comparison(name, reference, relative_error(got, want), tolerance) for name, got, want in pairs]


def check(comparisons: Sequence[Comparison]) -> None:
    """Raises AccuracyError that lists every output beyond its tolerance."""
    failed = [c for c in comparisons if c.is_check and not c.passed]
    if failed:
        lines = [f"  {c.output}: {c.error:.2e} from {c.reference}, allowed {c.tolerance:.0e}" for c in failed]
        raise AccuracyError("outputs differ from the reference\n" + "\n".join(lines))


def has_onnxruntime() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def onnxruntime_session(
    model: Path | bytes, threads: int = 1
) -> Callable[[Mapping[str, np.ndarray]], dict[str, Any]] | None:
    """`model`, a file or what is in one, in onnxruntime as a function of inputs by name.

    None where onnxruntime is not installed or refuses the model.
    """
    if not has_onnxruntime():
        return None
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 4
    try:
        source = model if isinstance(model, bytes) else str(model)
        session = onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime raises its own family of exceptions for whatever it does not support
        return None
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))
