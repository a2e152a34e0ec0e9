"""Links kernels, glue, runtime and weights into WebAssembly: `m.wasm`, `m.js` and `m.d.ts`, and weights beside them.

`m.wasm` is whole by itself: any host can call its C ABI on its memory. Code for better ISAs, which engines without them
would refuse, lies inside of it as modules of their own, in custom sections. Each has the glue again but no weights, and
works on the memory of the module around it: a host that has the ISA instantiates both.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsec.errors import TargetError
from sparsec.target import Plan, Port
from sparsec.targets import glue, web
from sparsec.targets.isa import Isa
from sparsec.targets.tools import CFLAGS, RUNTIME, zig, zig_target
from sparsec.targets.wasm_binary import addresses, append_section

PAGE = 65536
STACK = 262144
MAGIC = b"sparsec\0"  # a file of weights begins with it, the first 16 bytes of the digest of all weights, and zeros

# The manifest lies in a custom section instead, deflated: as data it would be in the module twice.
_FUNCTIONS = tuple(name for name in glue.FUNCTIONS if name != "manifest")


@dataclass(frozen=True)
class Delivery:
    """How weights reach the host: in the module, or in files beside it of at most `limit` bytes (0: one file)."""

    separate: bool = False
    limit: int = 0


@dataclass(frozen=True)
class _Build:
    """What all modules of one artifact are made of, and the folder in which."""

    plan: Plan
    weights: Path
    separate: bool
    folder: Path


def link(
    plan: Plan, objects: Mapping[str, bytes], isas: Sequence[Isa], weights: Path, output: Path, delivery: Delivery
) -> None:
    """Write the module `output` and all that belongs to it beside it.

    `objects` holds the object code of the kernels for each ISA by its name; the last of `isas`, best first, is that of
    `output` itself. Everything is built in a folder beside the output and renamed at the end, the module last.
    UsageError for a name that C cannot take, TargetError for a model that needs more memory than WebAssembly has.
    """
    glue.check_name(plan)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sparsec-") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        module = made / output.name
        build = _Build(plan, weights, delivery.separate, Path(folder))
        layout = _link_modules(build, objects, isas, module)
        files = _split(weights, delivery, made, output.stem) if delivery.separate else []
        manifest = {**glue.manifest(plan, isas), "layout": layout, "weights_files": files}
        manifest["parts"] = web.parts(plan, delivery.separate)
        append_section(module, "sparsec", zlib.compress(json.dumps(manifest).encode(), 9))
        append_section(module, "sparsec.host", json.dumps(_brief(manifest), separators=(",", ":")).encode())
        web.write(plan, module, manifest["parts"])
        for file in sorted(made.iterdir(), key=lambda file: file == module):
            os.replace(file, output.parent / file.name)


def _link_modules(build: _Build, objects: Mapping[str, bytes], isas: Sequence[Isa], module: Path) -> dict[str, Any]:
    """Link the module and those inside of it; returns where everything lies in their memory."""
    *better, own = isas
    _link_module(build, objects[own.name], own, module)
    found = addresses(module)
    weights, end = found["weights"], found["__heap_base"]
    for isa in better:
        inner = build.folder / f"{isa.name}.wasm"
        _link_module(build, objects[isa.name], isa, inner, (weights, end))
        end = addresses(inner)["__heap_base"]
        append_section(module, f"sparsec.{isa.name}", inner.read_bytes())
    return _layout(build.plan, weights, end)


def _link_module(build: _Build, kernels: bytes, isa: Isa, module: Path, inside: tuple[int, int] | None = None) -> None:
    """One module of one ISA. `inside` of another one: where the weights lie, and where that one's memory ends."""
    folder = build.folder / module.stem / isa.name
    folder.mkdir(parents=True)
    (folder / "kernels.o").write_bytes(kernels)
    code = [folder / "kernels.o", *_compile_glue(build.plan, isa, folder)]
    data = _assemble_data(build, folder, inside[0] if inside else None)
    shared = build.plan.threads > 1
    exported = [*(f"{build.plan.name}_{name}" for name in _FUNCTIONS), "__heap_base"]
    exported += ["__stack_pointer", f"{build.plan.name}_work"] if shared else []
    exported += [] if inside else ["weights"]
    options = ["--no-entry", "--gc-sections", f"-zstack-size={STACK}"]
    options += [f"--global-base={-(-inside[1] // 1024) * 1024}", "--no-stack-first"] if inside else ["--stack-first"]
    options += ["--import-memory"] if inside or shared else []
    options += ["--shared-memory", f"--max-memory={1 << 32}"] if shared else []
    zig("wasm-ld", *options, *(f"--export={name}" for name in exported), *code, data, "-o", module)


