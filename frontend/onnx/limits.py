"""Limits on what a file may ask for, and the one place where sizes are checked before memory is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsec.errors import InvalidModel
from sparsec.ir.dims import Dim, product
from sparsec.ir.shapes import format_shape

INT64_MAX = 2**63 - 1
MAX_TENSOR_BYTES = 2**36  # of one activation
MAX_MADE_BYTES = 2**31  # of a constant that a node makes from almost nothing (ConstantOfShape, Range, Expand)
MAX_FOLDED_BYTES = 2**26  # of a folded result that is larger than its inputs
MAX_RANK = 32
MAX_DEPTH = 24  # of subgraphs and functions inside one another
MAX_UNROLLED = 4096  # iterations of a Loop or Scan


def element_count(dims: Iterable[int], what: str) -> int:
    """The number of elements of a constant's shape. Raises InvalidModel for negative or overflowing sizes."""
    shape = tuple(dims)
    if any(dim < 0 for dim in shape):
        raise InvalidModel(f"{what} has a negative dimension: {list(shape)}")
    if len(shape) > MAX_RANK:
        raise InvalidModel(f"{what} has {len(shape)} dimensions; at most {MAX_RANK} are possible")
    count = int(product(shape))  # pyright: ignore[reportArgumentType]
    if count > INT64_MAX:
        raise InvalidModel(f"{what} has the shape {format_shape(shape)}, whose elements overflow 64 bits")
    return count


def check_bytes(shape: Sequence[Dim], itemsize: int, what: str, limit: int = MAX_TENSOR_BYTES) -> None:
    """Raises InvalidModel where a tensor of fixed shape is larger than `limit` bytes or has a negative size."""
    if any(isinstance(dim, int) and dim < 0 for dim in shape):
        raise InvalidModel(f"{what} has a negative dimension: {format_shape(shape)}")
    if len(shape) > MAX_RANK:
        raise InvalidModel(f"{what} has {len(shape)} dimensions; at most {MAX_RANK} are possible")
    fixed = int(product(dim for dim in shape if isinstance(dim, int)))  # pyright: ignore[reportArgumentType]
    if fixed * itemsize > limit:
        raise InvalidModel(f"{what} of shape {format_shape(shape)} takes {readable(fixed * itemsize)}, "
                           f"more than the limit of {readable(limit)}")  # fmt: skip


def readable(size: int) -> str:
    """A number of bytes for people."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} PiB"
