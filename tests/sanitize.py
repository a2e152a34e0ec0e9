"""Compiles models with their kernels, glue and runtime under a sanitizer of the C compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from sparsec.compiler import Options, compile_file
from sparsec.targets import codegen, tools
from sparsec.targets.isa import Isa


def compile_object(model: Path, output: Path, sanitizer: str, threads: int, defines: Sequence[str] = ()) -> Path:
    """`model` as an object for AVX2, in which `sanitizer` ("address", "thread") sees every access."""

    def emit_object(kernels, isa: Isa) -> bytes:
        """LLVM's pass instruments the functions that carry its attribute, masked and gathered accesses included."""
        text = re.sub(
            r"^(attributes #\d+ = \{)", rf"\1 sanitize_{sanitizer}", emit_llvm(kernels, isa), flags=re.MULTILINE
        )
        source = output.with_name(f"{output.stem}{isa.suffix}.ll")
        source.write_text(text)
        made = source.with_suffix(".o")
        flags = [f"-fsanitize={sanitizer}", f"-march={isa.cpu}", "-target", isa.triple, "-O1", "-fPIC"]
        if sanitizer == "address":  # the table of globals does not survive that symbols are made local; there are none
            flags += ["-mllvm", "-asan-globals=0"]
        tools.zig("clang", "-c", *flags, source, "-o", made)
        return made.read_bytes()

    def zig(*arguments: str | Path) -> str:
        """`zig cc` cannot instrument, so that the system's compiler compiles the C files."""
        if arguments[:2] != ("cc", "-c"):
            return tools.zig(*arguments)
        words = [str(word) for word in arguments[2:] if word != "-fno-sanitize=all"]
        del words[words.index("-target") : words.index("-target") + 2]
        return tools.run("cc", "-c", *words, f"-fsanitize={sanitizer}", "-g", *(f"-D{name}" for name in defines))

    emit_llvm = codegen.emit_llvm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codegen, "emit_object", emit_object)
        patch.setattr("sparsec.targets.link.zig", zig)
        compile_file(model, output, Options(target="x86:haswell", threads=threads, emit="obj"))
    return output


def run(
    sources: Sequence[Path], objects: Sequence[Path], sanitizer: str, program: Path, more: Sequence[str] = ()
) -> subprocess.CompletedProcess:
    """Compiles and runs a program under the sanitizer; what it finds ends the program with a code."""
    compiler = "c++" if sources[0].suffix == ".cpp" else "cc"
    flags = [
        f"-fsanitize={sanitizer}",
        "-g",
        "-O1",
        "-Wall",
        "-Werror",
        *(f"-I{path.parent}" for path in objects),
        *more,
    ]
    if sanitizer == "thread":
        lacking = program.with_name("tsan.o")
        subprocess.run(["cc", "-c", Path(__file__).parent / "examples" / "tsan.c", "-o", lacking], check=True)
        objects = [*objects, lacking]
    subprocess.run([compiler, *flags, *sources, *objects, "-lpthread", "-o", program], check=True)
    return subprocess.run([*_fixed_addresses(), program], capture_output=True, text=True, check=False, timeout=300)


@cache
def _fixed_addresses() -> list[str]:
    """Kernels that randomise more of an address than an old runtime of a sanitizer knows of abort it; empty in
    containers that forbid to switch that off.
    """
    command = ["setarch", "-R"]
    allowed = (
        shutil.which("setarch") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if allowed else []
