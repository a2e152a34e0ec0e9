"""Arrays of a model file: initializers, attributes and external data as read-only views of mapped files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
from onnx import SparseTensorProto, TensorProto

from sparsec.errors import InvalidModel, UnsupportedModel
from sparsec.frontend.onnx.limits import INT64_MAX, MAX_MADE_BYTES, check_bytes, element_count

DTYPES: dict[int, np.dtype] = {
    TensorProto.FLOAT: np.dtype("<f4"),
    TensorProto.DOUBLE: np.dtype("<f8"),
    TensorProto.FLOAT16: np.dtype("<f2"),
    TensorProto.INT64: np.dtype("<i8"),
    TensorProto.INT32: np.dtype("<i4"),
    TensorProto.INT16: np.dtype("<i2"),
    TensorProto.INT8: np.dtype("i1"),
    TensorProto.UINT8: np.dtype("u1"),
    TensorProto.BOOL: np.dtype("?"),
}
_TYPED_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
}


def dtype_of(data_type: int, what: str) -> np.dtype:
    """The NumPy type of an ONNX element type. Raises UnsupportedModel, or InvalidModel where ONNX has none such."""
    if data_type in DTYPES:
        return DTYPES[data_type]
    if data_type not in TensorProto.DataType.values() or data_type == TensorProto.UNDEFINED:
        raise InvalidModel(f"{what} has the element type {data_type}, which ONNX does not define")
    name = TensorProto.DataType.Name(data_type).lower()
    raise UnsupportedModel(f"{what} has elements of type {name}; convert the model to float32 and int64")


class TensorReader:
    """Reads the tensors of one model file.

    `folder` is where external data must lie; `mapped` the bytes of the model file; a tensor whose raw data is `token`
    and a number stands for that one of `regions` in them (see `wire.detach`).
    """

    def __init__(self, folder: Path, mapped: np.ndarray, token: bytes, regions: list[tuple[int, int]]):
        self.folder = folder
        self.mapped = mapped
        self.token = token
        self.regions = regions
        self._files: dict[Path, np.ndarray] = {}

    def array(self, tensor: TensorProto, what: str) -> np.ndarray:
        """The array of a TensorProto; a view of the mapped file where it is large."""
        dtype = dtype_of(tensor.data_type, what)
        shape = tuple(tensor.dims)
        count = element_count(shape, what)
        if tensor.data_location == TensorProto.EXTERNAL:
            data = self._external(tensor, count * dtype.itemsize, what)
        elif tensor.HasField("raw_data"):
            data = self._raw(tensor.raw_data)
        else:
            return _typed(tensor, dtype, count, what).reshape(shape)
        if data.nbytes != count * dtype.itemsize:
            raise InvalidModel(f"{what} of shape {list(shape)} needs {count * dtype.itemsize} bytes of data, "
                               f"the file holds {data.nbytes}")  # fmt: skip
        return data.view(dtype).reshape(shape)

    def sparse_array(self, sparse: SparseTensorProto, what: str) -> np.ndarray:
        """The dense array of a SparseTensorProto (indices linear, or one row of coordinates per value)."""
        shape = tuple(sparse.dims)
        count = element_count(shape, what)
        stored = self.array(sparse.values, what)
        check_bytes(shape, stored.itemsize, what, MAX_MADE_BYTES)
        positions = self.array(sparse.indices, f"the indices of {what}")
        if positions.dtype != np.int64 or positions.shape not in ((stored.size,), (stored.size, len(shape))):
            raise InvalidModel(f"{what} has {stored.size} values and indices {positions.dtype} {positions.shape}")
        if positions.size and (positions.min() < 0 or (positions >= _bounds(positions, shape, count)).any()):
            raise InvalidModel(f"{what} has an index outside its shape {list(shape)}")
        if positions.ndim == 2:
            positions = np.ravel_multi_index(tuple(positions.T), shape) if shape else positions[:, 0]
        dense = np.zeros(count, stored.dtype)
        dense[positions] = stored.reshape(-1)
        return dense.reshape(shape)

    def _raw(self, raw: bytes) -> np.ndarray:
        if raw.startswith(self.token):
            offset, length = self.regions[int(raw[len(self.token) :])]
            return self.mapped[offset : offset + length]
        return np.frombuffer(raw, np.uint8)

    def _external(self, tensor: TensorProto, size: int, what: str) -> np.ndarray:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = self._map(entries.get("location", ""), what)
        offset, length = _number(entries, "offset", 0, what), _number(entries, "length", size, what)
        if length != size:
            raise InvalidModel(
                f"{what} of shape {list(tensor.dims)} needs {size} bytes, its external data has {length}"
            )
        if offset + length > data.nbytes:
            raise InvalidModel(f"{what} wants bytes {offset} to {offset + length} of {entries['location']!r}, "
                               f"which has {data.nbytes}")  # fmt: skip
        return data[offset : offset + length]

    def _map(self, location: str, what: str) -> np.ndarray:
        """The bytes of an external file, which must be a regular file below the model's folder, links resolved."""
        if not location or "\0" in location or os.path.isabs(location):
            raise InvalidModel(f"{what} names external data {location!r}; it must be a relative path")
        path = Path(os.path.realpath(self.folder / location))
        if not path.is_relative_to(os.path.realpath(self.folder)):
            raise InvalidModel(f"{what} names external data {location!r}, which is outside the model's folder")
        if path not in self._files:
            try:
                self._files[path] = map_file(path)
            except OSError as error:
                raise InvalidModel(f"{what}: cannot read external data {location!r}: {error.strerror}") from error
        return self._files[path]


def map_file(path: Path) -> np.ndarray:
    """The bytes of a regular file, mapped read-only. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        if status.st_size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(file, np.uint8, mode="r")


def _typed(tensor: TensorProto, dtype: np.dtype, count: int, what: str) -> np.ndarray:
    field = _TYPED_FIELDS.get(tensor.data_type, "int32_data")
    stored = getattr(tensor, field)
    if len(stored) != count:
        raise InvalidModel(f"{what} of shape {list(tensor.dims)} needs {count} elements, the file holds {len(stored)}")
    array = np.array(stored, dtype if field != "int32_data" else np.int32)
    if dtype == np.float16:  # stored as bit patterns
        return array.astype(np.uint16).view(np.float16)
    return array.astype(dtype, copy=False)


def _bounds(positions: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray | int:
    return count if positions.ndim == 1 else np.array(shape, np.int64)


def _number(entries: dict[str, str], key: str, default: int, what: str) -> int:
    text = entries.get(key) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > INT64_MAX:
        raise InvalidModel(f"{what}: the {key} of its external data is {text!r}, not a number of bytes")
    return int(text)
