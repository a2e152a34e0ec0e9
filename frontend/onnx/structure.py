"""The order of a graph's nodes: definitions before uses, no name twice, no cycle."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush

from onnx import AttributeProto, GraphProto, NodeProto

from sparsec.errors import InvalidModel
from sparsec.frontend.onnx.limits import MAX_DEPTH


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def node_label(node: NodeProto, index: int) -> str:
    """The node's name, or a readable one made of its operator and place."""
    return node.name or f"{node.op_type}_{index}"


def ordered(nodes: Sequence[NodeProto], here: Container[str], is_defined: Callable[[str], bool]) -> list[int]:
    """Indices of `nodes` such that each comes after those that it reads, in the given order where that is possible.

    `here` are the names that the graph itself has before its first node; `is_defined` knows those of the graphs around
    it too, which it may hide. Raises InvalidModel for a name that is defined twice or
    never, and for cycles.
    """
    producer = _producers(nodes, here)
    reads = [sorted(n for n in _reads(node) if n in producer or not is_defined(n)) for node in nodes]
    _check_defined(nodes, reads, producer)
    waiting = [len({producer[name] for name in names}) for names in reads]
    readers: list[set[int]] = [set() for _ in nodes]
    for index, names in enumerate(reads):
        for name in names:
            readers[producer[name]].add(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        order.append(heappop(ready))
        for reader in readers[order[-1]]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = [node_label(node, index) for index, node in enumerate(nodes) if waiting[index]]
        raise InvalidModel(f"the graph has a cycle through {_some(stuck)}")
    return order


def _producers(nodes: Sequence[NodeProto], here: Container[str]) -> dict[str, int]:
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in producer or name in here:
                raise InvalidModel(f"the value {name!r} is defined twice; again by node {node_label(node, index)}")
            producer[name] = index
    return producer


def _check_defined(nodes: Sequence[NodeProto], reads: list[list[str]], producer: dict[str, int]) -> None:
    missing = [
        f"{name!r} (read by {node_label(nodes[index], index)})"
        for index, names in enumerate(reads)
        for name in names
        if name not in producer
    ]
    if missing:
        raise InvalidModel(f"the graph reads values that nothing defines: {_some(missing)}")


def _reads(node: NodeProto, depth: int = 0) -> set[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    if depth > MAX_DEPTH:
        raise InvalidModel(f"subgraphs are nested more than {MAX_DEPTH} deep")
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside = {value.name for value in (*graph.input, *graph.initializer)}
        inside |= {sparse.values.name for sparse in graph.sparse_initializer}
        read = {value.name for value in graph.output}
        for inner in graph.node:
            inside.update(inner.output)
            read |= _reads(inner, depth + 1)
        names |= read - inside
    return names


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
