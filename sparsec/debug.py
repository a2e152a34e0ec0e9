"""What helps whoever looks for a fault: dumps of the IR, full checks, reports of internal errors.

Every environment variable of sparsec is read here:

    SPARSEC_DUMP=folder     write the IR after each step into the folder, as 00-import.mlir, 01-fix_dims.mlir, …
    SPARSEC_VERIFY=1        check every invariant after each step, also those that read all weights
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("sparsec", "numpy", "onnx", "xdsl", "xtc-mlir-python-bindings", "llvmlite", "ziglang")
_STAGE = "sparsec_stage"


def verify_all() -> bool:
    """Whether SPARSEC_VERIFY asks for the expensive checks."""
    return os.environ.get("SPARSEC_VERIFY", "0") not in ("", "0")


def dump(index: int, name: str, text: Callable[[], str]) -> None:
    """Write `text()` as step `index` into the folder that SPARSEC_DUMP names; nothing without it."""
    if folder := os.environ.get("SPARSEC_DUMP"):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{index:02}-{name}.mlir").write_text(text())


@contextmanager
def stage(name: str, text: Callable[[], str]) -> Iterator[None]:
    """An error that leaves this block remembers the stage and its IR, for the reproducer; the innermost stage wins."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, _STAGE):
            setattr(error, _STAGE, (name, _safely(text)))
        raise


def write_reproducer(error: BaseException, folder: Path | None = None) -> Path:
    """A text file with all that is needed to find the fault but the weights: command, versions, traceback, IR.

    It goes to `folder`, or to the system's folder for temporary files.
    """
    name, ir = getattr(error, _STAGE, ("", ""))
    sections = {
        "command": shlex.join(sys.argv),
        "versions": "\n".join(_versions()),
        "traceback": "".join(traceback.format_exception(error)).rstrip(),
        f"IR in {name} (weights are not part of it)" if ir else "": ir,
    }
    text = "\n\n".join(f"// ==== {title}\n{body}" for title, body in sections.items() if title)
    handle, path = tempfile.mkstemp(".mlir", "sparsec-bug-", folder)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
    return Path(path)


def _safely(text: Callable[[], str]) -> str:
    """`text()`; IR that a fault left half built may not print."""
    try:
        return text()
    except Exception as error:
        return f"(cannot be printed: {type(error).__name__}: {error})"


def _versions() -> Iterator[str]:
    yield f"python {platform.python_version()} on {platform.platform()}"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"
