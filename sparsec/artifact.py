"""Reads the manifest of an artifact from its file, without running anything of it.

It is an ELF note (`.so`) or a custom section (`.wasm`) of the name "sparsec"; see targets/glue.py.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsec.errors import InvalidModel, UsageError
from sparsec.target import Port

ABI = 1
"""Version of the C ABI and of what the manifest says. Artifacts of another version are refused."""

_OWNER = b"sparsec"
_RELOCATABLE, _NOTE = 1, 4


@dataclass(frozen=True)
class Artifact:
    """A compiled model on disk: what its manifest says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """What its C functions begin with."""
        return self.manifest["name"]

    @property
    def machine(self) -> str:
        """The first part of LLVM's triple: x86_64, aarch64, wasm32."""
        return self.manifest["machine"]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Inputs in the order of a call."""
        return _ports(self.manifest["inputs"])

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Outputs in the order of a call."""
        return _ports(self.manifest["outputs"])


def flat(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers of a manifest, members in place of their chains."""
    return [entry for layer in layers for entry in layer.get("members", [layer])]


def read_artifact(path: Path) -> Artifact:
    """What `path` holds. UsageError where there is no such file, InvalidModel where it is no whole artifact."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        manifest = json.loads(_manifest_bytes(path))
        artifact = Artifact(path, manifest)
        _ = artifact.name, artifact.machine, artifact.inputs, artifact.outputs, manifest["workspace_bytes"]
    except (struct.error, IndexError, ValueError, KeyError, TypeError):
        raise InvalidModel(f"{path}: the file is truncated or damaged; compile the model again") from None
    if manifest.get("abi") != ABI:
        raise InvalidModel(f"{path}: compiled by sparsec {manifest.get('sparsec')} for another ABI; compile it again")
    return artifact


def _ports(entries: list[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(entry["name"], entry["dtype"], tuple(entry["shape"])) for entry in entries)


def _manifest_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.stat().st_size < 64:
            raise _foreign(path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _elf_note(data, path) if data[:4] == b"\x7fELF" else _wasm_section(data, path)
    if found is None:
        raise _foreign(path)
    return found


def _foreign(path: Path) -> InvalidModel:
    return InvalidModel(f"{path}: not an artifact of sparsec (neither a .so nor a .wasm that sparsec compiled)")


def _elf_note(data: mmap.mmap, path: Path) -> bytes | None:
    """The contents of the first note of sparsec in a 64-bit little-endian ELF file."""
    if data[4:6] != b"\x02\x01":
        return None
    (kind,) = struct.unpack_from("<H", data, 16)
    if kind == _RELOCATABLE:
        raise UsageError(f"{path}: an object file runs only after linking; compile with --emit so to load it")
    table, sections = struct.unpack_from("<QQ", data, 32)
    entry_bytes, count, section_bytes, section_count = struct.unpack_from("<HHHH", data, 54)
    if sections + section_bytes * section_count > len(data):
        raise ValueError("the table of sections ends beyond the file")
    found = None
    for index in range(count):
        segment, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, table + index * entry_bytes)
        if offset + size > len(data):
            raise ValueError("a segment ends beyond the file")
        if segment == _NOTE and found is None:
            found = _note(data[offset : offset + size])
    return found


def _note(notes: bytes) -> bytes | None:
    position = 0
    while position + 12 <= len(notes):
        owner_bytes, size, _ = struct.unpack_from("<III", notes, position)
        owner = position + 12
        content = owner + -(-owner_bytes // 4) * 4
        if notes[owner : owner + owner_bytes] == _OWNER + b"\0":
            return notes[content : content + size].rstrip(b"\0")
        position = content + -(-size // 4) * 4
    return None


def _wasm_section(data: mmap.mmap, path: Path) -> bytes | None:
    """The contents of the custom section of sparsec in a wasm module."""
    if data[:8] != b"\0asm\1\0\0\0":
        return None
    position, found = 8, None
    while position < len(data):
        kind = data[position]
        size, start = _leb128(data, position + 1)
        position = start + size
        if position > len(data):
            raise ValueError("a section ends beyond the file")
        if kind == 0:
            name_bytes, name = _leb128(data, start)
            if data[name : name + name_bytes] == _OWNER:
                found = data[name + name_bytes : position]
    return found


def _leb128(data: mmap.mmap, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
