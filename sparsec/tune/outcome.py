"""What tuning found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Override:
    """Nodes that run on another kernel than the cost model chose, with milliseconds of a run inside the model."""

    nodes: tuple[str, ...]
    before: str
    after: str
    before_ms: float
    after_ms: float


@dataclass
class Outcome:
    """What tuning found. `ratio` is how many times faster the tuned model is; 1 where nothing is changed."""

    cache: Path
    layers: int = 0
    measured: int = 0
    known: int = 0
    failed: list[str] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)
    default_ms: float = 0.0
    tuned_ms: float = 0.0
    ratio: float = 1.0
