"""Resize on every ISA, in panels and row-major, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runner import every_isa
from layouts import check_pieces, in_panels, sample
from op_runner import Case, check

from sparsec.ir import ResizeOp
from sparsec.targets.kernels import resize

COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SHAPES = [
    ((1, 3, 10, 10), (1, 1, 2, 2)),
    ((2, 3, 7, 9), (1, 1, 2, 2)),
    ((1, 2, 13, 14), (1, 1, 1.5, 0.6)),
    ((1, 1, 5, 40), (1, 1, 3, 3)),
    ((1, 2, 57, 3), (1, 1, 0.5, 7)),
    ((3, 9), (2.2, 1)),
    ((5,), (3,)),
    ((1, 6, 7, 20), (1, 2, 2, 1)),
    ((1, 2, 3, 4, 5), (1, 1, 2, 2, 2)),
    ((1, 6, 5, 16), (1, 2, 2, 1)),
    ((1, 2, 4, 40), (1, 1, 0.5, 1)),
    ((1, 1, 1, 1), (1, 1, 4, 4)),
    ((1, 2, 30, 30), (1, 1, 0.3, 0.3)),
]


def case(shape, scales, mode, dtype="float32", panels=False, **options) -> Case:
    x = (np.random.default_rng(6).standard_normal(shape) * 50).astype(dtype)
    sizes = [int(np.floor(size * scale)) for size, scale in zip(shape, scales, strict=True)]
    build = lambda x: ResizeOp(x, sizes, scales, mode, **options)  # noqa: E731
    made = Case(build, [x], rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-4)
    if x.dtype.kind in "iu" and mode != "nearest":  # the interpreter sums in f64: halves may round the other way
        made = Case(build, [x // 8 * 8])
    return in_panels(made) if panels and resize.takes_panels(made.op) else made


def geometry(mode) -> list[Case]:
    dtypes = {
        "nearest": ("float64", "uint8", "int64", "float16"),
        "linear": ("float64", "float16"),
        "cubic": ("float64",),
    }
    return [
        *(case(*shape, mode, panels=panels) for shape in SHAPES for panels in (False, True)),
        *(case(*shape, mode, dtype) for shape in SHAPES for dtype in dtypes[mode]),
    ]


def options(mode) -> list[Case]:
    shape, scales = (1, 2, 9, 11), (1, 1, 1.7, 2.5)
    crop = {"coordinates": "tf_crop_and_resize", "extrapolation": 7.0}
    cases = [case(shape, scales, mode, coordinates=name) for name in COORDINATES]
    cases += [case(shape, scales, mode, roi=[0, 0, -0.2, 0.3, 1, 1, 1.1, 0.8], panels=p, **crop) for p in (True, False)]
    cases += [case((1, 9, 11, 2), (1, 1.7, 2.5, 1), mode, roi=[0, -0.2, 0.3, 0, 1, 1.1, 0.8, 1], **crop)]
    cases += [case(shape, scales, mode, nearest_mode=name) for name in ROUNDINGS]
    if mode != "nearest":
        cases += [case(shape, (1, 1, 0.5, 0.6), mode, antialias=True)]
    if mode == "cubic":
        cases += [case(shape, scales, mode, exclude_outside=True), case(shape, scales, mode, cubic_coeff=-0.5)]
    return cases


@every_isa
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(mode, isa):
    check(resize.lower, sample(geometry(mode) + options(mode), isa), isa)


@every_isa
def test_integers_round_and_saturate(isa):
    """Overshooting cubics of extreme values, and means that are whole."""
    x = np.array([[0, 255] * 8, [255, 0] * 8], np.uint8).reshape(1, 1, 2, 16)
    cubic = Case(lambda x: ResizeOp(x, (1, 1, 4, 32), (1, 1, 2, 2), "cubic"), [x])
    means = Case(lambda x: ResizeOp(x, (1, 1, 1, 8), (1, 1, 0.5, 0.5), "linear"), [x // 4 * 4])
    wide = Case(lambda x: ResizeOp(x, (6,), (2,), "linear", coordinates="asymmetric"), [np.array([8, -16, 1 << 40])])
    check(resize.lower, [cubic, means, wide], isa)


def test_resize_in_pieces():
    check_pieces(resize.lower, case((2, 3, 20, 20), (1, 1, 2, 2), "nearest", panels=True))
    check_pieces(resize.lower, case((2, 30, 10, 20), (1, 2, 2, 1), "linear"))
