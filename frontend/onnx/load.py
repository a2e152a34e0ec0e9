"""Reading a model file safely: nothing is trusted, nothing large is copied, nothing outside its folder is opened."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

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
    return model


def _check_outline(model: onnx.ModelProto, file: Path) -> None:
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidModel(f"{file} is not an ONNX model: it has no {'opset' if model.HasField('graph') else 'graph'}")
    if not model.graph.output:
        raise InvalidModel(f"{file} holds an empty graph: it has no outputs")
