"""Fits what the events of the cost model cost in V8, as `sparsec calibrate` does on x86, and prints the tables.

    python benchmarks/web_costs.py [wasm] [wasm-relaxed]

What it prints are the tables of sparsec/targets/shipped.py; errors of the fit go to stderr. Pin: taskset -c 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from web import node

from sparsec.targets import codegen
from sparsec.targets.calibration import EACH, ROUNDS, count, fit
from sparsec.targets.cost import host_caches
from sparsec.targets.isa import WASM, WASM_RELAXED, Isa
from sparsec.targets.samples import Sample, families
from sparsec.targets.tools import zig

# Functions are optimised before they run at all.
FLAGS = ("--no-liftoff", "--no-wasm-lazy-compilation")


def times(cases: Sequence[tuple[Any, Sequence[np.ndarray]]], isa: Isa, flags: Sequence[str] = ()) -> np.ndarray:
    """Seconds of kernels with their arrays, in Node: the smallest of all rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder, at, entries = Path(name), 0, []
        _link([kernel for kernel, _ in cases], isa, folder)
        with open(folder / "data.bin", "wb") as file:
            for kernel, arrays in cases:
                places = []
                for array in arrays:
                    file.write(np.ascontiguousarray(array).tobytes())
                    places.append((at, array.nbytes))
                    at += array.nbytes
                entry = {"symbol": kernel.symbol + isa.suffix, "scratch": kernel.scratch, "chunks": kernel.chunks}
                entries.append({**entry, "arrays": places})
        request = {"cases": entries, "rounds": ROUNDS, "each": 2 * EACH, "l2": host_caches().l2}
        (folder / "cases.json").write_text(json.dumps(request))
        script = Path(__file__).with_name("web_kernels.mjs")
        subprocess.run([node(), *FLAGS, *flags, script, folder], check=True)
        return 1e-3 * np.array(json.loads((folder / "times.json").read_text()))


def _link(kernels: Sequence[Any], isa: Isa, folder: Path) -> None:
    (folder / "kernels.o").write_bytes(codegen.emit_object(kernels, isa))
    options = ("--no-entry", "--export-all", "--allow-undefined")
    zig("wasm-ld", *options, folder / "kernels.o", "-o", folder / "kernels.wasm")


def calibrate(isa: Isa) -> dict[str, float]:
    """Nanoseconds of each event."""
    found: dict[str, float] = {}
    for family, samples in families(isa).items():
        found |= _fitted(family, samples, isa)
    return found


def _fitted(family: str, samples: Sequence[Sample], isa: Isa) -> dict[str, float]:
    cases = [(sample, sample.kernel(), sample.weight()) for sample in samples]
    events = [count(*case, isa, host_caches()) for case in cases]
    seconds = times([(kernel, sample.arrays(kernel, weight)) for sample, kernel, weight in cases], isa)
    names = sorted(set().union(*events))
    counts = np.array([[event.get(name, 0.0) for name in names] for event in events])
    costs = fit(counts, 1e9 * seconds)
    errors = np.abs(1e-9 * counts @ costs / seconds - 1)
    print(f"{isa.name} {family}: median error {median(errors):.1%}, worst {max(errors):.0%}", file=sys.stderr)
    for (sample, kernel, _), error, measured in zip(cases, errors, seconds, strict=True):
        if error > 0.2 or "-v" in sys.argv:
            print(f"  {error:.0%} of {1e3 * measured:.3f} ms: {kernel.name} {sample}", file=sys.stderr)
    return dict(zip(names, costs.tolist(), strict=True))


def main() -> None:
    wanted = sys.argv[1:] or [WASM.name, WASM_RELAXED.name]
    for isa in (WASM, WASM_RELAXED):
        if isa.name in wanted:
            print(f"{isa.name.upper().replace('-', '_')} = {{")
            for event, cost in sorted(calibrate(isa).items()):
                print(f'    "{event}": {float(f"{cost:.3g}"):g},')
            print("}")


if __name__ == "__main__":
    main()
