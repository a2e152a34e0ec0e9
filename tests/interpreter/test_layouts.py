"""Memory of row-major and panel layouts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from xdsl.dialects.builtin import f32, i1

from sparsec.interpreter import logical, physical
from sparsec.ir import Panel, PanelAttr, TensorType


def test_row_major():
    array = np.array([[True, False]])
    type_ = TensorType((1, 2), i1)
    assert_array_equal(physical(array, type_), [True, False])
    assert_array_equal(logical(physical(array, type_), type_), array)


@pytest.mark.parametrize(("h", "w", "rows", "stride"), [(56, 56, 2, 112), (7, 7, 7, 64), (5, 3, 2, 16)])
def test_elements_lie_where_the_formula_says(h, w, rows, stride):
    type_ = TensorType((2, 3, h, w), f32, PanelAttr(Panel(rows, stride)))
    array = np.arange(2 * 3 * h * w, dtype=np.float32).reshape(2, 3, h, w)
    memory, panels = physical(array, type_), -(-h // rows)
    n, c, y, x = np.indices(array.shape)
    assert_array_equal(memory[((n * panels + y // rows) * 3 + c) * stride + (y % rows) * w + x], array)
    assert memory.size == int(type_.nbytes) // 4
    assert np.isnan(memory).sum() == memory.size - array.size


@given(st.tuples(*[st.integers(1, 6)] * 4), st.integers(1, 7), st.integers(0, 2))
def test_round_trip(shape, rows, extra):
    stride = (-(-rows * shape[3] // 16) + extra) * 16
    type_ = TensorType(shape, f32, PanelAttr(Panel(rows, stride)))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert_array_equal(logical(physical(array, type_), type_), array)
