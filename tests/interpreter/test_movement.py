"""Ops that move elements, against onnxruntime or plain NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsec.errors import SparsecError
from sparsec.ir import (
    ConcatOp,
    DeinterleaveOp,
    ExpandOp,
    GatherOp,
    InterleaveOp,
    PadOp,
    Panel,
    PanelAttr,
    RelayoutOp,
    ReshapeOp,
    ScatterOp,
    SliceOp,
    TransposeOp,
)


def test_reshape_transpose_expand_concat_relayout(meaning, random):
    x = random(2, 1, 6)
    assert_array_equal(meaning(lambda a: ReshapeOp(a, [3, 4]), x)[0], x.reshape(3, 4))
    assert_array_equal(meaning(lambda a: TransposeOp(a, [2, 0, 1]), x)[0], x.transpose(2, 0, 1))
    assert_array_equal(meaning(lambda a: ExpandOp(a, [5, 2, 3, 6]), x)[0], np.broadcast_to(x, (5, 2, 3, 6)))
    assert_array_equal(meaning(lambda a, b: ConcatOp([a, b], 2), x, x)[0], np.concatenate([x, x], 2))
    image = random(1, 2, 3, 4)
    assert_array_equal(meaning(lambda a: RelayoutOp(a, PanelAttr(Panel(2, 16))), image)[0], image)


def test_interleaved_images(meaning, random):
    x = random(6, 2, 4, 5)
    (joined,) = meaning(lambda a: InterleaveOp(a, 3), x)
    assert_array_equal(joined.reshape(2, 2, 4, 5, 3)[1, :, :, :, 2], x[5])
    assert_array_equal(meaning(lambda a: DeinterleaveOp(a, 3), joined)[0], x)
    (strided,) = meaning(lambda a: InterleaveOp(a, 3, 2), x)
    assert_array_equal(strided, meaning(lambda a: InterleaveOp(a, 3), x[:, :, ::2, ::2])[0])


@pytest.mark.parametrize(
    ("starts", "steps", "sizes", "expected"),
    [
        ([0, 2], [1, 3], [4, 3], np.s_[:, 2::3]),
        ([3, 8], [-1, -2], [4, 5], np.s_[::-1, ::-2]),
        ([1, 0], [1, 1], [0, 9], np.s_[1:1, :]),
        ([1, 4], [-1, 1], [2, 1], np.s_[1::-1, 4:5]),
    ],
)
def test_slice(meaning, random, starts, steps, sizes, expected):
    x = random(4, 9)
    assert_array_equal(meaning(lambda a: SliceOp(a, starts, steps, sizes), x)[0], x[expected])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize(("low", "high"), [([1, 2], [3, 0]), ([0, 0], [0, 0]), ([-1, 2], [1, -2])])
def test_pad(meaning, node, random, mode, low, high):
    x = random(5, 6)
    (ours,) = meaning(lambda a: PadOp(a, low, high, mode, 7.0), x)
    (theirs,) = node("Pad", x, np.array(low + high), np.array(7, np.float32), opset=19, mode=mode)
    assert_array_equal(ours, theirs)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_take(meaning, node, random, axis):
    x, indices = random(4, 5, 3), np.array([[0, -1], [2, -3]])
    (ours,) = meaning(lambda a, i: GatherOp(a, i, "take", axis), x, indices)
    assert_array_equal(ours, *node("Gather", x, indices, axis=axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_gather_elements(meaning, node, random, axis):
    x, indices = random(4, 5), np.array([[0, -1, 3], [-4, 2, 1]])
    (ours,) = meaning(lambda a, i: GatherOp(a, i, "elements", axis), x, indices)
    assert_array_equal(ours, *node("GatherElements", x, indices, axis=axis))


@pytest.mark.parametrize(
    ("indices", "batch_dims"),
    [
        (np.array([[0, 1], [-1, -2]]), 0),
        (np.array([[[0, 1]], [[-1, 3]]]), 0),
        (np.array([[[1], [0], [-1]], [[2], [2], [0]]]), 1),
        (np.array([[1], [-1]]), 1),
        (np.zeros((2, 3, 5, 1), np.int64), 2),
    ],
)
def test_gather_nd(meaning, node, random, indices, batch_dims):
    x = random(2, 4 if batch_dims < 2 else 3, 3)
    (ours,) = meaning(lambda a, i: GatherOp(a, i, "nd", 0, batch_dims), x, indices)
    assert_array_equal(ours, *node("GatherND", x, indices, batch_dims=batch_dims))


def test_gather_outside_names_the_op(meaning, random):
    with pytest.raises(SparsecError, match=r"sp\.gather: .*out of bounds"):
        meaning(GatherOp, random(3), np.array([3]))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_elements(meaning, node, random, reduction, axis):
    x, updates = random(4, 5), random(2, 3)
    indices = np.array([[0, 1, 3], [-1, 2, 1]]) if reduction == "none" else np.array([[0, 0, 3], [0, -1, -1]])
    (ours,) = meaning(lambda a, i, u: ScatterOp(a, i, u, "elements", axis, reduction), x, indices, updates)
    assert_allclose(ours, *node("ScatterElements", x, indices, updates, axis=axis, reduction=reduction), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(meaning, node, random, reduction):
    x, updates = random(4, 5, 3), random(3, 3)
    indices = np.array([[0, 1], [-1, -1], [2, 0]] if reduction == "none" else [[0, 1], [-1, -1], [0, 1]])
    (ours,) = meaning(lambda a, i, u: ScatterOp(a, i, u, "nd", 0, reduction), x, indices, updates)
    assert_allclose(ours, *node("ScatterND", x, indices, updates, reduction=reduction), rtol=1e-6)
