"""What a compilation is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from sparsec.frontend.onnx import Given


@dataclass(frozen=True)
class Options:
    """How to compile. `emit` None means what the target makes itself.

    `dims` gives symbols of the model their sizes; one that is given its lowest and highest, (1, 512), stays open until
    a run, and one that is given another's name goes by that.
    `weights` separate leaves the weights of a wasm module in files beside it, of at most `weights_limit` bytes each.
    `precision` bf16 or f16 lets kernels round products, never long sums, where that is faster. `tuned` is a file of
    measured times, which go before predictions. `activations` is a file of thresholds, below which inputs of layers
    count as zeros (see `sparsec.thresholds`). `attention` is a file that says which keys queries look at
    (see `sparsec.attention_file`). `verify` is None, "random", or inputs by name.
    `chains` False leaves each layer a step of its own, so that a profile times it; `loops` False runs it for the whole
    batch before the next one; `interleave` False keeps the images of a batch apart.
    """

    target: str = "host"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, Given] = field(default_factory=dict)
    threads: int = 1
    formats: Literal["auto", "dense", "sparse"] = "auto"
    precision: Literal["f32", "bf16", "f16"] = "f32"
    emit: str | None = None
    weights: Literal["inside", "separate"] = "inside"
    weights_limit: int | None = None
    verify: Mapping[str, np.ndarray] | str | None = None
    tuned: Path | None = None
    activations: Path | None = None
    attention: Path | None = None
    chains: bool = True
    loops: bool = True
    interleave: bool = True
