"""sparsec: a sparse compiler for neural networks. `compile` an ONNX file or `load` an artifact, and call the result."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsec.program import Program

__version__ = "0.1.0"


def compile(
    model: str | PathLike[str],
    target: str = "host",
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int | tuple[int, int] | str] | None = None,
    threads: int = 1,
    **options: Any,
) -> Program:
    """Compile an ONNX file and load the result; `save` keeps it.

    `shapes` fixes inputs by name, `dims` symbolic dimensions by name, or gives the lowest and the highest size that
    they may have in a run, as in dims={"seq": (1, 512)}; `options` are the other fields of
    `sparsec.options.Options` (formats, precision, attention, …), where `verify` may be True for random inputs. Raises
    the errors of `sparsec.errors`.
    """
    from sparsec.compiler import compile_file
    from sparsec.options import Options
    from sparsec.program import load

    files = {name: Path(options[name]) for name in _FILES if options.get(name) is not None}
    if isinstance(options.get("verify"), bool):
        options["verify"] = "random" if options["verify"] else None
    settings = Options(target, shapes or {}, dims or {}, threads, **{**options, **files})
    folder = tempfile.TemporaryDirectory(prefix="sparsec-")
    result = compile_file(Path(model), Path(folder.name) / _artifact_name(Path(model), target), settings)
    program = load(result.output)
    weakref.finalize(program, folder.cleanup)
    return program


def load(path: str | PathLike[str], threads: int = 0, isa: str | None = None) -> Program:
    """Load an artifact that `compile` or the command line made; see `sparsec.program.load`."""
    from sparsec.program import load

    return load(path, threads, isa)


_FILES = ("tuned", "activations", "attention")


def _artifact_name(model: Path, target: str) -> str:
    return model.stem + (".wasm" if target.startswith("wasm") else ".so")


__all__ = ["__version__", "compile", "load"]
