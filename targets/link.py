"""Links kernels, glue, runtime and weights into an artifact: a library, an object or an archive.

Its C header lies beside it. link_wasm.py links WebAssembly.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsec.errors import SparsecError, UsageError
from sparsec.target import Plan
from sparsec.targets import glue
from sparsec.targets.isa import Isa
from sparsec.targets.tools import CFLAGS, RUNTIME, llvm, zig, zig_target


def emits(isa: Isa) -> tuple[str, ...]:
    """What can be linked for `isa`, the default first: a key of the linkers below."""
    return ("dylib" if isa.macos else "so", "obj", "a")


def link(
    plan: Plan, objects: Mapping[str, bytes], isas: Sequence[Isa], weights: Path, output: Path, emit: str = "so"
) -> None:
    """Write the artifact `output` and its header (same name, `.h`).

    `objects` holds the object code of the kernels for each ISA by its name, `isas` are in order of preference. `emit`
    is "so" or "dylib" (a shared library of Linux or macOS), "obj" (one relocatable object that shows only its ABI and
    needs nothing of a libc, for static linking anywhere) or "a" (the same as an archive). Everything is built in
    a folder beside the output and renamed at the end: no partial output. The weights pass through the assembler and the
    linker only, never through Python. UsageError for a name that C cannot take or an `emit` that the ISA lacks.
    """
    glue.check_name(plan)
    _check_emit(emit, isas)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sparsec-") as folder:
        build = Path(folder)
        code = [_write(build / f"kernels{isa.suffix}.o", objects[isa.name]) for isa in isas]
        code += _compile_glue(plan, isas, build, emit)
        data = _assemble_data(plan, isas, weights, build)
        artifact = build / output.name
        _LINKERS[emit](_Inputs(plan, isas, code, data), artifact)
        os.replace(build / f"{plan.name}.h", output.with_suffix(".h"))
        os.replace(artifact, output)


def _check_emit(emit: str, isas: Sequence[Isa]) -> None:
    allowed = emits(isas[0])
    if emit not in allowed:
        raise UsageError(f"--emit {emit} cannot be linked for {isas[0].name}: use {' or '.join(allowed)}")


def _write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _compile_glue(plan: Plan, isas: Sequence[Isa], build: Path, emit: str) -> list[Path]:
    _write(build / f"{plan.name}.h", glue.header(plan))
    shared = emit in ("so", "dylib")
    sources = [_write(build / "model.c", glue.source(plan, isas, shared))]
    flags = ["-target", zig_target(isas[0]), *CFLAGS, f"-I{build}"]
    if not shared and not isas[0].macos:
        sources.append(RUNTIME / "memory.c")
    if isas[0].triple.startswith("aarch64"):
        flags.append("-mno-outline-atomics")
    objects = [build / f"{path.stem}.o" for path in sources]
    for path, made in zip(sources, objects, strict=True):
        zig("cc", "-c", *flags, *(["-fno-builtin"] if path.name == "memory.c" else []), path, "-o", made)
    return objects


def _assemble_data(plan: Plan, isas: Sequence[Isa], weights: Path, build: Path) -> Path:
    """By `zig clang`: `zig cc` keeps objects in a cache that does not see that a file named in .incbin has changed."""
    manifest = _write(build / "manifest.json", json.dumps(glue.manifest(plan, isas)))
    assembly = _write(build / "data.S", glue.data(plan, isas[0], weights.absolute(), manifest.absolute()))
    zig("clang", "-c", "-target", isas[0].triple, assembly, "-o", build / "data.o")
    return build / "data.o"


@dataclass(frozen=True)
class _Inputs:
    """What a linker joins: objects of the code, and the one of the weights."""

    plan: Plan
    isas: Sequence[Isa]
    code: list[Path]
    data: Path

    @property
    def isa(self) -> Isa:
        return self.isas[0]

    @property
    def abi(self) -> list[str]:
        return [f"{self.plan.name}_{function}" for function in glue.functions(self.plan)]


def _link_so(inputs: _Inputs, artifact: Path) -> None:
    """No libc is linked: the few functions of libc in use are found in the host program at load, in any version.

    No soname: the file may be renamed, and a program linked with `./model.so` loads it from there.
    """
    symbols = "".join(f"    {name};\n" for name in (*inputs.abi, *glue.TVM_FFI))
    script = _write(artifact.with_suffix(".map"), f"{{ global:\n{symbols}local: *; }};\n")
    options = ["-shared", "--gc-sections", "-znoexecstack", "-znow", "--hash-style=gnu"]
    zig("ld.lld", *options, f"--version-script={script}", *inputs.code, inputs.data, "-o", artifact)


def _link_dylib(inputs: _Inputs, artifact: Path) -> None:
    """By zig's linker, which signs the library ad hoc, as macOS demands on ARM, and brings the stubs of libSystem.

    A program finds the library by its name in the folders of its own rpath.
    """
    options = ["-dynamiclib", "-Wl,-dead_strip", "-Wl,-undefined,dynamic_lookup"]  # the last for weak symbols
    options.append(f"-Wl,-install_name,@rpath/{artifact.name}")
    joined = _join(inputs, artifact, (*inputs.abi, *glue.TVM_FFI))
    suffixes = tuple(isa.suffix for isa in inputs.isas)
    if lost := [name for name in llvm("llvm-nm", "-u", joined).split() if name.endswith(suffixes)]:
        raise SparsecError(f"no code for {', '.join(lost)}")  # the linker would leave it to the loader
    zig("cc", "-target", zig_target(inputs.isa), *options, joined, inputs.data, "-o", artifact)


def _link_obj(inputs: _Inputs, artifact: Path) -> None:
    """Code first and weights after: objcopy, which hides all but the ABI, need not copy the weights.

    Two symbols join the two; they carry the model's name and are hidden from other libraries.
    """
    _relocatable(inputs.isa, [_join(inputs, artifact, inputs.abi), inputs.data], artifact)


def _join(inputs: _Inputs, artifact: Path, shown: Sequence[str]) -> Path:
    """All code in one object, in which only the symbols `shown` are global."""
    prefix = "_" if inputs.isa.macos else ""
    symbols = _write(artifact.with_suffix(".symbols"), "\n".join(f"{prefix}{name}" for name in shown))
    joined = artifact.with_suffix(".code.o")
    _relocatable(inputs.isa, inputs.code, joined)
    llvm("llvm-objcopy", f"--keep-global-symbols={symbols}", joined)
    return joined


def _relocatable(isa: Isa, objects: Sequence[Path], output: Path) -> None:
    linker = ("cc", "-target", zig_target(isa)) if isa.macos else ("ld.lld",)
    zig(*linker, "-r", *objects, "-o", output)


def _link_archive(inputs: _Inputs, artifact: Path) -> None:
    member = artifact.with_suffix(".o")
    _link_obj(inputs, member)
    llvm("llvm-ar", "rcsD", artifact, member)


def build_driver(machine: str, folder: Path) -> Path:
    """Build runtime/driver.c for `machine` ("aarch64"), statically with musl: a program that loads and runs a `.so`.

    The first build for a machine compiles musl (about 40 s); zig keeps it, and later ones take 60 ms.
    """
    driver = folder / "driver"
    sources = (RUNTIME / "driver.c", RUNTIME / "loader.c")
    zig("cc", "-target", f"{machine}-linux-musl", "-static", "-s", "-O2", "-Wall", *sources, "-o", driver)
    return driver


_LINKERS: dict[str, Callable[[_Inputs, Path], None]] = {
    "so": _link_so,
    "dylib": _link_dylib,
    "obj": _link_obj,
    "a": _link_archive,
}
