"""Protobuf framing: takes the large arrays out of a serialised model, so that they stay in the mapped file.

Parsing a model as a whole would hold its weights twice in memory. Only the path model → graph → initializer → raw_data
is walked; anything unexpected is left as it is for the real parser to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9
_PATH = (MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NotProtobuf(ValueError):
    """The bytes are not framed as protobuf."""


@dataclass(frozen=True)
class Field:
    """One field of a message: its bytes are [start, end), the payload of a length-delimited one [payload, end)."""

    number: int
    wire: int
    start: int
    payload: int
    end: int


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of the message in data[start:end]. Raises NotProtobuf."""
    while start < end:
        tag, position = _varint(data, start, end)
        wire, payload = tag & 7, position
        if wire == _VARINT:
            _, stop = _varint(data, position, end)
        elif wire == _BYTES:
            length, payload = _varint(data, position, end)
            stop = payload + length
        elif wire in (_FIXED64, _FIXED32):
            stop = position + (8 if wire == _FIXED64 else 4)
        else:
            raise NotProtobuf(f"wire type {wire} at byte {start}")
        if stop > end:
            raise NotProtobuf(f"the field at byte {start} ends beyond its message")
        yield Field(tag >> 3, wire, start, payload, stop)
        start = stop


def detach(data: memoryview, token: bytes, threshold: int = 4096) -> tuple[bytes, list[tuple[int, int]]]:
    """The model without initializers' raw data of `threshold` bytes or more, and their (offset, length) in `data`.

    In place of the i-th array stands `token` followed by i in decimal. Raises NotProtobuf.
    """
    regions: list[tuple[int, int]] = []

    def rewrite(start: int, end: int, depth: int) -> bytes:
        pieces: list[bytes | memoryview] = []
        for field in fields(data, start, end):
            if field.number != _PATH[depth] or field.wire != _BYTES:
                pieces.append(data[field.start : field.end])
                continue
            if depth + 1 < len(_PATH):
                payload = rewrite(field.payload, field.end, depth + 1)
            elif field.end - field.payload < threshold:
                payload = bytes(data[field.payload : field.end])
            else:
                payload = token + str(len(regions)).encode()
                regions.append((field.payload, field.end - field.payload))
            pieces += [_encode(field.number << 3 | _BYTES), _encode(len(payload)), payload]
        return b"".join(pieces)

    return rewrite(0, len(data), 0), regions


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise NotProtobuf(f"no number ends at byte {position}")


def _encode(value: int) -> bytes:
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
