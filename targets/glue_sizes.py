"""What the generated files of an artifact say of sizes that only a run tells: ranges, corners, counts, shapes.

The C that is the same for all such artifacts is runtime/sizes.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sparsec.artifact import size_entries
from sparsec.ir.dims import Atom, Dim, Monomial, Sym
from sparsec.target import Buffer, Corner, Plan, Port
from sparsec.targets.c_text import quoted, round_up, table

FUNCTIONS = (
    *("run_sized", "run_isa_sized", "run_step_sized", "step_count_for", "workspace_size_for"),
    *("size_count", "size_name", "size_low", "size_high"),
    *(f"{kind}_{query}_for" for kind in ("input", "output") for query in ("shape", "bytes")),
)
"""The functions of the C ABI that only these artifacts have, without the model's name."""

_PLACE = 64  # ALIGNMENT of runtime/sparsec.h, the unit of places


def corner_bytes(plan: Plan, corner: Corner) -> int:
    """Arena and scratch of runs whose sizes are at most those of a corner."""
    return round_up(corner.arena_bytes) + round_up(corner.scratch_bytes) * plan.threads


def corners(plan: Plan) -> list[Corner]:
    """Those that take the least memory first, the highest sizes last."""
    highest = tuple(high for _, high in plan.ranges.values())
    return sorted(plan.corners, key=lambda corner: (corner.sizes == highest, corner_bytes(plan, corner)))


def entries(plan: Plan) -> dict[str, Any]:
    """What the manifest says: the symbols, and the bytes of a workspace for runs of sizes up to each corner."""
    if not plan.ranges:
        return {}
    return {
        "sizes": size_entries(plan.ranges),
        "workspaces": [[*corner.sizes, 63 + corner_bytes(plan, corner)] for corner in corners(plan)],
    }


def tables(plan: Plan, calls: Dim) -> Iterator[str]:
    """The tables that runtime/sizes.c reads, and the functions that it calls; a run makes `calls` of kernels."""
    if not plan.ranges:
        return
    yield table("size_range", "size_ranges", (f"{{{quoted(n)}, {a}, {b}}}," for n, (a, b) in plan.ranges.items()))
    ordered = corners(plan)
    rows = (f"{{{{{_list(c.sizes)}}}, {round_up(c.arena_bytes)}, {round_up(c.scratch_bytes)}}}," for c in ordered)
    yield table("corner", "corners", rows)
    count = max(1, len(ordered[0].places))
    rows = (f"{{{_list(place // _PLACE for place in corner.places) or 0}}}," for corner in ordered)
    yield f"enum {{ SPARSEC_CORNERS = {len(ordered)} }};"
    yield f"static const uint32_t places[][{count}] = {{\n    " + "\n    ".join(rows) + "\n};"
    yield _chunks(plan)
    counted = expression(calls, list(plan.ranges))
    yield f"static int64_t count_calls(const int64_t *s) {{\n    (void)s;\n    return {counted};\n}}"
    for kind, ports in (("input", plan.inputs), ("output", plan.outputs)):
        yield _dims(kind, ports, plan)
    yield table("size_source", "size_sources", _sources(plan))


def array(buffer: Buffer, plan: Plan) -> str:
    """The sizes that a kernel reads, as C: those of the run, or some of them in an array of their own."""
    names = list(plan.ranges)
    if list(buffer.names) == names:
        return "f->sizes"
    return f"(const int64_t[]){{{_list(f'f->sizes[{names.index(name)}]' for name in buffer.names)}}}"


def fields(plan: Plan) -> dict[str, str]:
    """What runtime/model_sizes.h is filled with."""
    ranges = (f" *   {i}  {name}: {low} to {high}" for i, (name, (low, high)) in enumerate(plan.ranges.items()))
    highs = _list(high for _, high in plan.ranges.values())
    return {"name": plan.name, "ranges": "\n".join(ranges), "highs": highs}


def expression(dim: Dim, names: Sequence[str]) -> str:
    """A size in C, where `s` holds the sizes of `names`."""
    if isinstance(dim, int):
        return f"{dim}"
    return " + ".join(_term(monomial, factor, names) for monomial, factor in dim.terms)


def _term(monomial: Monomial, factor: int, names: Sequence[str]) -> str:
    factors = [_atom(atom, names) for atom in monomial]
    return " * ".join([f"{factor}", *factors] if factor != 1 or not factors else factors)


def _atom(atom: Atom, names: Sequence[str]) -> str:
    if isinstance(atom, str):
        return f"s[{names.index(atom)}]"
    return f"floor_div({expression(atom.numerator, names)}, {expression(atom.denominator, names)})"


def _chunks(plan: Plan) -> str:
    """How many chunks the steps have that depend on sizes."""
    names = list(plan.ranges)
    found = [(i, step.chunks) for i, step in enumerate(plan.steps) if isinstance(step.chunks, Sym)]
    lines = [f"    steps[{index}].chunks = {expression(chunks, names)};" for index, chunks in found]
    return "\n".join(
        ["static void set_chunks(step *steps, const int64_t *s) {", *lines, "    (void)steps, (void)s;\n}"]
    )


def images(plan: Plan) -> str:
    """How many images a run takes through loops, where that depends on sizes: the same number through all."""
    if not plan.ranges:
        return ""
    most = next(step.loop.images for step in plan.steps if step.loop)
    return f"static int64_t images_of_run(const int64_t *s) {{ return {expression(most, list(plan.ranges))}; }}"


def _dims(kind: str, ports: Sequence[Port], plan: Plan) -> str:
    """The shapes of inputs or outputs."""
    names, lines = list(plan.ranges), []
    for index, port in enumerate(ports):
        sizes = (f"dims[{axis}] = {expression(dim, names)};" for axis, dim in enumerate(port.shape))
        lines.append(f"    case {index}: {' '.join(sizes)} break;")
    head = f"static void {kind}_dims(int32_t index, const int64_t *s, int64_t *dims) {{\n    (void)s, (void)dims;"
    return "\n".join([head, "    switch (index) {", *lines, "    default: break;", "    }\n}"])


def _sources(plan: Plan) -> Iterator[str]:
    """For each symbol the first input and axis that is of its size."""
    for name in plan.ranges:
        found = (
            (i, axis) for i, port in enumerate(plan.inputs) for axis, dim in enumerate(port.shape) if str(dim) == name
        )
        index, axis = next(found, (-1, -1))
        yield f"{{{index}, {axis}}},"


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


__all__ = ["FUNCTIONS", "array", "corner_bytes", "corners", "entries", "expression", "fields", "images", "tables"]
