"""Whole models: order, names, symbolic sizes, errors."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sparsec.errors import SparsecError, UsageError
from sparsec.interpreter import OPS, evaluate_op, run
from sparsec.ir import Sp, WeightOp, YieldOp, parse_module
from sparsec.model import Model
from sparsec.weights import WeightStore

TEXT = """
func.func @main(%x: !sp.tensor<["n", 3], f32>, %y: !sp.tensor<["n", 3], f32>) -> !sp.tensor<["3*n"], f32>
    attributes {input_names = ["x", "y"]} {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3], f32>
  %0 = "sp.map"(%x, %y, %w) ({
  ^bb0(%a: f32, %b: f32, %c: f32):
    %d = arith.subf %a, %b : f32
    %e = arith.mulf %d, %c : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<["n", 3], f32>, !sp.tensor<["n", 3], f32>, !sp.tensor<[3], f32>) -> !sp.tensor<["n", 3], f32>
  %1 = "sp.reshape"(%0) : (!sp.tensor<["n", 3], f32>) -> !sp.tensor<["3*n"], f32>
  func.return %1 : !sp.tensor<["3*n"], f32>
}
"""


@pytest.fixture
def model():
    weights = WeightStore()
    weights["w"] = np.array([1, 2, 3], np.float32)
    return Model(parse_module(TEXT), weights)


def test_every_op_has_a_meaning():
    assert set(OPS) | {WeightOp, YieldOp} == set(Sp.operations)


@pytest.mark.parametrize("n", [1, 4])
def test_inputs_in_order_or_by_name(model, random, n):
    x, y = random(n, 3), random(n, 3)
    expected = ((x - y) * np.float32([1, 2, 3])).ravel()
    for inputs in ([x, y], {"y": y, "x": x}):
        (result,) = run(model, inputs)
        assert_array_equal(result, expected)
        assert result.flags.owndata
        assert result.flags.writeable


def test_an_input_may_be_an_output():
    model = Model(
        parse_module(
            "func.func @main(%x: !sp.tensor<[2], f32>) -> !sp.tensor<[2], f32> {"
            " func.return %x : !sp.tensor<[2], f32> }"
        )
    )
    x = np.ones(2, np.float32)
    (result,) = run(model, [x])
    assert_array_equal(result, x)
    assert not np.shares_memory(result, x)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([np.ones((2, 3), np.float32)], "takes 2 inputs \\(x, y\\), not 1"),
        ({"x": 1, "z": 2}, "takes inputs x, y, not x, z"),
        ([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)], "input y is float32 4x3, should be float32 2x3"),
        ([np.ones((2, 3)), np.ones((2, 3))], "input x is float64 2x3, should be float32 2x3"),
        ([np.ones(3, np.float32), np.ones(3, np.float32)], "input x is float32 3, should be float32 3x3"),
    ],
)
def test_inputs_that_do_not_fit(model, inputs, message):
    with pytest.raises(UsageError, match=message):
        run(model, inputs)


def test_a_missing_weight_is_named(model, random):
    del model.weights["w"]
    with pytest.raises(SparsecError, match=r"sp\.weight: sp\.weight: no weight called 'w'"):
        run(model, [random(1, 3), random(1, 3)])


def test_an_op_of_another_dialect_is_named(model):
    with pytest.raises(SparsecError, match=r"builtin\.module: the interpreter does not know this op"):
        evaluate_op(model.module, [], WeightStore())
