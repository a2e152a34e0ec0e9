"""Latency of whole models against onnxruntime and OpenVINO, in one run, alternating, pinned to one core, one thread.

    python benchmarks/models.py [MODEL[@SPARSITY] ...] [--batch N] [--precision bf16] [--seconds S] [--json FILE]

Prints a table for docs/benchmarks.md: medians in ms, and how many times faster than each engine sparsec is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Peers are measured with their own choice of BLAS kernels, whatever the machine's set-up says.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import onnx
import zoo

from sparsec.bench import measure
from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.verify import onnxruntime_session, random_inputs, relative_error

DEFAULT = [f"{name}@{s}" for name in ("mobilenet_v1", "mobilenet_v2", "resnet50") for s in (0, 0.7, 0.8, 0.9, 0.95)]
DEFAULT += ["efficientnet_b0@0", "efficientnet_b0@0.9", "nudenet"]
Run = Callable[[], object]


def main() -> None:
    arguments = _arguments()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for spec in arguments.models:
            results.append(_measure(spec, arguments, Path(folder)))
            print(_row(results[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of sparsec")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each model, all engines together")
    parser.add_argument("--json")
    return parser.parse_args()


def _measure(spec: str, arguments: argparse.Namespace, folder: Path) -> dict:
    batch, precision = arguments.batch, arguments.precision
    model, shape = model_of(spec, batch, folder)
    program_file = folder / "model.so"
    name = next(iter(i.name for i in onnx.load(model, load_external_data=False).graph.input))
    compile_file(model, program_file, Options(target="host", shapes={name: shape}, precision=precision))
    program = load(program_file)
    inputs = random_inputs(program.inputs)
    others = peers(model, inputs)
    reference = next(iter(others["onnxruntime"]().values()))
    error = relative_error(next(iter(program.run(**inputs).values())), reference)
    engines: dict[str, Run] = {"sparsec": lambda: program.run(**inputs), **others}
    ours, *theirs = measure(engines, arguments.seconds)
    times = {m.name: m.median * 1e3 for m in (ours, *theirs)}
    speedups = {m.name: ours.speedup_over(m) for m in theirs}
    found = {"ms": times, "speedup": speedups, "rounds": len(ours.times), "error": error}
    return {"model": spec, "batch": batch, "precision": precision, **found}


def model_of(spec: str, batch: int, folder: Path) -> tuple[Path, tuple[int, ...]]:
    """The file and the input shape of `NAME[@SPARSITY]`."""
    name, _, sparsity = spec.partition("@")
    if name == "nudenet":
        return zoo.nudenet(), (batch, 3, 320, 320)
    return zoo.save(folder, name, batch=batch, sparsity=float(sparsity or 0)), (batch, 3, 224, 224)


def peers(model: Path, inputs: dict[str, np.ndarray]) -> dict[str, Run]:
    """The engines that are installed, one thread each, on `model` at the sizes of `inputs`."""
    session = onnxruntime_session(model)
    if session is None:
        sys.exit("pip install 'sparsec[bench]': onnxruntime is the reference of this benchmark")
    found: dict[str, Run] = {"onnxruntime": lambda: session(inputs)}
    try:
        import openvino
    except ImportError:
        return found
    for precision in ("f32", "bf16"):
        found[f"openvino {precision}"] = _openvino(openvino, model, inputs, precision)
    return found


def _openvino(openvino, model: Path, inputs: dict[str, np.ndarray], precision: str) -> Run:
    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({name: list(value.shape) for name, value in inputs.items()})
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return lambda: request.infer(inputs)


def _row(result: dict) -> str:
    cells = [f"{result['ms']['sparsec']:.2f}"]
    cells += [f"{result['ms'][peer]:.2f} ({speedup:.2f}×)" for peer, speedup in result["speedup"].items()]
    return f"| {result['model']} | {' | '.join(cells)} | {result['error']:.0e} |"


if __name__ == "__main__":
    main()