def _compile_glue(plan: Plan, isa: Isa, folder: Path) -> list[Path]:
    """For size, as the time goes into kernels."""
    (folder / f"{plan.name}.h").write_text(glue.header(plan))
    (folder / "model.c").write_text(glue.source(plan, [isa], shared=False))
    flags = ["-target", zig_target(isa), *CFLAGS, f"-I{folder}", "-fno-pic", "-Oz", "-mbulk-memory", "-fno-builtin"]
    flags += ["-matomics"] if plan.threads > 1 else []
    made = []
    for source in (folder / "model.c", RUNTIME / "wasm.c"):
        made.append(folder / f"{source.stem}.o")
        zig("cc", "-c", *flags, source, "-o", made[-1])
    return made


def _assemble_data(build: _Build, folder: Path, address: int | None) -> Path:
    """The weights, room for them, or for a module inside of another one only the `address` where they lie."""
    size = build.weights.stat().st_size
    section, content = ".rodata", f'.incbin "{_quoted(build.weights.absolute())}"'
    if build.separate:
        section, content = ".bss", f".skip {max(size, 1)}"
    lines = [f'.section {section}.weights,"",@', ".p2align 6", ".globl weights", ".type weights,@object"]
    lines += ["weights:", content, f".size weights, {size}"]
    fields = {
        "name": build.plan.name,
        "weights": "\n".join(lines) if address is None else "",
        "address": "weights" if address is None else str(address),
    }
    template = (RUNTIME / "wasm_data.S").read_text(encoding="utf-8")
    assembly = folder / "data.S"
    assembly.write_text(re.sub(r"@(\w+)@", lambda match: fields[match[1]], template))
    # By `zig clang`: `zig cc` keeps objects in a cache that does not see that a file named in .incbin has changed.
    threads = ["-matomics", "-mbulk-memory"] if build.plan.threads > 1 else []
    zig("clang", "-c", "-target", "wasm32", *threads, assembly, "-o", folder / "data.o")
    return folder / "data.o"


def _layout(plan: Plan, weights: int, end: int) -> dict[str, Any]:
    """A place for everything that a host owns, from `end` on: pointers, ports, workspace, stacks of workers.

    It may choose others; m.js and sparsec's own runner take these.
    """

    def place(size: int, alignment: int = 64) -> int:
        nonlocal end
        start = -(-end // alignment) * alignment
        end = start + size
        return start

    ports: tuple[Port, ...] = (*plan.inputs, *plan.outputs)
    layout = {
        "weights": weights,
        "pointers": place(4 * len(ports)),
        "ports": [place(port.nbytes) for port in ports],
        "workspace": place(glue.workspace_bytes(plan)),
        "stacks": [place(STACK) + STACK for _ in range(plan.threads - 1)],
    }
    layout["pages"] = -(-end // PAGE)
    if end >= 1 << 32:
        raise TargetError(f"the model needs {end / 1e9:.1f} GB of memory, and WebAssembly has 4.2")
    return layout


def _brief(value: Any) -> Any:
    """The manifest without the alternatives to each kernel, which only `sparsec explain` shows: a third of its size."""
    if isinstance(value, list):
        return [_brief(item) for item in value]
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items() if key != "alternatives"}
    return value


def _split(weights: Path, delivery: Delivery, folder: Path, stem: str) -> list[dict[str, Any]]:
    """Copy the weights into files `stem.bin`, or `stem.0.bin`, `stem.1.bin`, …; returns what the manifest says of each.

    Each begins with a header, by which the host sees that it belongs to the module.
    """
    size = weights.stat().st_size
    part = max(delivery.limit - web.HEADER, web.HEADER) if delivery.limit else max(size, 1)
    with weights.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").digest()[:16]
        source.seek(0)
        files = []
        for index in range(max(-(-size // part), 1)):
            name = f"{stem}.{index}.bin" if size > part else f"{stem}.bin"
            nbytes = min(part, size - index * part)
            _copy_part(source, folder / name, digest, nbytes)
            files.append({"name": name, "bytes": nbytes, "digest": digest.hex()})
    return files


def _copy_part(source, target: Path, digest: bytes, nbytes: int) -> None:
    with target.open("wb") as file:
        file.write((MAGIC + digest).ljust(web.HEADER, b"\0"))
        while nbytes > 0:
            nbytes -= file.write(source.read(min(nbytes, 1 << 24)))


def _quoted(path: Path) -> str:
    """A path in the assembler's quotes: quotes, backslashes and all outside plain ASCII in octal."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in os.fsencode(path))
