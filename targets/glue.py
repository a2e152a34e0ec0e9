"""The generated files of an artifact: step tables in C, header, manifest, and the assembly that holds the weights.

What can be written once is C in runtime/; here is only what depends on the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sparsec import chains
from sparsec.artifact import ABI
from sparsec.errors import UsageError
from sparsec.ir.dims import Dim, evaluate, fixed
from sparsec.ir.ranges import highest
from sparsec.target import Buffer, Plan, Port, Step
from sparsec.targets import glue_sizes
from sparsec.targets.c_text import comment, quoted, round_up, table
from sparsec.targets.cpu import needs
from sparsec.targets.isa import Isa
from sparsec.targets.tools import RUNTIME

_QUERIES = ("count", "name", "dtype", "rank", "shape", "bytes")

FUNCTIONS = (
    *("run", "run_with", "run_isa", "workspace_size", "isa_count", "isa_name", "isa_usable"),
    *("step_count", "run_step"),
    *("manifest", "version", "error"),
    *(f"{kind}_{query}" for kind in ("input", "output") for query in _QUERIES),
)
"""The functions of the C ABI, without the model's name."""

TVM_FFI = ("__tvm_ffi_run", "__tvm_ffi_workspace_size", "__tvm_ffi_manifest")
"""What shared libraries export besides, for `tvm_ffi.load_module`; see runtime/tvm_ffi.c."""


def check_name(plan: Plan) -> None:
    """UsageError unless the plan's name can begin the C functions of its artifact."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", plan.name) or len(plan.name) > 100:
        raise UsageError(f"model name {plan.name!r} cannot begin a C function: use letters, digits and _ (at most 100)")


def functions(plan: Plan) -> tuple[str, ...]:
    """The functions of the artifact's C ABI, without the model's name."""
    return (*FUNCTIONS, *glue_sizes.FUNCTIONS) if plan.ranges else FUNCTIONS


def calls(plan: Plan) -> Dim:
    """How many calls of kernels a run makes, chains counted as one."""
    total: Dim = 0
    for step in plan.steps:
        total = total + (step.chunks if step.loop else 1) * len(step.layers)
    return total


def arena_bytes(plan: Plan) -> int:
    """Bytes of the arena as the runtime lays it out, before the threads' scratch."""
    return round_up(plan.arena_bytes)


def workspace_bytes(plan: Plan) -> int:
    """What `m_workspace_size()` returns, the most of any run: arena, scratch of each thread, slack to align them."""
    fixed = arena_bytes(plan) + round_up(plan.scratch_bytes) * plan.threads
    return 63 + max((glue_sizes.corner_bytes(plan, corner) for corner in plan.corners), default=fixed)


def manifest(plan: Plan, isas: Sequence[Isa]) -> dict[str, Any]:
    """The plan's own manifest with what a host needs in order to call the artifact."""
    return {
        **plan.manifest,
        "abi": ABI,
        "sparsec": version("sparsec"),
        "name": plan.name,
        "machine": isas[0].triple.split("-")[0],
        "system": isas[0].system,
        "isas": [isa.name for isa in isas],
        "threads": plan.threads,
        "workspace_bytes": workspace_bytes(plan),
        **glue_sizes.entries(plan),
        "inputs": [_port_entry(port) for port in plan.inputs],
        "outputs": [_port_entry(port) for port in plan.outputs],
    }


def header(plan: Plan) -> str:
    """The artifact's C header, from runtime/model.h."""
    fields = {
        "name": plan.name,
        "version": version("sparsec"),
        "threads": str(plan.threads),
        "ports": "\n".join(_port_comments("inputs", plan.inputs) + _port_comments("outputs", plan.outputs)),
        "input_names": ", ".join(f"input{i}" for i in range(len(plan.inputs))),
        "sizes": _filled("model_sizes.h", glue_sizes.fields(plan)) if plan.ranges else "",
        "output_names": ", ".join(f"output{i}" for i in range(len(plan.outputs))),
    }
    return _filled("model.h", fields)


def _filled(template: str, fields: Mapping[str, str]) -> str:
    text = (RUNTIME / template).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda match: fields[match[1]], text)


