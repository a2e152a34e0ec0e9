"""How compiled models scale with threads: medians of alternating runs, one line a model.

    python benchmarks/threads.py ARTIFACT.so [...] [--threads 1,2,4,8,16] [--seconds 5]

The artifacts must have been compiled with `--threads` of the largest number. Needs NumPy alone, so artifacts can be
measured on machines where nothing is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # from a checkout that is not installed

from sparsec.bench import measure
from sparsec.program import load
from sparsec.verify import random_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--threads", default="1,2,4,8,16")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each artifact, all numbers of threads together")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in map(int, arguments.threads.split(",")) if count <= cores]
    print(f"{cores} cores; ms, and how many times faster than one thread")
    print(f"| artifact | {' | '.join(map(str, counts))} |\n{'|---' * (len(counts) + 1)}|")
    for path in arguments.artifacts:
        print(f"| {path.stem} | " + " | ".join(_times(path, counts, arguments.seconds)) + " |", flush=True)


def _times(path: Path, counts: list[int], seconds: float) -> list[str]:
    programs = {count: load(path, threads=count) for count in counts}
    inputs = random_inputs(programs[counts[0]].inputs)
    runs = {str(count): partial(program.run, **inputs) for count, program in programs.items()}
    results = measure(runs, seconds)
    return [f"{r.median * 1e3:.2f} ({results[0].median / r.median:.2f}×)" for r in results]


if __name__ == "__main__":
    main()
