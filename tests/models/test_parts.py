"""Concatenations and slices that lie inside other values, in whole models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from whole_models import compile_and_compare

from sparsec.targets.isa import host_isas

ISAS = tuple(isa.name for isa in host_isas())

pytestmark = pytest.mark.skipif(not ISAS, reason="no x86 to run on")


def save(folder: Path, text: str, weights: dict[str, Sequence[int]]) -> Path:
    """The model of `text` (ONNX's textual form), with seeded `weights` of these shapes."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    rng = np.random.default_rng(0)
    for name, shape in weights.items():
        array = rng.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), [(0, 16, 1, 2), (2, 14, 2, 1), (3, 11, 1, 1)])
def test_slices_that_only_a_concatenation_reads(tmp_path: Path, starts: int, ends: int, axes: int, steps: int) -> None:
    """Those of every other channel, or of some rows, are computed into the concatenation."""
    rows, channels = (12, 16) if axes == 2 else (16, 8)
    text = f"""g (float[1, 3, 16, 16] x) => (float[1, 8, {rows}, 16] y) <
      int64[1] starts = {{{starts}}}, int64[1] ends = {{{ends}}}, int64[1] axes = {{{axes}}},
      int64[1] steps = {{{steps}}}
    > {{
      a = Conv (x, w)
      b = Conv <pads = [0, 1, 0, 1]> (a, v)
      s = Slice (a, starts, ends, axes, steps)
      c = Concat <axis = 1> (s, b)
      y = Conv (c, u)
    }}"""
    height = 16 - rows + 1
    shapes = {"w": (16, 3, 1, 1), "v": (16, 16, height, 3), "u": (8, channels + 16, 1, 1)}
    compile_and_compare(save(tmp_path, text, shapes), tmp_path, 1e-5, ISAS)


def test_batch_whose_loop_begins_with_a_slice(tmp_path: Path) -> None:
    """A slice inside its input takes no call, wherever a loop over images or a chain in it begins."""
    text = """g (float[4, 64, 112, 112] x) => (float[4, 32, 112, 112] y, float[4, 32, 112, 112] z) <
      int64[2] split = {32, 32}, float[4] scales = {1, 1, 2, 2}
    > {
      a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
      r = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (a, , scales)
      s, t = Split <axis = 1> (r, split)
      b = Conv <group = 32, pads = [1, 1, 1, 1]> (s, d)
      c = Conv (b, v)
      e = Conv <group = 32, pads = [1, 1, 1, 1]> (c, d)
      y = Conv (e, v)
      z = Conv (t, v)
    }"""
    shapes = {"w": (64, 64, 3, 3), "d": (32, 1, 3, 3), "v": (32, 32, 1, 1)}
    compile_and_compare(save(tmp_path, text, shapes), tmp_path, 1e-5, ISAS)
