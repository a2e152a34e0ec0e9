"""Resize in every mode against ONNX's reference implementation, and against onnxruntime where that follows it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from onnx.reference.ops.op_resize import Resize

from sparsec.ir import ResizeOp

COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
SCALES = [(2.0, 3.0), (0.6, 1.7), (0.3, 0.4), (1.0, 2.5), (0.13, 1.0)]


def reference(x, scales, mode, coordinates, **options):
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "cubic_coeff_a": -0.75, **options}
    (result,) = Resize._run(None, x, options.pop("roi", None), np.array([1, 1, *scales]), **attributes)
    return result


def resized(meaning, x, shape, scales, mode, coordinates, **options):
    return meaning(lambda a: ResizeOp(a, shape, [1, 1, *scales], mode, coordinates, **options), x)[0]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation(meaning, random, mode, exclude_outside, antialias, scales, coordinates):
    x = random(2, 3, 7, 8)
    options = {"antialias": antialias, "exclude_outside": exclude_outside}
    theirs = reference(x, scales, mode, coordinates, **options)
    ours = resized(meaning, x, theirs.shape, scales, mode, coordinates, **options)
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("nearest_mode", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest(meaning, random, nearest_mode, scales, coordinates):
    x = random(2, 3, 7, 8)
    theirs = reference(x, scales, "nearest", coordinates, nearest_mode=nearest_mode)
    ours = resized(meaning, x, theirs.shape, scales, "nearest", coordinates, nearest_mode=nearest_mode)
    assert_allclose(ours, theirs)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("roi", [(0.2, 0.3, 0.8, 0.6), (0.5, -0.3, 1.4, 1.2)])
def test_crop_and_resize(meaning, node, random, mode, roi):
    x, scales = random(1, 1, 7, 8), (2.0, 0.5)
    roi = [0, 0, *roi[:2], 1, 1, *roi[2:]]
    options = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    (theirs,) = node("Resize", x, np.float32(roi), np.float32([1, 1, *scales]), **options)
    ours = resized(meaning, x, theirs.shape, scales, mode, "tf_crop_and_resize", roi=roi, extrapolation=10.0)
    assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", [c for c in COORDINATES if c != "half_pixel_symmetric"])
def test_onnxruntime_agrees(meaning, node, random, mode, coordinates):
    x, scales = random(1, 2, 7, 8), (2.0, 3.0)
    options = {"mode": mode, "coordinate_transformation_mode": coordinates}
    (theirs,) = node("Resize", x, None, np.float32([1, 1, *scales]), **options)
    ours = resized(meaning, x, theirs.shape, scales, mode, coordinates)
    assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_integers_round_and_saturate(meaning):
    x = np.array([0, 255, 255, 0], np.uint8)
    ours = meaning(lambda a: ResizeOp(a, [8], [2.0], "cubic"), x)[0]
    assert ours.dtype == np.uint8
    assert ours.max() == 255
