"""Top-k on every ISA, against the interpreter: ties, NaN, all element types, any axis."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa
from layouts import check_pieces, sample
from op_runner import Case, check

from sparsec.ir import TopkOp
from sparsec.targets.kernels.indexing import topk

SHAPES = [
    ((5,), 3, 0),
    ((7,), 7, 0),
    ((10, 4), 1, 0),
    ((3, 70, 5), 9, 1),
    ((30, 700), 300, 1),
    ((2, 3, 64), 2, 2),
    ((1,), 1, 0),
]


def case(shape, k, axis, dtype, largest) -> Case:
    """Whole numbers, of which many are equal; floats with NaN, infinities and zeros of both signs."""
    x = (np.random.default_rng(4).standard_normal(shape) * 9).astype(dtype)
    if x.dtype.kind == "f":
        x = np.round(x)
        special = [np.nan, -0.0, 0.0, -np.inf, np.inf][: x.size]
        x.flat[: len(special)] = special
    return Case(lambda x: TopkOp(x, k, axis, largest), [x])


@every_isa
@pytest.mark.parametrize("largest", [True, False], ids=["largest", "smallest"])
def test_topk(largest, isa):
    dtypes = ("float32", "float64", "float16", "int8", "uint8", "int32", "int64")
    cases = [case(*shape, dtype, largest) for dtype in dtypes for shape in SHAPES]
    check(topk.lower, sample(cases, isa), isa)


def test_topk_in_pieces():
    check_pieces(topk.lower, case((30, 1700), 5, 1, "float32", True))
