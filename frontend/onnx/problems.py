"""What is wrong with a model: one `Problem` per place, all of them in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.errors import InvalidModel, SparsecError, UnsupportedModel

SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a model from being compiled. `inputs` are shapes and element types for people.

    `hint` says what to do, where that is plain; it comes first in the text.
    """

    node: str
    op: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    reason: str
    error: type[SparsecError] = UnsupportedModel
    hint: str = ""

    def __str__(self) -> str:
        if not self.node:
            return self.reason
        op = f"{self.domain}.{self.op}" if self.domain else self.op
        where = f"node {self.node!r} ({op}, opset {self.opset}, inputs {', '.join(self.inputs) or 'none'})"
        return f"{self.hint}: {where} {self.reason}" if self.hint else f"{where} {self.reason}"


def raise_all(problems: Sequence[Problem]) -> None:
    """One error with every problem in its message; its class is that of the worst."""
    if not problems:
        return
    invalid = [problem for problem in problems if issubclass(problem.error, InvalidModel)]
    unsupported = [problem for problem in problems if issubclass(problem.error, UnsupportedModel)]
    listed = invalid or unsupported or list(problems)
    error = listed[0].error
    if len(listed) == 1:
        raise error(str(listed[0]))
    lines = [f"  {problem}" for problem in listed[:SHOWN]]
    if len(listed) > SHOWN:
        lines.append(f"  and {len(listed) - SHOWN} more")
    what = f"{len(listed)} nodes are not supported" if unsupported else "the model's sizes do not fit"
    what = "the model is invalid" if invalid else what
    raise error("\n".join([f"{what}:", *lines]))
