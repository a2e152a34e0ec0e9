"""Latency of whole models in V8: sparsec's modules against onnxruntime-web and LiteRT.js, one thread, one process.

    python benchmarks/web.py [MODEL[@SPARSITY] ...] [--rounds N] [--layers N] [--flag=V8FLAG ...] [--chromium]

Node and the peers come from npm, into benchmarks/web, the first time. Engines take turns: a run that does not count and
a few that do. Prints a table for docs/benchmarks.md: medians in ms, and how many times faster sparsec with relaxed SIMD
is. `--layers` profiles sparsec's steps, the slowest first. Pin: taskset -c 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from litert import convert
from models import model_of

from sparsec.artifact import read_artifact
from sparsec.compiler import Options, compile_file
from sparsec.verify import random_inputs

HERE = Path(__file__).parent
FOLDER = HERE / "web"
PACKAGES = {"node": "26.10.0", "onnxruntime-web": "1.30.0", "@litertjs/core": "2.5.3"}
DEFAULT = [f"{name}@{s}" for name in ("mobilenet_v1", "mobilenet_v2", "resnet50") for s in (0.9, 0)]


def node() -> Path:
    """The pinned Node; it and the peers are installed where they are not."""
    program = FOLDER / "node_modules" / "node" / "bin" / "node"
    if not program.exists():
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / "package.json").write_text('{"private": true}')
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        options = ["--no-package-lock", "--no-fund", "--no-audit"]
        subprocess.run(["npm", "install", *options, *wanted], cwd=FOLDER, check=True)
    return program


def measure(spec: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What each engine takes for a model, sparsec with relaxed SIMD first."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        model, shape = model_of(spec, 1, folder)
        module = folder / "model.wasm"
        port = _input(model)
        compile_file(model, module, Options(target="wasm", shapes={port: shape}, chains=not arguments.no_chains))
        inputs = random_inputs(read_artifact(module).inputs)
        run = _in_chromium if arguments.chromium else partial(_in_node, flags=arguments.flag)
        files = {}
        for key, array in inputs.items():
            array.astype(np.float32).tofile(folder / f"{key}.bin")
            files[key] = {"shape": array.shape, "file": folder / f"{key}.bin"}
        engines = [
            {"name": "relaxed", "kind": "sparsec", "file": module.with_suffix(".js"), "isa": "wasm-relaxed"},
            {"name": "plain", "kind": "sparsec", "file": module.with_suffix(".js"), "isa": "wasm"},
            {"name": "onnxruntime", "kind": "onnxruntime", "file": model},
            {"name": "litert", "kind": "litert", "file": folder / "model.tflite"},
        ]
        (folder / "model.tflite").write_bytes(convert(model))
        request = {"packages": FOLDER / "node_modules", "engines": engines, "inputs": files}
        return run({**request, "rounds": arguments.rounds, "profile": 20 if arguments.layers else 0}, folder)


def _input(model: Path) -> str:
    return onnx.load(model, load_external_data=False).graph.input[0].name


def _in_node(request: dict[str, Any], folder: Path, flags: list[str]) -> list[dict[str, Any]]:
    file = folder / "request.json"
    file.write_text(json.dumps(request, default=Path.as_uri))
    done = subprocess.run([node(), *flags, HERE / "web.mjs", file], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # LiteRT.js has its say before


def _in_chromium(request: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    from webdriver import Browser, serve

    with serve(HERE, isolated=True) as (address, _), Browser() as browser:

        def url(path: Path) -> str:
            return f"{address}/{path.relative_to(HERE)}"

        imports = {"@litertjs/wasm-utils": url(FOLDER / "node_modules/@litertjs/wasm-utils/dist/index.js")}
        page = f'<!doctype html><script type="importmap">{json.dumps({"imports": imports})}</script><body>'
        (folder / "index.html").write_text(page)
        browser.open(url(folder / "index.html"))
        script = f"return (await import('{address}/web.mjs')).measure(args[0]);"
        return browser.run(script, json.loads(json.dumps(request, default=url)))


def row(spec: str, found: list[dict[str, Any]]) -> str:
    """A line of the table."""
    ours, *others = found
    cells = [f"{ours['median']:.2f}", *(f"{each['median']:.2f} ({each['ratio']:.2f}×)" for each in others)]
    error = max(each["error"] for each in others)
    return f"| {spec} | {' | '.join(cells)} | {error:.0e} | {ours['created']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--layers", type=int, default=0, metavar="N", help="print the N slowest steps")
    parser.add_argument("--flag", action="append", default=[], help="of V8: --flag=--experimental-wasm-revectorize")
    parser.add_argument("--chromium", action="store_true", help="in headless Chromium instead of Node")
    parser.add_argument("--no-chains", action="store_true", help="compile every layer as a step of its own")
    arguments = parser.parse_args()
    node()
    print("| Model | relaxed SIMD | plain SIMD | onnxruntime-web | LiteRT.js | difference | ms to load |")
    print("|---|---|---|---|---|---|---|")
    for spec in arguments.models:
        found = measure(spec, arguments)
        print(row(spec, found), flush=True)
        for layer in sorted(found[0]["layers"], key=lambda layer: -layer["ms"])[: arguments.layers]:
            rate = layer["flops"] / layer["ms"] / 1e6
            print(f"{layer['ms']:8.3f} ms {rate:6.1f} GFLOP/s  {layer['kernel']}  {layer.get('shapes', '')}")


if __name__ == "__main__":
    main()
