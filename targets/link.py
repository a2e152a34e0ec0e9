"""Links kernels, glue, runtime and weights into an artifact: `.so`, `.o` or `.wasm`, and its C header beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sparsec.errors import UsageError
from sparsec.target import Plan
from sparsec.targets import glue
from sparsec.targets.isa import Isa
from sparsec.targets.tools import CFLAGS, RUNTIME, llvm, zig, zig_target


def link(
    plan: Plan, objects: Mapping[str, bytes], isas: Sequence[Isa], weights: Path, output: Path, emit: str = "so"
) -> None:
    """Write the artifact `output` and its header (same name, `.h`).

    `objects` holds the object code of the kernels for each ISA by its name, `isas` are in order of preference. `emit`
    is "so", "obj" (one relocatable object that shows only its ABI, for static linking) or "wasm". Everything is built
    in a folder beside the output and renamed at the end: no partial output. The weights pass through the assembler and
    the linker only, never through Python. UsageError for a name that C cannot take or an `emit` that the ISA lacks.
    """
    glue.check_name(plan)
    _check_emit(emit, isas)
    if isas[0].wasm:
        plan = replace(plan, threads=1)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sparsec-") as folder:
        build = Path(folder)
        code = [_write(build / f"kernels{isa.suffix}.o", objects[isa.name]) for isa in isas]
        code += _compile_glue(plan, isas, build)
        data = _assemble_data(plan, isas, weights, build)
        artifact = build / output.name
        _LINKERS[emit](plan, code, data, artifact)
        os.replace(build / f"{plan.name}.h", output.with_suffix(".h"))
        os.replace(artifact, output)


def _check_emit(emit: str, isas: Sequence[Isa]) -> None:
    allowed = ("wasm",) if isas[0].wasm else ("so", "obj")
    if emit not in allowed:
        raise UsageError(f"--emit {emit} cannot be linked for {isas[0].name}: use {' or '.join(allowed)}")
    if isas[0].wasm and len(isas) > 1:
        raise UsageError("a wasm module holds one ISA: compile once for each")


def _write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _compile_glue(plan: Plan, isas: Sequence[Isa], build: Path) -> list[Path]:
    _write(build / f"{plan.name}.h", glue.header(plan))
    sources = [_write(build / "model.c", glue.source(plan, isas))]
    flags = ["-target", zig_target(isas[0]), *CFLAGS, f"-I{build}"]
    if isas[0].wasm:
        sources.append(RUNTIME / "wasm.c")
        flags += ["-mbulk-memory", "-fno-builtin"]
    if isas[0].triple.startswith("aarch64"):
        flags.append("-mno-outline-atomics")
    objects = [build / f"{path.stem}.o" for path in sources]
    for path, made in zip(sources, objects, strict=True):
        zig("cc", "-c", *flags, path, "-o", made)
    return objects


def _assemble_data(plan: Plan, isas: Sequence[Isa], weights: Path, build: Path) -> Path:
    """By `zig clang`: `zig cc` keeps objects in a cache that does not see that a file named in .incbin has changed."""
    manifest = _write(build / "manifest.json", json.dumps(glue.manifest(plan, isas)))
    assembly = _write(build / "data.S", glue.data(plan, isas[0], weights.absolute(), manifest.absolute()))
    target = "wasm32" if isas[0].wasm else isas[0].triple
    zig("clang", "-c", "-target", target, assembly, "-o", build / "data.o")
    return build / "data.o"


def _abi(plan: Plan) -> list[str]:
    return [f"{plan.name}_{function}" for function in glue.FUNCTIONS]


def _link_so(plan: Plan, code: list[Path], data: Path, artifact: Path) -> None:
    """No libc is linked: the few functions of libc in use are found in the host program at load, in any version.

    No soname: the file may be renamed, and a program linked with `./model.so` loads it from there.
    """
    symbols = "".join(f"    {name};\n" for name in _abi(plan))
    script = _write(artifact.with_suffix(".map"), f"{{ global:\n{symbols}local: *; }};\n")
    options = ["-shared", "--gc-sections", "-znoexecstack", "-znow", "--hash-style=gnu"]
    zig("ld.lld", *options, f"--version-script={script}", *code, data, "-o", artifact)


def _link_obj(plan: Plan, code: list[Path], data: Path, artifact: Path) -> None:
    """Code first and weights after: objcopy, which hides all but the ABI, need not copy the weights.

    Two symbols join the two; they carry the model's name and are hidden from other libraries.
    """
    shown = _write(artifact.with_suffix(".symbols"), "\n".join(_abi(plan)))
    joined = artifact.with_suffix(".code.o")
    zig("ld.lld", "-r", *code, "-o", joined)
    llvm("llvm-objcopy", f"--keep-global-symbols={shown}", joined)
    zig("ld.lld", "-r", joined, data, "-o", artifact)


def _link_wasm(plan: Plan, code: list[Path], data: Path, artifact: Path) -> None:
    exports = [f"--export={name}" for name in (*_abi(plan), "__heap_base")]
    options = ["--no-entry", "--gc-sections", "--stack-first", "-zstack-size=262144"]
    zig("wasm-ld", *options, *exports, *code, data, "-o", artifact)


def build_driver(machine: str, folder: Path) -> Path:
    """Build runtime/driver.c for `machine` ("aarch64"), statically with musl: a program that loads and runs a `.so`.

    The first build for a machine compiles musl (about 40 s); zig keeps it, and later ones take 60 ms.
    """
    driver = folder / "driver"
    sources = (RUNTIME / "driver.c", RUNTIME / "loader.c")
    zig("cc", "-target", f"{machine}-linux-musl", "-static", "-O2", "-Wall", *sources, "-o", driver)
    return driver


_LINKERS: dict[str, Callable[[Plan, list[Path], Path, Path], None]] = {
    "so": _link_so,
    "obj": _link_obj,
    "wasm": _link_wasm,
}
