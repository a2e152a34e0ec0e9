"""Convolutions, transposed convolutions, matmul and pooling against onnxruntime."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xdsl.dialects.arith import AddfOp, MaximumfOp
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Region

from sparsec.ir import ConvOp, ConvTransposeOp, MatmulOp, PoolOp, YieldOp


@pytest.mark.parametrize(
    ("x", "w", "strides", "dilations", "pads", "groups"),
    [
        ((2, 3, 9, 8), (4, 3, 3, 3), [1, 1], [1, 1], [1, 1, 1, 1], 1),
        ((1, 4, 9, 8), (6, 2, 3, 2), [2, 1], [1, 2], [0, 1, 2, 3], 2),
        ((2, 4, 7, 7), (4, 1, 3, 3), [2, 2], [1, 1], [1, 1, 0, 1], 4),
        ((1, 3, 5, 5), (6, 1, 3, 3), [1, 1], [1, 1], [1, 1, 1, 1], 3),
        ((2, 8, 5, 6), (5, 8, 1, 1), [1, 1], [1, 1], [0, 0, 0, 0], 1),
        ((2, 8, 5, 6), (5, 8, 1, 1), [2, 3], [1, 1], [0, 0, 0, 0], 1),
        ((1, 2, 11), (3, 2, 4), [3], [2], [2, 1], 1),
        ((1, 2, 4, 5, 6), (3, 2, 2, 3, 2), [1, 2, 1], [1, 1, 2], [0, 1, 1, 1, 0, 0], 1),
    ],
)
def test_conv(meaning, node, random, x, w, strides, dilations, pads, groups):
    x, w = random(*x), random(*w)
    (ours,) = meaning(lambda a, b: ConvOp(a, b, strides, dilations, pads, groups), x, w)
    (theirs,) = node("Conv", x, w, strides=strides, dilations=dilations, pads=pads, group=groups)
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "w", "strides", "dilations", "pads", "output_padding", "groups"),
    [
        ((2, 3, 5, 4), (3, 4, 3, 3), [1, 1], [1, 1], [0, 0, 0, 0], [0, 0], 1),
        ((1, 4, 5, 4), (4, 3, 2, 2), [2, 2], [1, 1], [0, 0, 0, 0], [0, 0], 2),
        ((1, 4, 5, 4), (4, 1, 4, 3), [2, 3], [1, 2], [1, 2, 0, 1], [1, 2], 4),
        ((1, 2, 7), (2, 3, 4), [3], [1], [1, 2], [1], 1),
    ],
)
def test_conv_transpose(meaning, node, random, x, w, strides, dilations, pads, output_padding, groups):
    x, w = random(*x), random(*w)
    (ours,) = meaning(lambda a, b: ConvTransposeOp(a, b, strides, dilations, pads, output_padding, groups), x, w)
    attributes = {"dilations": dilations, "pads": pads, "output_padding": output_padding, "group": groups}
    (theirs,) = node("ConvTranspose", x, w, strides=strides, **attributes)
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matmul(meaning, random, transpose_a, transpose_b):
    a, b = random(2, 1, 3, 4), random(5, 4, 6)
    given = (a.swapaxes(2, 3) if transpose_a else a, b.swapaxes(1, 2) if transpose_b else b)
    (ours,) = meaning(lambda x, y: MatmulOp(x, y, transpose_a, transpose_b), *given)
    assert_allclose(ours, a @ b, rtol=1e-6)


POOLS = [
    ((2, 3, 9, 8), [3, 3], [2, 2], [1, 1], [1, 1, 1, 1]),
    ((1, 2, 9, 8), [2, 3], [1, 2], [2, 1], [0, 1, 1, 2]),
    ((1, 2, 13), [4], [3], [1], [1, 2]),
    ((1, 2, 4, 5, 6), [2, 2, 3], [2, 1, 2], [1, 1, 1], [0, 0, 1, 1, 0, 1]),
]


@pytest.mark.parametrize("kind", ["max", "average", "average with pads"])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("x", "kernel", "strides", "dilations", "pads"), POOLS)
def test_pool(meaning, node, random, kind, ceil, x, kernel, strides, dilations, pads):
    x, count_pads = random(*x), kind.endswith("pads")
    extra = {} if kind == "max" else {"count_include_pad": int(count_pads)}
    geometry = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    (theirs,) = node(
        "MaxPool" if kind == "max" else "AveragePool", x, opset=19, ceil_mode=int(ceil), **geometry, **extra
    )
    rank = len(kernel)
    reach = [
        (theirs.shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - x.shape[2 + i]
        for i in range(rank)
    ]
    overhang = [max(0, reach[i] - pads[i] - pads[rank + i]) for i in range(rank)]
    (ours,) = meaning(lambda a: PoolOp(a, kind.split()[0], kernel, strides, dilations, pads, overhang, count_pads), x)
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_epilogue(meaning, random):
    """Extra operands broadcast, and the region's result is the op's."""
    x, w, bias, residual = random(1, 3, 4, 4), random(5, 3, 1, 1), random(5, 1, 1), random(1, 5, 4, 4)
    block = Block(arg_types=[f32] * 3)
    total = AddfOp(block.args[0], block.args[1])
    block.add_ops([total, top := MaximumfOp(total.result, block.args[2]), YieldOp(top.result)])
    operands = (x, w, bias, residual)
    (ours,) = meaning(lambda a, b, *extras: ConvOp(a, b, [1, 1], [1, 1], [0] * 4, 1, extras, Region(block)), *operands)
    expected = np.maximum(np.einsum("nchw,mc->nmhw", x, w[..., 0, 0]) + bias, residual)
    assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
