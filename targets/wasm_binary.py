"""Reads and extends WebAssembly modules, without reading the data that they hold."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from sparsec.artifact import leb128

_CUSTOM, _GLOBALS, _EXPORTS = 0, 6, 7
_EXPORTED_GLOBAL = 3
_I32_CONST = 0x41


def addresses(module: Path) -> Mapping[str, int]:
    """The exported globals of a module with their initial values: addresses of data, stacks and the heap."""
    with module.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sections = dict(_sections(data))
        values = _globals(sections.get(_GLOBALS, b""))
        exported = _exports(sections.get(_EXPORTS, b""))
    return {name: values[index] for name, kind, index in exported if kind == _EXPORTED_GLOBAL}


def append_section(module: Path, name: str, content: bytes) -> None:
    """Add a custom section at the end of a module."""
    named = name.encode()
    body = _encoded(len(named)) + named + content
    with module.open("ab") as file:
        file.write(bytes([_CUSTOM]) + _encoded(len(body)) + body)


def _sections(data: mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of the sections of globals and exports; imports of globals there are none."""
    position = 8
    while position < len(data):
        kind = data[position]
        size, start = _unsigned(data, position + 1)
        position = start + size
        if kind in (_GLOBALS, _EXPORTS):
            yield kind, data[start:position]


def _globals(section: bytes) -> list[int]:
    """Initial values of the globals, all of which are i32 constants."""
    values, (count, position) = [], _unsigned(section, 0) if section else (0, 0)
    for _ in range(count):
        assert section[position + 2] == _I32_CONST, "wasm-ld makes no other globals for us"
        value, position = _unsigned(section, position + 3)
        values.append(value)
        position += 1  # the end of the expression
    return values


def _exports(section: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, kind and index of each export."""
    count, position = _unsigned(section, 0) if section else (0, 0)
    for _ in range(count):
        size, start = _unsigned(section, position)
        name, kind = section[start : start + size].decode(), section[start + size]
        index, position = _unsigned(section, start + size + 1)
        yield name, kind, index


def _unsigned(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    """A LEB128 number of up to 32 bits and the position after it. Addresses are signed in a
    module, and read right nevertheless: a positive one has a zero for its sign, one beyond 2^31 has five bytes.
    """
    value, position = leb128(data, position)
    return value & 0xFFFFFFFF, position


def _encoded(value: int) -> bytes:
    """`value` as unsigned LEB128."""
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])