def source(plan: Plan, isas: Sequence[Isa], shared: bool) -> str:
    """model.c: the tables of the model, and the runtime included after them.

    Only a `shared` library has the functions of TVM-FFI: their names are the same for all models.
    """
    parts = [
        _definitions(plan, isas),
        *_kernel_declarations(plan, isas),
        *(_call(name, call, plan, isa) for name, call in _calls(plan) for isa in isas),
        *(['#include "chain.c"'] if any(layer.chain for layer in plan.layers) else []),
        *(text for i, layer in enumerate(plan.layers) if layer.chain for text in _chain_tables(i, layer, isas)),
        table("step", "layers", (_step_row(f"step_{i}", layer, plan, isas) for i, layer in enumerate(plan.layers))),
        *(_loop_tables(plan, isas) if any(step.loop for step in plan.steps) else ["#define steps layers"]),
        *glue_sizes.tables(plan, calls(plan)),
        table("isa", "isas", (_isa_row(isa) for isa in isas)),
        *(text for kind, ports in _ports(plan) for text in _port_tables(kind, ports, highest(plan.ranges))),
        '#include "cpu.c"\n#include "denormals.c"\n#include "run.c"\n#include "abi.c"',
        *(['#include "tvm_ffi.c"'] if shared else []),
    ]
    return "\n".join(parts) + "\n"


def data(plan: Plan, isa: Isa, weights: Path, manifest_file: Path) -> str:
    """Assembly that puts the weights file and the manifest into read-only data.

    On x86 the weights lie in the large-model section. They and the manifest are reached by 64-bit pointers, so that
    weights may be larger than the 2 GB that instructions reach. The manifest is an ELF note (a section of its own in
    Mach-O), so that it can be read from a file for another machine.
    """
    fields = {"name": plan.name, "weights": quoted(weights), "manifest": quoted(manifest_file)}
    template = f"weights_{'macho' if isa.macos else 'elf'}.S"
    fields["section"] = '.lrodata,"al"' if isa.x86 else '.rodata.weights,"a"'
    return _filled(template, fields)


def _definitions(plan: Plan, isas: Sequence[Isa]) -> str:
    names = ", ".join(isa.name for isa in isas)
    values = {
        "THREADS": plan.threads,
        "ISAS": len(isas),
        "ISA_NAMES": quoted(names),
        "VERSION": quoted(version("sparsec")),
        "ARENA": arena_bytes(plan),
        "SCRATCH": round_up(plan.scratch_bytes),
        "WORKSPACE": f"((size_t){workspace_bytes(plan)})",
        "SIZES": len(plan.ranges),
        "RANGES": quoted(", ".join(f"{name} {low} to {high}" for name, (low, high) in plan.ranges.items())),
        "CHAIN_MEMBERS": chains.LONGEST,
        "DENORMALS_ARE_ZEROS": int(any("_bf16_" in call.symbol for _, call in _calls(plan))),
        "STEPS": len(plan.steps),
        "CALLS": fixed(calls(plan), highest(plan.ranges)),
        "LOOPS": sum(step.loop is not None for step in plan.steps),
        "INPUTS": len(plan.inputs),
        "OUTPUTS": len(plan.outputs),
    }
    lines = [f"#define SPARSEC_{key} {value}" for key, value in values.items()]
    lines += [f"#define MODEL(function) {plan.name}_##function", '#include "sparsec.h"', f'#include "{plan.name}.h"']
    lines.append(f"extern const char *const {plan.name}__weights HIDDEN;")
    lines.append(f"extern const char *const {plan.name}__manifest HIDDEN;")
    return "\n".join(lines)


def _kernel_declarations(plan: Plan, isas: Sequence[Isa]) -> list[str]:
    arity = {call.symbol: len(call.arguments) for _, call in _calls(plan)}
    return [
        f"void {symbol}{isa.suffix_of(symbol)}({'const void *, ' * count}void *, int64_t, int64_t) HIDDEN;"
        for symbol, count in arity.items()
        for isa in isas
    ]


def _calls(plan: Plan) -> Iterator[tuple[str, Step]]:
    """The calls of kernels, with the names of the functions that make them."""
    for index, layer in enumerate(plan.layers):
        for member, call in enumerate(layer.calls):
            yield (f"step_{index}_{member}" if layer.chain else f"step_{index}"), call


def _call(name: str, call: Step, plan: Plan, isa: Isa) -> str:
    arguments = "".join(f"{_address(buffer, plan)}, " for buffer in call.arguments)
    return _function(name, isa, f"{call.symbol}{isa.suffix_of(call.symbol)}({arguments}scratch, begin, end)")


def _function(name: str, isa: Isa, statement: str) -> str:
    """A function of the runtime's type `step_function`."""
    return (
        f"static void {name}{isa.suffix}(const frame *f, void *scratch, int64_t begin, int64_t end) {{\n"
        f"    {statement};\n}}"
    )


