"""Reductions, softmax, normalisations, running sums and top-k against onnxruntime or plain NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsec.ir import CumsumOp, LrnOp, NormOp, ReduceOp, SoftmaxOp, TopkOp

KINDS = {
    "sum": "ReduceSum",
    "prod": "ReduceProd",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "mean": "ReduceMean",
    "sum_square": "ReduceSumSquare",
}


@pytest.mark.parametrize(("kind", "dtype"), [(k, t) for k in KINDS for t in (np.float32, np.int32)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [[1], [0, 2], [0, 1, 2]])
def test_reduce(meaning, node, random, kind, dtype, keepdims, axes):
    x = (random(3, 4, 5) * 4).astype(dtype)
    (ours,) = meaning(lambda a: ReduceOp(a, kind, axes, keepdims), x)
    (theirs,) = node(KINDS[kind], x, np.array(axes), keepdims=int(keepdims))
    assert ours.dtype == dtype
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_integer_mean_truncates(meaning):
    (ours,) = meaning(lambda a: ReduceOp(a, "mean", [0], False), np.array([-3, -2, 0], np.int32))
    assert ours == -1


@pytest.mark.parametrize("kind", ["argmax", "argmin"])
@pytest.mark.parametrize("select_last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
def test_ties_of_arguments(meaning, node, random, kind, select_last, keepdims):
    x = np.round(random(3, 50, 2))
    (ours,) = meaning(lambda a: ReduceOp(a, kind, [1], keepdims, select_last), x)
    attributes = {"axis": 1, "keepdims": int(keepdims), "select_last_index": int(select_last)}
    assert_array_equal(ours, *node("ArgMax" if kind == "argmax" else "ArgMin", x, **attributes))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("log", [False, True])
def test_softmax(meaning, node, random, axis, log):
    x = random(3, 4, 5) * 30
    (ours,) = meaning(lambda a: SoftmaxOp(a, [axis], log), x)
    assert_allclose(ours, *node("LogSoftmax" if log else "Softmax", x, axis=axis), rtol=1e-5, atol=1e-6)


def test_softmax_of_several_axes(meaning, random):
    x = random(3, 4, 5)
    (ours,) = meaning(lambda a: SoftmaxOp(a, [1, 2]), x)
    assert_allclose(ours, np.exp(x) / np.exp(x).sum((1, 2), keepdims=True), rtol=1e-5)


def test_norm_centred(meaning, node, random):
    x = random(3, 4, 5) + 100
    (ours,) = meaning(lambda a: NormOp(a, [1, 2], 1e-3), x)
    (theirs,) = node("LayerNormalization", x, np.ones((4, 5), np.float32), axis=1, epsilon=1e-3)
    assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_norm_root_mean_square(meaning, random):
    x = random(3, 8)
    (ours,) = meaning(lambda a: NormOp(a, [1], 1e-3, center=False), x)
    assert_allclose(ours, x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-3), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(meaning, node, random, size):
    x = random(2, 7, 3, 4)
    (ours,) = meaning(lambda a: LrnOp(a, size, 0.1, 0.6, 2.0), x)
    assert_allclose(ours, *node("LRN", x, size=size, alpha=0.1, beta=0.6, bias=2.0), rtol=1e-5)


def test_lrn_of_even_size_reaches_further_up(meaning):
    """ONNX: from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2)."""
    (ours,) = meaning(lambda a: LrnOp(a, 2, 2.0, 1.0, 1.0), np.ones((1, 3, 1, 1), np.float32))
    assert_allclose(ours.ravel(), [1 / 3, 1 / 3, 1 / 2])


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(meaning, node, random, exclusive, reverse):
    x = random(3, 4, 5)
    (ours,) = meaning(lambda a: CumsumOp(a, 1, exclusive, reverse), x)
    (theirs,) = node("CumSum", x, np.array(1), exclusive=int(exclusive), reverse=int(reverse))
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_order_of_topk(meaning, node, random, largest, axis):
    x = np.round(random(20, 30) * 2)
    top, indices = meaning(lambda a: TopkOp(a, 7, axis, largest), x)
    theirs = node("TopK", x, np.array([7]), outputs=2, axis=axis, largest=int(largest))
    assert_array_equal(top, theirs[0])
    assert_array_equal(indices, theirs[1])
