"""Control flow whose course is known at compile time, or that both branches of can be computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto
from xdsl.ir import SSAValue

from sparsec.frontend.onnx.limits import MAX_UNROLLED
from sparsec.frontend.onnx.node import Node, Sizes, Unknown, Value, dims_of
from sparsec.frontend.onnx.ops.indexing import slice_axis
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import ConcatOp, type_of
from sparsec.ir.shapes import format_shape


@operator("If")
def if_(node: Node):
    """The branch taken, where the condition is constant; else both, and a choice between their results."""
    condition = node.input(0)
    known = node.number(condition)
    if known is not None:
        return branch(node, node.graph("then_branch" if known else "else_branch"), "branch")
    then = branch(node, node.graph("then_branch"), "then")
    otherwise = branch(node, node.graph("else_branch"), "else")
    return [_choose(node, a, b) for a, b in zip(then, otherwise, strict=True)]


def branch(node: Node, graph: GraphProto, label: str, inputs: Sequence[Value | None] = ()) -> list[Value]:
    """Import a subgraph in place; `inputs` are its inputs."""
    scope = node.scope.inner(f"{node.name}/{label}/")
    for port, value in zip(graph.input, inputs, strict=False):
        if value is not None:
            scope.values[port.name] = value
    return node.importer.graph(graph, scope)


def _choose(node: Node, a: Value, b: Value) -> Value:
    if a is b:
        return a
    if isinstance(a, Unknown | Sizes) or isinstance(b, Unknown | Sizes):
        return Unknown() if isinstance(a, Unknown) or isinstance(b, Unknown) else _undecided(node, "sizes")
    if type_of(a) != type_of(b):
        _undecided(node, f"{format_shape(dims_of(a))} or {format_shape(dims_of(b))}")
    condition = node.reshape(node.input(0), [])
    return node.map([condition, a, b], lambda c, a, b: c.select(a, b))


def _undecided(node: Node, what: str):
    node.unsupported(f"decides at run time whether its result is {what}")


@operator("Loop")
def loop(node: Node):
    """Unrolled, where the number of rounds and the condition are constant."""
    rounds = int(node.one(0)) if node.has(0) else MAX_UNROLLED + 1
    condition: Value | None = node.input(1) if node.has(1) else None
    body = node.graph("body")
    state = [node.inputs[index] for index in range(2, len(node.inputs))]
    gathered: list[list] = [[] for _ in range(len(body.output) - 1 - len(state))]
    done = 0
    while done < rounds and (condition is None or _holds(node, condition)):
        if done >= MAX_UNROLLED:
            node.unsupported(f"runs more than {MAX_UNROLLED} rounds")
        results = branch(
            node,
            body,
            str(done),
            [node.constant(np.array(done, np.int64)), condition or node.constant(np.array(True)), *state],
        )
        condition, state = results[0], results[1 : 1 + len(state)]
        for found, value in zip(gathered, results[1 + len(state) :], strict=True):
            found.append(value)
        done += 1
    return [*state, *(_stack(node, found, 0) for found in gathered)]


def _holds(node: Node, condition: Value) -> bool:
    known = None if isinstance(condition, Sizes | Unknown) else node.number(condition)
    if known is None:
        node.unsupported("ends when a value computed at run time says so")
    return bool(known)


def _stack(node: Node, parts: list, axis: int) -> Value:
    """The parts along a new axis."""
    if not parts:
        node.unsupported("runs no round, so that the shape of its scan outputs is unknown")
    if any(isinstance(part, Unknown | Sizes) for part in parts):
        return Unknown()
    shape = dims_of(parts[0])
    wide = [node.reshape(part, [*shape[:axis], 1, *shape[axis:]]) for part in parts]
    return wide[0] if len(wide) == 1 else node.emit(ConcatOp(wide, axis))


@operator("Scan")
def scan(node: Node):
    """Unrolled over the fixed length of its scan inputs."""
    if node.opset < 9:
        node.unsupported("scans a batch of sequences, as before opset 9")
    body, count = node.graph("body"), node.integer("num_scan_inputs")
    if not 1 <= count <= len(node.inputs):
        node.invalid(f"has {count} scan inputs of {len(node.inputs)} inputs")
    state: list[Value] = [node.input(index) for index in range(len(node.inputs) - count)]
    scanned = _scan_inputs(node, [node.input(len(state) + index) for index in range(count)])
    gathered: list[list] = [[] for _ in range(len(body.output) - len(state))]
    for step, parts in enumerate(zip(*scanned, strict=True)):
        results = branch(node, body, str(step), [*state, *parts])
        state = results[: len(state)]
        for found, value in zip(gathered, results[len(state) :], strict=True):
            found.append(value)
    return [*state, *_scan_outputs(node, gathered)]


def _scan_inputs(node: Node, inputs: list[SSAValue]) -> list[list[SSAValue]]:
    """For each scan input, its slices in the order of the rounds."""
    axes = node.integers("scan_input_axes") or [0] * len(inputs)
    back = node.integers("scan_input_directions") or [0] * len(inputs)
    result: list[list[SSAValue]] = []
    for x, axis, backwards in zip(inputs, axes, back, strict=True):
        axis = node.axis(axis, len(dims_of(x)))
        length = node.fixed(dims_of(x)[axis], "unrolling a scan")
        if length > MAX_UNROLLED:
            node.unsupported(f"runs more than {MAX_UNROLLED} rounds")
        slices = [_part(node, x, axis, index) for index in range(length)]
        result.append(slices[::-1] if backwards else slices)
    return result


def _part(node: Node, x: SSAValue, axis: int, index: int) -> SSAValue:
    shape = dims_of(x)
    return node.reshape(slice_axis(node, x, axis, index, 1), [*shape[:axis], *shape[axis + 1 :]])


def _scan_outputs(node: Node, gathered: list[list]) -> list[Value]:
    axes = node.integers("scan_output_axes") or [0] * len(gathered)
    back = node.integers("scan_output_directions") or [0] * len(gathered)
    return [
        _stack(node, found[::-1] if b else found, axis) for found, axis, b in zip(gathered, axes, back, strict=True)
    ]
