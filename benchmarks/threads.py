"""How compiled models scale with threads: medians of alternating runs, one line a model.

    python benchmarks/threads.py ARTIFACT.so [...] [--threads 1,2,4,8,16] [--seconds 5] [--steps 12]

The artifacts must have been compiled with `--threads` of the largest number. Needs NumPy alone, so artifacts can be
measured on machines where nothing is installed.

With `--steps`, also those that lose most: ms on one thread and on each larger number, with the speedup, what was lost
against an equal share of the one thread's time, and how much of it threads waited for one another (the rest is that
they compute slower together, or prepare the same things). Steps that are not shared out show no wait. This takes a C
compiler (`cc`), for threads that note the time of each step.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # from a checkout that is not installed

import numpy as np

from sparsec.bench import measure
from sparsec.program import Program, load
from sparsec.verify import random_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--threads", default="1,2,4,8,16")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each artifact, all numbers of threads together")
    parser.add_argument("--steps", type=int, default=0, help="how many of the steps that lose most are shown")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in map(int, arguments.threads.split(",")) if count <= cores]
    print(f"{cores} cores; ms, and how many times faster than one thread")
    print(f"| artifact | {' | '.join(map(str, counts))} |\n{'|---' * (len(counts) + 1)}|")
    for path in arguments.artifacts:
        print(f"| {path.stem} | " + " | ".join(_times(path, counts, arguments.seconds)) + " |", flush=True)
    if arguments.steps:
        with tempfile.TemporaryDirectory() as folder:
            host = Host(Path(folder))
            for path in arguments.artifacts:
                for count in counts[1:]:
                    _show_steps(path, host, count, arguments.seconds, arguments.steps)


def _times(path: Path, counts: list[int], seconds: float) -> list[str]:
    programs = {count: load(path, threads=count) for count in counts}
    inputs = random_inputs(programs[counts[0]].inputs)
    runs = {str(count): partial(program.run, **inputs) for count, program in programs.items()}
    results = measure(runs, seconds)
    return [f"{r.median * 1e3:.2f} ({results[0].median / r.median:.2f}×)" for r in results]


@dataclass(frozen=True)
class Step:
    """Seconds of a step on one thread, its time on several, and what each of these waited in it."""

    name: str
    alone: float
    shared: float
    waited: float
    threads: int

    @property
    def lost(self) -> float:
        return self.shared - self.alone / self.threads

    def row(self) -> str:
        times = f"{self.alone * 1e3:.3f} | {self.shared * 1e3:.3f} ({self.alone / self.shared:.2f}×)"
        return f"| {self.name} | {times} | {self.lost * 1e3:.3f} | {self.waited * 1e3:.3f} |"


class Host:
    """Threads of threads_host.c."""

    def __init__(self, folder: Path) -> None:
        source, built = Path(__file__).with_name("threads_host.c"), folder / "threads_host.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-pthread", source, "-o", built], check=True)
        self._library = ctypes.CDLL(str(built))
        for name, result in (("reset", ctypes.c_int64), ("now", ctypes.c_int64), ("calls", ctypes.c_void_p)):
            getattr(self._library, f"host_{name}").restype = result

    def run(self, program: Program, threads: int, inputs: dict, seconds: float) -> np.ndarray:
        """The smallest seconds of each part of a run, by turns: what is not shared, begin to end of a call, its wait.

        Begins and ends with what is not shared.
        """
        lent = program._runner._threads
        lent.parallel_for = ctypes.cast(self._library.host_parallel_for, ctypes.c_void_p).value
        lent.threads = threads
        self._library.host_start(threads)
        best, end = None, self._library.host_now() + seconds * 1e9
        while best is None or self._library.host_now() < end:
            found = self._once(program, threads, inputs)
            best = found if best is None else np.minimum(best, found)
        self._library.host_stop()
        return best * 1e-9

    def _once(self, program: Program, threads: int, inputs: dict) -> np.ndarray:
        arrays, _ = program._arrays((), inputs)
        outputs = [np.empty(port.static_shape, port.dtype) for port in program.outputs]
        begin = self._library.host_reset()
        program._runner.run(arrays, outputs, {})
        last, count = self._library.host_now(), self._library.host_call_count()
        memory = (ctypes.c_int64 * (3 * count)).from_address(self._library.host_calls())
        calls = np.array(memory, np.int64).reshape(count, 3)
        starts, ends = np.append(calls[:, 0], last), np.insert(calls[:, 1], 0, begin)
        wait = (calls[:, 1] - calls[:, 0]) - calls[:, 2] // threads
        return np.stack([starts - ends, np.append(calls[:, 1] - calls[:, 0], 0), np.append(wait, 0)], axis=1)


def _show_steps(path: Path, host: Host, threads: int, seconds: float, most: int) -> None:
    program, single = load(path, threads=threads), load(path, threads=1)
    inputs = random_inputs(program.inputs)
    alone = np.min([[s for _, s in single.profile(1, **inputs)] for _ in range(30)], axis=0)
    found = host.run(program, threads, inputs, seconds)
    steps, call, serial = [], 0, 0.0
    for layer, time in zip(program.manifest["layers"], alone, strict=True):
        if layer["chunks"] == 1:
            serial += time
            steps.append(Step(layer["step"], time, time, 0.0, threads))
        else:
            steps.append(Step(layer["step"], time, found[call, 1], found[call, 2], threads))
            call += 1
    beside = found[:, 0].sum() - serial
    total = Step("all", alone.sum(), found[:, :2].sum(), found[:, 2].sum(), threads)
    print(f"\n{path.stem}, {threads} threads; between steps {beside * 1e3:.3f} ms")
    print("| step | ms on one | ms together | ms lost | of that waiting |\n|---|---|---|---|---|")
    for step in [total, *sorted(steps, key=lambda step: -step.lost)[:most]]:
        print(step.row(), flush=True)


if __name__ == "__main__":
    main()
