"""Pooling on every ISA, in panels and row-major, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa
from layouts import check_pieces, in_pairs, in_panels, sample
from op_runner import Case, check

from sparsec.ir import PoolOp
from sparsec.targets.isa import host_isas
from sparsec.targets.kernels.windows import pool


def case(kind, x, k=(2, 2), s=(2, 2), d=(1, 1), pads=(0, 0, 0, 0), dtype="float32", panels=True, **options) -> Case:
    """A pooling of [n, c, h, w]; max sees a NaN and infinities."""
    array = (np.random.default_rng(5).standard_normal(x) * 20).astype(dtype)
    if kind == "max" and array.dtype.kind == "f":
        array.flat[:3] = np.nan, -np.inf, np.inf
    made = Case(lambda x: PoolOp(x, kind, k, s, d, pads, **options), [array], rtol=1e-5, atol=1e-5)
    return in_panels(made) if panels else made


GEOMETRIES = [
    {"x": (2, 3, 14, 14)},
    {"x": (1, 2, 112, 112), "k": (3, 3), "pads": (1, 1, 1, 1)},
    {"x": (1, 2, 113, 30), "k": (3, 3), "pads": (0, 0, 1, 1)},
    {"x": (1, 3, 7, 7), "k": (7, 7), "s": (1, 1)},
    {"x": (1, 3, 10, 10), "k": (5, 5), "s": (1, 1), "pads": (2, 2, 2, 2)},
    {"x": (1, 2, 13, 13), "k": (3, 3), "overhang": (1, 1)},
    {"x": (1, 2, 13, 13), "k": (3, 3), "pads": (1, 1, 1, 1), "overhang": (1, 1), "count_pads": True},
    {"x": (1, 2, 30, 17), "k": (3, 2), "s": (1, 3), "pads": (1, 0, 1, 1), "d": (2, 1), "count_pads": True},
    {"x": (1, 2, 56, 57), "k": (3, 3), "pads": (0, 0, 1, 1), "count_pads": True},
    {"x": (1, 2, 3, 3), "k": (3, 3), "s": (1, 1), "pads": (1, 1, 1, 1)},
    {"x": (1, 1, 1, 130), "k": (1, 4), "s": (1, 1)},
    {"x": (2, 3, 30, 1), "k": (4, 1), "s": (2, 1), "pads": (1, 0, 1, 0)},
    {"x": (1, 3, 130, 2), "k": (3, 2), "s": (1, 1), "pads": (1, 1, 1, 0)},
    {"x": (1, 1, 28, 28), "k": (3, 3), "s": (4, 4)},
    {"x": (1, 2, 20, 20), "k": (20, 20), "s": (1, 1)},
    {"x": (1, 2, 60, 90), "k": (6, 8), "s": (10, 10), "d": (10, 10), "pads": (1, 2, 1, 2), "count_pads": True},
    {"x": (1, 1, 50, 70), "k": (20, 20), "s": (3, 7), "pads": (9, 19, 19, 3), "overhang": (2, 0)},
    {"x": (1, 70, 1, 1), "k": (1, 1), "s": (1, 1)},
]
KINDS = ("max", "average")
CASES = {
    kind: [case(kind, panels=panels, **geometry) for panels in (True, False) for geometry in GEOMETRIES]
    for kind in KINDS
}
TYPES = [
    case(kind, (1, 3, 13, width), (3, 3), pads=(1, 1, 1, 1), dtype=dtype)
    for kind, dtypes in (("max", ("float64", "int8", "uint8")), ("average", ("float64",)))
    for dtype in dtypes
    for width in (5, 15, 75)
]


@every_isa
@pytest.mark.parametrize("kind", KINDS)
def test_pool(kind, isa):
    check(pool.lower, sample(CASES[kind], isa), isa)


@every_isa
def test_pool_element_types(isa):
    assert all(pool.accepts(case.op) for case in TYPES)
    check(pool.lower, sample(TYPES, isa), isa)


PAIRS = [
    case(kind, (images, 2 * channels, *size), **rest)
    for kind in KINDS
    for geometry in GEOMETRIES
    for (images, channels, *size), rest in [(geometry["x"], {k: v for k, v in geometry.items() if k != "x"})]
]


@pytest.mark.parametrize("isa", host_isas("bf16"), ids=lambda isa: isa.name)
def test_pairs(isa):
    taken = [made for made in PAIRS if pool.takes_pairs(made.op, (made.op.input, made.op.result))]
    assert len(taken) > len(PAIRS) / 2
    check(pool.lower, [in_pairs(made) for made in sample(taken, isa)], isa)


def test_pool_in_pieces():
    check_pieces(pool.lower, case("average", (2, 37, 57, 57), (3, 3), pads=(1, 1, 1, 1)))