def _chain_tables(index: int, step: Step, isas: Sequence[Isa]) -> Iterator[str]:
    """The members of a chain, and the step that runs them."""
    chain, name = step.chain, f"step_{index}"
    assert chain is not None, "asked for chains only"
    reads = [read for member in chain.members for read in member.reads]
    yield table("chain_read", f"{name}_reads", (f"{{{r.member}, {r.stride}, {r.pad}, {r.reach}}}," for r in reads))
    rows, first = [], 0
    for place, (number, member) in zip(chain.places, enumerate(chain.members), strict=False):
        walk, capacity = member.walk, chain.capacities[number]
        functions = ", ".join(f"{name}_{number}{isa.suffix}" for isa in isas)
        sizes = walk.units, walk.chunks, walk.rows, walk.height, member.panel_rows, member.panels(walk.units), capacity
        rest = *sizes, member.panel_bytes, place, first, len(member.reads)
        rows.append(f"{{{{{functions}}}, {', '.join(map(str, rest))}}}, /* {comment(step.members[number].name)} */")
        first += len(member.reads)
    yield table("chain_member", f"{name}_members", rows)
    windows = step.scratch - chain.places[-1]
    sizes = len(chain.members), windows
    yield f"static const chain {name}_chain = {{{name}_members, {name}_reads, {', '.join(map(str, sizes))}}};"
    for number, isa in enumerate(isas):
        yield _function(name, isa, f"run_chain(&{name}_chain, f, scratch, {number}, begin, end)")


def _loop_tables(plan: Plan, isas: Sequence[Isa]) -> Iterator[str]:
    """The loops over layers, and the steps, among which these are."""
    first, loops, rows, functions = 0, [], [], []
    for step in plan.steps:
        name = f"step_{first}"
        if loop := step.loop:
            name, local = step.symbol, step.scratch - loop.nbytes
            functions += [
                _function(name, isa, f"run_loop(&loops[{len(loops)}], f, scratch, {number}, begin, end)")
                for number, isa in enumerate(isas)
            ]
            most = evaluate(loop.images, highest(plan.ranges))
            loops.append(f"{{&layers[{first}], {len(step.layers)}, {most}, {loop.size}, {local}}},")
        rows.append(_step_row(name, step, plan, isas))
        first += len(step.layers)
    yield glue_sizes.images(plan)
    yield '#include "loop.c"'
    yield table("loop", "loops", loops)
    yield from functions
    yield table("step", "steps", rows)


def _address(buffer: Buffer, plan: Plan) -> str:
    if buffer.space == "sizes":
        return glue_sizes.array(buffer, plan)
    if buffer.space == "arena" and plan.ranges:
        return f"f->arena + f->places[{buffer.index}] * (size_t)ALIGNMENT + {buffer.offset}"
    if buffer.space == "local":
        return f"(char *)((uintptr_t)f->local + {buffer.offset} - (uintptr_t)f->image * {buffer.image_bytes})"
    if buffer.space in ("input", "output", "window"):
        return f"f->{buffer.space}s[{buffer.index}]"
    return f"f->{buffer.space} + {buffer.offset}"


def _step_row(name: str, step: Step, plan: Plan, isas: Sequence[Isa]) -> str:
    functions = ", ".join(f"{name}{isa.suffix}" for isa in isas)
    chunks = evaluate(step.chunks, highest(plan.ranges))  # a run puts in what its sizes ask for
    return f"{{{chunks}, {step.group}, {{{functions}}}}}, /* {comment(step.name)} */"


def _isa_row(isa: Isa) -> str:
    return f"{{{quoted(isa.name)}, {{{', '.join(f'{word:#x}' for word in needs(isa))}}}}},"


def _port_tables(kind: str, ports: Sequence[Port], highest: Mapping[str, int]) -> list[str]:
    """Shapes and bytes are those with the highest sizes."""
    tables, rows = [], []
    for i, port in enumerate(ports):
        shape, most = f"{kind}_shape_{i}", port.at(highest)
        tables.append(table("int64_t", shape, (f"{size}," for size in most.shape)))
        named = f"{quoted(port.name)}, {quoted(port.dtype)}, {shape}, {len(port.shape)}"
        rows.append(f"{{{named}, {most.nbytes}, {np.dtype(port.dtype).itemsize}}},")
    return [*tables, table("port", f"{kind}_ports", rows)]


def _ports(plan: Plan) -> list[tuple[str, Sequence[Port]]]:
    return [("input", plan.inputs), ("output", plan.outputs)]


def _port_entry(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": port.dtype, "shape": [d if isinstance(d, int) else str(d) for d in port.shape]}


def _port_comments(kind: str, ports: Sequence[Port]) -> list[str]:
    lines = [f" *   {i}  {comment(p.name)}  {p}" for i, p in enumerate(ports)]
    return [f" * {kind}:", *lines]
