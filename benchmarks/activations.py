"""Linear layers at batch 1 behind a ReLU, by the share of zeros that it leaves, against dense ones and onnxruntime.

    python benchmarks/activations.py [INPUTSxOUTPUTS ...] [--seconds S] [--tokens N]

Pinned to one core, one thread, all engines in turn in one run. Prints tables for docs/benchmarks.md: medians in ms; of
the dense layer the GB/s of its weights, of the others the GB/s of the weights that meet no zero and how many times
faster than the dense layer they are. Each has weights of its own in memory, so that none finds them in a cache. The
last rows are whole feed-forwards, whose first layer has a dense input.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sparsec.bench import Measurement, measure
from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.verify import onnxruntime_session, relative_error

SIZES = ("3072x768", "8192x2048", "4096x16384", "16384x4096")
ZEROS = (0, 0.5, 0.8, 0.9, 0.95, 0.99)
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SIZES, help='"" for none')
    parser.add_argument("--seconds", type=float, default=8.0, help="for each layer, all engines together")
    parser.add_argument("--tokens", type=int, default=1)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    shares = " | ".join(f"{zeros:.0%} zeros" for zeros in ZEROS)
    print(f"| inputs x outputs, MB | dense | {shares} | onnxruntime |")
    print("|---" * (len(ZEROS) + 3) + "|")
    for size in filter(None, arguments.sizes):
        inputs, outputs = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            print(_layer(Path(folder), arguments.tokens, inputs, outputs, arguments.seconds), flush=True)
    for hidden, gated in itertools.product((3072, 8192), (False, True)):
        with tempfile.TemporaryDirectory() as folder:
            print(_feed_forward(Path(folder), hidden // 4, hidden, gated, arguments.seconds), flush=True)


def _layer(folder: Path, tokens: int, inputs: int, outputs: int, seconds: float) -> str:
    """One row: a layer with and without a ReLU before it."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(np.sqrt(inputs))}
    shapes = [tokens, inputs], [tokens, outputs]
    linear = helper.make_node("Gemm", ["a", "w"], ["y"], transB=1)
    relu = _save(folder / "relu.onnx", [helper.make_node("Relu", ["x"], ["a"]), linear], weights, *shapes)
    plain = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    dense = _save(folder / "dense.onnx", [plain], weights, *shapes)
    rows = {zeros: _with_zeros(random, (tokens, inputs), zeros) for zeros in ZEROS}
    ours, session = _compiled(relu, len(rows)), onnxruntime_session(relu)
    if session is None:
        sys.exit("pip install 'sparsec[bench]': onnxruntime is the reference of this benchmark")
    engines: dict[str, Run] = {"dense": _bound(_compiled(dense)[0], rows[0])}
    engines |= {str(zeros): _bound(run, x) for run, (zeros, x) in zip(ours, rows.items(), strict=True)}
    engines["onnxruntime"] = _bound(lambda x: session({"x": x}), rows[0.9])
    _check(engines["0.9"], engines["onnxruntime"])
    first, *others, onnxruntime = measure(engines, seconds)
    nbytes = 4 * inputs * outputs
    cells = [
        f"{inputs} x {outputs}, {nbytes / 1e6:.0f}",
        f"{first.median * 1e3:.3f} ({nbytes / first.median / 1e9:.1f})",
    ]
    for other, x in zip(others, rows.values(), strict=True):
        read = nbytes * np.mean((x > 0).any(axis=0))
        cells.append(f"{other.median * 1e3:.3f} ({read / other.median / 1e9:.1f}, {_times(other, first)})")
    return f"| {' | '.join([*cells, f'{onnxruntime.median * 1e3:.3f} ({_times(onnxruntime, first)})'])} |"


def _feed_forward(folder: Path, width: int, hidden: int, gated: bool, seconds: float) -> str:
    """One row: two layers around a ReLU that leaves 90 % zeros, and around a HardSwish, whose zeros no kernel skips.

    Where it is `gated`, the activation is multiplied by a third layer.
    """
    random = np.random.default_rng(0)
    up, down = (random.standard_normal(size, dtype=np.float32) for size in ((hidden, width), (width, hidden)))
    bias = np.full(hidden, -1.2816, np.float32)  # the quantile of 90 % of the normal distribution
    weights = {"up": up / np.float32(np.sqrt(width)), "b": bias, "down": down / np.float32(np.sqrt(hidden))}
    weights |= {"other": weights["up"][::-1].copy()} if gated else {}
    engines: dict[str, Run] = {}
    x = random.standard_normal((1, width), dtype=np.float32)
    for activation in ("HardSwish", "Relu"):
        nodes = [
            helper.make_node("Gemm", ["x", "up", "b"], ["u"], transB=1),
            helper.make_node(activation, ["u"], ["g"]),
            helper.make_node("Gemm", ["x", "other"], ["o"], transB=1),
            helper.make_node("Mul", ["g", "o"], ["a"]),
            helper.make_node("Gemm", ["a" if gated else "g", "down"], ["y"], transB=1),
        ]
        nodes = nodes if gated else [nodes[0], nodes[1], nodes[-1]]
        model = _save(folder / f"{activation}.onnx", nodes, weights, [1, width], [1, width])
        engines[activation] = _bound(_compiled(model)[0], x)
        session = onnxruntime_session(model)
        assert session is not None, "asked before"
        engines["onnxruntime"] = lambda session=session: session({"x": x})
    _check(engines["Relu"], engines["onnxruntime"])
    dense, onnxruntime, relu = measure(engines, seconds)
    others = f"onnxruntime {onnxruntime.median * 1e3:.3f} ms, dense {dense.median * 1e3:.3f} ms ({_times(relu, dense)})"
    what = f"{'gated ' * gated}feed-forward {width} -> {hidden} -> {width}, 90 % zeros"
    return f"{what}: {relu.median * 1e3:.3f} ms; {others}"


def _times(this: Measurement, other: Measurement) -> str:
    return f"{this.speedup_over(other):.2f}×"


def _with_zeros(random: np.random.Generator, shape: tuple[int, int], zeros: float) -> np.ndarray:
    """Of the values, a share of `zeros` is negative; of several tokens the same ones."""
    values = np.abs(random.standard_normal(shape, dtype=np.float32)) + np.float32(1e-3)
    return np.where(random.permutation(shape[1]) < round(zeros * shape[1]), -values, values)


def _save(path: Path, nodes: list, weights: dict[str, np.ndarray], x: list[int], y: list[int]) -> Path:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x), ("y", y))]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, path.stem, ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _compiled(model: Path, copies: int = 1) -> list[Callable[[np.ndarray], object]]:
    """The compiled model, as often as wanted."""
    artifact = model.with_suffix(".so")
    compile_file(model, artifact, Options())
    return [_loaded(Path(shutil.copy(artifact, artifact.with_suffix(f".{copy}.so")))) for copy in range(copies)]


def _loaded(artifact: Path) -> Callable[[np.ndarray], object]:
    program = load(artifact)
    return lambda x: program.run(x=x)


def _bound(run: Callable[[np.ndarray], object], x: np.ndarray) -> Run:
    return lambda: run(x)


def _check(ours: Run, reference: Run) -> None:
    error = relative_error(*(next(iter(run().values())) for run in (ours, reference)))  # pyright: ignore
    assert error < 1e-3, f"outputs differ by {error}"


if __name__ == "__main__":
    main()
