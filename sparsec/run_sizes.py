"""The sizes of a run: what the shapes of its inputs say of the symbols of an artifact, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsec.errors import UsageError
from sparsec.target import Port

Ranges = Mapping[str, tuple[int, int]]


def sizes_of(ports: Sequence[Port], arrays: Sequence[np.ndarray], ranges: Ranges) -> dict[str, int]:
    """The size of each symbol. UsageError where inputs disagree, or where one is out of its range."""
    found: dict[str, tuple[int, Port]] = {}
    for port, array in zip(ports, arrays, strict=True):
        if array.ndim != len(port.shape):
            raise UsageError(f"input {port.name!r}: expected {port}, got {array.dtype}{list(array.shape)}")
        for dim, size in zip(port.shape, array.shape, strict=True):
            name = str(dim)
            if name not in ranges:
                continue
            before, other = found.setdefault(name, (size, port))
            if before != size:
                raise UsageError(
                    f"input {port.name!r} has {name} = {size}, and input {other.name!r} has {name} = {before}: "
                    f"expected {other.name!r} {other} and {port.name!r} {port}"
                )
    sizes = {name: found[name][0] for name in ranges}
    check(sizes, ranges, {name: port for name, (_, port) in found.items()})
    return sizes


def check(sizes: Mapping[str, int], ranges: Ranges, ports: Mapping[str, Port] | None = None) -> None:
    """UsageError where a symbol has no size, or one out of its range; `ports` are the inputs that it was read from."""
    if sizes.keys() != ranges.keys():
        given, wanted = (", ".join(names) or "nothing" for names in (sizes, ranges))
        raise UsageError(f"sizes are given of {given}, and wanted of {wanted}")
    for name, (low, high) in ranges.items():
        if not low <= sizes[name] <= high:
            where = f"input {ports[name].name!r}: " if ports else ""
            raise UsageError(f"{where}{name} = {sizes[name]}, and the model was compiled for {name} = {low} to {high}")


def described(ranges: Ranges) -> str:
    """The ranges as people read them."""
    return ", ".join(f"{name} {low}..{high}" for name, (low, high) in ranges.items())
