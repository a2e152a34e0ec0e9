"""Reads the manifest of an artifact from its file, without running anything of it.

It is an ELF note (`.so`), a section (`.dylib`) or a custom section (`.wasm`) named after sparsec; see targets/glue.py.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsec.errors import InvalidModel, UsageError
from sparsec.target import Port

if TYPE_CHECKING:
    from sparsec.ir.dims import Dim

ABI = 3
"""Version of the C ABI and of what the manifest says. Artifacts of another version are refused."""

_OWNER = b"sparsec"
_RELOCATABLE, _NOTE = 1, 4  # in ELF; an object of Mach-O is a 1 as well
_SEGMENT_64 = 0x19


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
    def system(self) -> str:
        """What `platform.system` says where the library loads; empty for wasm."""
        return self.manifest["system"]

    def section(self, name: str) -> bytes:
        """A custom section of a wasm module; KeyError where there is none."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _custom_sections(data)[name]

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The lowest and highest size of each symbol that a run tells, in the order of the C ABI."""
        return {entry["name"]: (entry["low"], entry["high"]) for entry in self.manifest.get("sizes", [])}

    def workspace_bytes(self, sizes: Mapping[str, int]) -> int:
        """What a run of these sizes needs beside inputs, outputs and weights."""
        for *most, nbytes in self.manifest.get("workspaces", []):
            if all(sizes[name] <= size for name, size in zip(self.ranges, most, strict=True)):
                return nbytes
        return self.manifest["workspace_bytes"]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Inputs in the order of a call."""
        return _ports(self.manifest["inputs"])

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Outputs in the order of a call."""
        return _ports(self.manifest["outputs"])


def size_entries(ranges: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """What a manifest says of symbols, in the order of the C ABI."""
    return [{"name": name, "low": low, "high": high} for name, (low, high) in sorted(ranges.items())]


def flat(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers of a manifest, members in place of their chains."""
    return [entry for layer in layers for entry in layer.get("members", [layer])]


def in_order_of_calls(layers: Sequence[dict[str, Any]], sizes: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The layers as a run of these sizes calls them: those of a loop in turn, as often as it has rounds."""
    for _, group in groupby(layers, lambda layer: layer.get("loop", layer["step"])):
        members = list(group)
        for _ in range(_evaluated(members[0].get("rounds", 1), sizes)):
            yield from members


def _evaluated(size: int | str, sizes: Mapping[str, int]) -> int:
    return Port("", "", (_dim(size),)).at(sizes).static_shape[0]


def read_artifact(path: Path) -> Artifact:
    """What `path` holds. UsageError where there is no such file, InvalidModel where it is no whole artifact."""
    if not path.is_file():
        raise UsageError(f"{path}: {'a folder, no artifact' if path.is_dir() else 'no such file'}")
    try:
        manifest = json.loads(_manifest_bytes(path))
        if manifest.get("abi") != ABI:
            by = f"sparsec {manifest.get('sparsec')}"
            raise InvalidModel(f"{path}: compiled by {by} for another ABI; compile it again")
        artifact = Artifact(path, manifest)
        _ = artifact.name, artifact.machine, artifact.system
        _ = artifact.inputs, artifact.outputs, artifact.ranges, manifest["workspace_bytes"]
    except (struct.error, zlib.error, IndexError, ValueError, KeyError, TypeError, AttributeError):
        raise InvalidModel(f"{path}: the file is truncated or damaged; compile the model again") from None
    return artifact


def _ports(entries: list[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(entry["name"], entry["dtype"], tuple(map(_dim, entry["shape"]))) for entry in entries)


def _dim(size: int | str) -> Dim:
    if isinstance(size, int):
        return size
    from sparsec.ir.dims import parse_dim  # it brings xDSL, which takes half a second

    return parse_dim(size)


def _manifest_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.stat().st_size < 64:
            raise _foreign(path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _READERS.get(data[:4])
            found = reader(data, path) if reader else None
    if found is None:
        raise _foreign(path)
    return found


def _foreign(path: Path) -> InvalidModel:
    return InvalidModel(f"{path}: not an artifact of sparsec (no .so, .dylib or .wasm that sparsec compiled)")


def _unlinked(path: Path) -> UsageError:
    return UsageError(f"{path}: an object file runs only after linking; compile without --emit to load it")


def _archive(data: mmap.mmap, path: Path) -> None:
    raise _unlinked(path)


def _elf_note(data: mmap.mmap, path: Path) -> bytes | None:
    """The contents of the first note of sparsec in a 64-bit little-endian ELF file."""
    if data[4:6] != b"\x02\x01":
        return None
    (kind,) = struct.unpack_from("<H", data, 16)
    if kind == _RELOCATABLE:
        raise _unlinked(path)
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


def _mach_section(data: mmap.mmap, path: Path) -> bytes | None:
    """The contents of the section __sparsec of a 64-bit Mach-O file."""
    kind, commands = struct.unpack_from("<II", data, 12)
    if kind == _RELOCATABLE:
        raise _unlinked(path)
    position, found = 32, None
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, position)
        if command == _SEGMENT_64:
            start, length, *_, count, _flags = struct.unpack_from("<QQiiII", data, position + 40)
            if start + length > len(data):
                raise ValueError("a segment ends beyond the file")
            for section in range(position + 72, position + 72 + 80 * count, 80):
                if data[section : section + 16].rstrip(b"\0") == b"__sparsec":
                    _, nbytes, offset = struct.unpack_from("<QQI", data, section + 32)
                    found = data[offset : offset + nbytes].rstrip(b"\0")
        position += size
    return found


def _wasm_section(data: mmap.mmap, path: Path) -> bytes | None:
    """The manifest of a wasm module, which is deflated."""
    if data[:8] != b"\0asm\1\0\0\0":
        return None
    found = _custom_sections(data).get(_OWNER.decode())
    return found and zlib.decompress(found)


def _custom_sections(data: mmap.mmap) -> dict[str, bytes]:
    """Custom sections of a wasm module by their names; ValueError where it is not whole."""
    position, found = 8, {}
    while position < len(data):
        kind = data[position]
        size, start = leb128(data, position + 1)
        position = start + size
        if position > len(data):
            raise ValueError("a section ends beyond the file")
        if kind == 0:
            name_bytes, name = leb128(data, start)
            found[data[name : name + name_bytes].decode()] = data[name + name_bytes : position]
    return found


def leb128(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


_READERS: dict[bytes, Callable[[mmap.mmap, Path], bytes | None]] = {
    b"\x7fELF": _elf_note,
    b"\xcf\xfa\xed\xfe": _mach_section,
    b"\0asm": _wasm_section,
    b"!<ar": _archive,
}
