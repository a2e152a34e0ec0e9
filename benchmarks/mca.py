"""Cycles of inner loops on CPUs that are not at hand, by llvm-mca's model of their pipelines.

The model knows issue widths, execution ports and latencies; all loads hit the L1, all branches are predicted. LLVM
takes the description of Cortex-A57 for A72 and A76; that of Neoverse N1 is nearest to an A76. For Cortex-A53 (as for
all in-order cores) llvm-mca completes instructions strictly in order, so that each load behind a multiply-add waits
for 6 cycles more, which real A53s do not: its figures are too high for all kernels alike that mix the two.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparsec.targets.tools import llvm

ITERATIONS = 200
LABEL = re.compile(r"([\w.$]+):")
BRANCH = re.compile(r"\s+(?:b\.\w+|b|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.\w+)$")


@dataclass(frozen=True)
class Loop:
    """The instructions of an innermost loop, the branch back last."""

    function: str
    lines: tuple[str, ...]

    @property
    def multiply_adds(self) -> int:
        """Vector multiply-adds."""
        return sum("fmla" in line for line in self.lines)

    def cycles(self, cpu: str) -> float:
        """Of one turn, in the long run."""
        return cycles(self.lines, cpu)


def loops(assembly: str) -> Iterator[Loop]:
    """The innermost loops that multiply and add vectors, in the order of the text."""
    lines = assembly.splitlines()
    places: dict[str, int] = {}
    function = ""
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            places[label[1]] = number
            function = function if label[1].startswith(".") else label[1]
        branch = BRANCH.match(line)
        if not branch or branch[1] not in places:
            continue
        body = lines[places[branch[1]] + 1 : number + 1]
        if any("fmla" in each for each in body) and not any(LABEL.match(each) for each in body):
            yield Loop(function, tuple(each.strip() for each in body if re.match(r"\s+[a-z]", each)))


@cache
def cycles(lines: Sequence[str], cpu: str) -> float:
    """Cycles of one turn of a loop of these instructions."""
    body = "\n".join(re.sub(r"\.L\w+$", "start", line) for line in lines)
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        file.write(f"start:\n{body}\n")
        file.flush()
        options = f"-iterations={ITERATIONS}", "-instruction-info=0", "-resource-pressure=0"
        report = llvm("llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", *options, Path(file.name))
    found = re.search(r"Total Cycles:\s+(\d+)", report)
    assert found, report
    return int(found[1]) / ITERATIONS
