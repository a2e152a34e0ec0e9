"""Arrays from files that a user names, and into them."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sparsec.errors import UsageError
from sparsec.target import Port
from sparsec.verify import random_inputs


def load(path: Path, suffixes: Sequence[str] = (".npz", ".npy")) -> dict[str, np.ndarray]:
    """The arrays in `path` by name; that in an .npy file has the name "". Raises UsageError."""
    if path.suffix not in suffixes or not path.is_file():
        raise UsageError(f"{path}: not a file of inputs ({' or '.join(suffixes)})")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def inputs(ports: Sequence[Port], source: str, seed: int) -> dict[str, np.ndarray]:
    """Inputs by name: random, from an .npz file, or for a program of one input from an .npy file. Raises UsageError."""
    if source == "random":
        return random_inputs(ports, seed)
    arrays = load(Path(source))
    if "" not in arrays:
        return arrays
    if len(ports) != 1:
        names = ", ".join(port.name for port in ports)
        raise UsageError(f"{source} holds one array, and the inputs are {names}: give an .npz with these names")
    return {ports[0].name: arrays[""]}


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sparsec-") as folder:
        partial = Path(folder) / "arrays.npz"
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        os.replace(partial, path)
