"""`sparsec bench`: the latency of an artifact or model, alternating with onnxruntime where asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from sparsec.artifact import read_artifact
from sparsec.bench import Measurement, measure, on_device
from sparsec.cli import arrays, options
from sparsec.compiler import compile_file
from sparsec.errors import TargetError, UsageError
from sparsec.options import Options
from sparsec.program import Program
from sparsec.targets.registry import parse_target
from sparsec.verify import onnxruntime_session

_TARGETS = {"aarch64": "arm", "x86_64": "x86"}


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--vs", type=click.Choice(["onnxruntime"]), help="Alternate with this engine and print the ratio.")
@click.option("--model", type=click.Path(path_type=Path), help="The ONNX model of an artifact, for --vs.")
@click.option("--target", help="Target, when FILE is a model; default: host, or what --device is.")
@click.option(
    "--device", metavar="ssh://USER@HOST[:PORT]", help="Measure there; needs only sshd. qemu[:CPU] emulates ARM."
)
@options.shape_options
@options.attention
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--time", "seconds", type=click.FloatRange(0.1), default=3.0, show_default=True, help="Seconds in all.")
@click.option("--input", "source", default="random", show_default=True, metavar="X.npz|X.npy|random")
@options.as_json
def command(file, vs, model, target, device, shapes, dims, attention, threads, seconds, source, as_json) -> None:
    """Measure FILE, an artifact or an ONNX model: median, best and worst time of a run."""
    if vs and device:
        raise UsageError("--vs runs on this machine, so that it says nothing about --device")
    if attention and file.suffix != ".onnx":
        raise UsageError(f"--attention is for an ONNX model, and {file} is compiled")
    with tempfile.TemporaryDirectory() as folder, options.connected(device) as transport:
        sizes = {} if file.suffix == ".onnx" else dims
        if file.suffix == ".onnx":
            target = target or (_TARGETS.get(transport.machine, transport.machine) if transport else "host")
            settings = Options(target=target, shapes=shapes, dims=dims, threads=threads, attention=attention)
            model, file = file, Path(folder) / f"model.{parse_target(target).default_emit}"
            with options.progress() as progress:
                compile_file(model, file, settings, progress)
        program = Program(read_artifact(file), threads, transport=transport)
        inputs = arrays.inputs(options.run_ports(program, sizes), source, seed=0)
        if transport:
            _report([on_device(program.time(seconds, **inputs))], as_json)
            return
        engines = {"sparsec": lambda: program.run(**inputs)}
        if vs:
            engines[vs] = _peer(model, inputs, threads)
        _report(measure(engines, seconds), as_json)


def _peer(model: Path | None, inputs, threads: int):
    if model is None:
        raise UsageError("--vs needs the ONNX model: bench model.onnx, or give it with --model")
    session = onnxruntime_session(model, threads)
    if session is None:
        raise TargetError("onnxruntime is not installed, or does not run this model: pip install onnxruntime")
    return lambda: session(inputs)


def _report(results: list[Measurement], as_json: bool) -> None:
    ratio = results[0].speedup_over(results[1]) if len(results) > 1 else None
    if as_json:
        data = {
            r.name: {"median_ms": r.median * 1e3, "min_ms": min(r.times) * 1e3, "runs": len(r.times)} for r in results
        }
        options.emit_json({**data, **({"ratio": ratio} if ratio else {})})
        return
    rows = [(r.name, r.median * 1e3, min(r.times) * 1e3, max(r.times) * 1e3, len(r.times)) for r in results]
    options.table("latency", ("engine", "median ms", "min ms", "max ms", "runs"), rows)
    if ratio:
        click.echo(f"sparsec is {ratio:.2f} times as fast as {results[1].name}")
