"""Reading a model file safely: nothing is trusted, nothing large is copied, nothing outside its folder is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from sparsec.errors import InvalidModel, UsageError
from sparsec.frontend.onnx import wire
from sparsec.frontend.onnx.tensors import TensorReader, map_file


def load(path: str | os.PathLike[str]) -> tuple[onnx.ModelProto, TensorReader]:
    """The parsed model, and the reader of its tensors (large initializers stay in the mapped file).

    Raises UsageError where there is no such file, InvalidModel where it holds no ONNX model.
    """
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"{file} is a folder; give the .onnx file in it")
    try:
        mapped = map_file(file)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    token = os.urandom(16)
    text, regions = _detach(mapped, token)
    model = _parse(text, file)
    _check_outline(model, file)
    return model, TensorReader(file.parent, mapped, token, regions)


def _detach(mapped: np.ndarray, token: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    try:
        return wire.detach(memoryview(mapped.data), token)
    except wire.NotProtobuf:
        return mapped.tobytes(), []


def _parse(data: bytes, file: Path) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise InvalidModel(f"{file} is not an ONNX model, or it is cut short") from error
    _check_text(model, file)
    return model


def _check_text(message: Message, file: Path) -> None:
    """Names that are no UTF-8 come out of the parser as bytes; raises InvalidModel for the first."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            continue
        values: Iterable[Any] = [value] if isinstance(value, str | bytes | Message) else value
        if field.type == field.TYPE_MESSAGE:
            for item in values:
                _check_text(item, file)
        elif field.type == field.TYPE_STRING and any(isinstance(item, bytes) for item in values):
            raise InvalidModel(f"{file} is damaged: {field.full_name} holds text that is not UTF-8")


def _check_outline(model: onnx.ModelProto, file: Path) -> None:
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidModel(f"{file} is not an ONNX model: it has no {'opset' if model.HasField('graph') else 'graph'}")
    if not model.graph.output:
        raise InvalidModel(f"{file} holds an empty graph: it has no outputs")
