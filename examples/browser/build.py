"""Builds the modules of the demo: one network with dense and with sparse kernels, from the same weights.

    python examples/browser/build.py [--model model.onnx] [--labels labels.txt] [--serve]

Without a model it makes a MobileNetV1 of random weights, nine in ten of them zeros in its 1x1 convolutions. A model of
your own takes one image of shape 1x3xHxW; labels are the names of its classes, one a line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "benchmarks"))

import zoo  # noqa: E402
from webdriver import serve  # noqa: E402

from sparsec.artifact import flat  # noqa: E402
from sparsec.compiler import Options, Result, compile_file  # noqa: E402

# What ImageNet's networks subtract from red, green and blue, and divide by.
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def build(models: Path, model: Path | None = None, labels: Path | None = None, **options: Any) -> None:
    """Compile `model`, or a network of the zoo with `options`, into the folder `models`."""
    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = model or zoo.save(Path(folder), "mobilenet_v1", sparsity=0.9, **options)
        compile_file(path, models / "dense.wasm", Options(target="wasm", formats="dense"))
        result = compile_file(path, models / "sparse.wasm", Options(target="wasm"))
    info = {**IMAGENET, **describe(result, model), "labels": labels.read_text().splitlines() if labels else None}
    (models / "info.json").write_text(json.dumps(info, indent=2))


def describe(result: Result, model: Path | None) -> dict[str, str]:
    """What the page says of the network."""
    layers = flat(result.manifest["layers"])
    sparse = [layer for layer in layers if layer.get("format") not in (None, "dense")]
    return {
        "title": model.stem if model else "MobileNetV1",
        "sparsity": f"{zeros(sparse):.0%}",
        "pruned": f"{len(sparse)} of its {len(layers)} layers",
        "note": "" if model else "The weights are random: what matters is that both modules compute the same.",
    }


def zeros(layers: Sequence[dict[str, Any]]) -> float:
    """The part of the elements of all weights that are zero."""
    sizes = [elements(layer["shapes"]) for layer in layers]
    zero = sum(size * (1 - layer["density"]) for size, layer in zip(sizes, layers, strict=True))
    return zero / sum(sizes) if sizes else 0.0


def elements(shapes: str) -> int:
    """Of the weights, the second operand: "1x8x32x32, 11x8x1x1, 11x1x1 -> 1x11x32x32"."""
    return math.prod(map(int, shapes.split(", ")[1].split(" ")[0].split("x")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--serve", action="store_true", help="and serve the page until interrupted")
    arguments = parser.parse_args()
    build(HERE / "models", arguments.model, arguments.labels)
    if arguments.serve:
        with serve(HERE, isolated=True) as (address, _):
            input(f"{address}/index.html  (Enter ends)\n")


if __name__ == "__main__":
    main()
