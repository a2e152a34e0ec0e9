"""The manifest of an artifact: what `sparsec explain` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sparsec import __version__, thresholds
from sparsec.artifact import size_entries
from sparsec.ir import AttentionOp, Contraction, node_name
from sparsec.ir.dims import Dim
from sparsec.ir.ranges import fixed_at, typical
from sparsec.model import Model
from sparsec.options import Options
from sparsec.passes import Passed
from sparsec.schedule import Schedule
from sparsec.target import Step
from sparsec.targets.native import NativeTarget
from sparsec.work import useful_flops


def manifest(
    model: Model, target: NativeTarget, scheduled: Schedule, passed: Passed, options: Options
) -> dict[str, Any]:
    """What was compiled and why: the layers with their kernels, formats, predicted times and alternatives."""
    decisions = {decision.node: asdict(decision) for decision in passed.decisions}
    layers, origins = [], iter(zip(scheduled.kernels, scheduled.origins, strict=True))
    loops = [(step, layer.name) for step in scheduled.plan.steps if step.loop for layer in step.layers]
    in_loop = {name: {"loop": step.symbol, "rounds": _json(step.chunks)} for step, name in loops}
    for step in scheduled.plan.layers:
        calls = []
        for call, (kernel, op) in zip(step.calls, origins, strict=False):
            layer: dict[str, Any] = {"step": call.name, "node": node_name(op), "op": op.name, "kernel": call.symbol}
            with fixed_at(op, typical(model.ranges)):
                layer["flops"] = useful_flops(op, model.weights)
            moved = [buffer.nbytes for buffer in call.arguments if buffer.space != "sizes"]
            layer["bytes"], written = sum(moved), moved[-1]
            why = decisions.get(layer["node"], {}) if isinstance(op, Contraction | AttentionOp) else {}
            seconds = why.get("seconds") or target.predicted(kernel, layer["bytes"] - written, written)
            calls.append({**layer, **why, **thresholds.told(op), "seconds": seconds})
        layers.append(_chain_entry(step, calls) if step.chain else calls[0])
        layers[-1] |= {"chunks": _json(step.chunks), **in_loop.get(step.name, {})}
    return {
        "sparsec": __version__,
        "model": model.name,
        "target": target.name,
        "precision": target.precision,
        "attention": options.attention.name if options.attention is not None else None,
        "isas": [isa.name for isa in target.code(scheduled.kernels)],
        "threads": scheduled.plan.threads,
        "tuned": None if target.measured is None else sum(decision.measured for decision in passed.decisions),
        **({"sizes": size_entries(model.ranges)} if model.ranges else {}),
        "arena_bytes": scheduled.plan.arena_bytes,
        "arena_lower_bound_bytes": passed.memory.lower_bound_bytes,
        "layers": layers,
    }


def _json(size: Dim) -> int | str:
    return size if isinstance(size, int) else str(size)


def _chain_entry(step: Step, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """What the manifest says of layers that run as one step."""
    return {
        "step": step.name,
        "node": step.name.partition(":")[2],
        "op": "chain",
        "kernel": step.symbol,
        "flops": sum(call["flops"] for call in calls),
        "bytes": sum(buffer.nbytes for buffer in step.arguments),
        "seconds": sum(call["seconds"] for call in calls),
        "members": calls,
    }
