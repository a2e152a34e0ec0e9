"""Each invariant finds its fault, and the error names step and op."""

import numpy as np
import pytest
from xdsl.dialects.builtin import StringAttr, f32
from xdsl.rewriter import Rewriter

from sparsec import invariants
from sparsec.formats import CSR, n_m
from sparsec.invariants import BrokenInvariant, verify
from sparsec.ir import FormatAttr, TensorType, WeightOp, parse_module
from sparsec.model import Model
from sparsec.weights import WeightStore

TEXT = """
func.func @main(%x: !sp.tensor<[1, 8, 4, 4], f32>) -> !sp.tensor<[1, 8, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[8, 8, 1, 1], f32>
  %p = "sp.relayout"(%x) : (!sp.tensor<[1, 8, 4, 4], f32>) -> !sp.tensor<[1, 8, 4, 4], f32, #sp.panel<IN>>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>,
      groups = 1 : i64}> ({
    ^bb0(%a: f32):
      "sp.yield"(%a) : (f32) -> ()
  }) {node = "first"} : (!sp.tensor<[1, 8, 4, 4], f32, #sp.panel<IN>>, !sp.tensor<[8, 8, 1, 1], f32>)
      -> !sp.tensor<[1, 8, 4, 4], f32, #sp.panel<OUT>>
  %z = "sp.relayout"(%y) : (!sp.tensor<[1, 8, 4, 4], f32, #sp.panel<OUT>>) -> !sp.tensor<[1, 8, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 8, 4, 4], f32>
}
"""


def build(in_panel="rows = 4, stride = 16", out_panel="rows = 4, stride = 16"):
    weights = WeightStore()
    weights["w"] = np.ones((8, 8, 1, 1), np.float32)
    text = TEXT.replace("IN", in_panel).replace("OUT", out_panel)
    return Model(parse_module(text), weights)


set_type = Rewriter.replace_value_with_new_type


def weight(model):
    return next(op for op in model.module.walk() if isinstance(op, WeightOp))


def retype(model, encoding):
    result = weight(model).result
    set_type(result, result.type.with_encoding(encoding))


def test_a_good_model_passes():
    verify(build(), ["fix_dims", "legalize_spatial"])


def test_the_error_names_step_invariant_and_op():
    with pytest.raises(BrokenInvariant, match=r"after choose_formats, kernels_are_chosen .*\n  first \(sp.conv\) has"):
        verify(build(), ["fix_dims", "choose_formats"])


def test_types_verify():
    model = build()
    set_type(model.main.body.block.args[0], weight(model).result.type)
    assert invariants.types_verify(model)


def test_main_is_plain():
    model = build()
    model.main.attributes["output_names"] = StringAttr("y")
    assert invariants.main_is_plain(model) == []
    model.main.body.block.add_op(WeightOp("w", weight(model).result.type))
    assert "main does not end in func.return" in invariants.main_is_plain(model)


def test_no_dead_ops():
    model = build()
    model.main.body.block.insert_op_before(WeightOp("w", weight(model).result.type), weight(model))
    assert invariants.no_dead_ops(model) == ["sp.weight has no reader"]


def test_weights_are_stored():
    model = build()
    model.weights["w"] = np.ones((8, 8))
    assert invariants.weights_are_stored(model)[0].startswith("weight @w is float64 8x8, its type is")
    del model.weights["w"]
    assert invariants.weights_are_stored(model) == ["weight @w is not in the store"]


@pytest.mark.parametrize(
    ("in_panel", "out_panel", "problem"),
    [
        ("rows = 4, stride = 16", "rows = 2, stride = 16", "images of 4x4 have several panel layouts"),
        ("rows = 4, stride = 24", "rows = 4, stride = 24", "4 rows of 4 do not fit a stride of 24"),
        ("rows = 8, stride = 16", "rows = 8, stride = 16", "8 rows of 4 do not fit a stride of 16"),
    ],
)
def test_panels_agree(in_panel, out_panel, problem):
    assert problem in "".join(invariants.panels_agree(build(in_panel, out_panel)))


def test_layouts_are_not_mixed():
    model = build()
    conv = next(op for op in model.module.walk() if op.name == "sp.conv")
    set_type(conv.result, conv.result.type.with_encoding(None))
    assert invariants.panels_agree(model) == ["first (sp.conv) mixes layouts: 1x8x4x4 in panels and row-major"]


def test_formats():
    model = build()
    retype(model, FormatAttr(CSR))
    assert invariants.formats_fit(model) == invariants.formats_hold_the_weights(model) == []
    retype(model, FormatAttr(n_m(2, 4)))
    assert "4 of 4 elements are not zero" in invariants.formats_hold_the_weights(model)[0]
    set_type(weight(model).result, TensorType([64], f32, FormatAttr(CSR)))
    assert "has 2 dimensions, the weight 1" in invariants.formats_fit(model)[0]


def test_expensive_checks_run_on_demand(monkeypatch):
    model = build()
    retype(model, FormatAttr(n_m(2, 4)))
    monkeypatch.delenv("SPARSEC_VERIFY", raising=False)
    verify(model, ["fuse_maps"])
    monkeypatch.setenv("SPARSEC_VERIFY", "1")
    with pytest.raises(BrokenInvariant, match="formats_hold_the_weights"):
        verify(model, ["fuse_maps"])


def test_what_passes_establish():
    text = """
func.func @main(%x: !sp.tensor<["n", 1, 4], f32>) -> !sp.tensor<["n", 1, 3], f32> {
  %y = "sp.pool"(%x) <{kind = "max", kernel_shape = array<i64: 2>, strides = array<i64: 1>, dilations = array<i64: 1>,
      pads = array<i64: 0, 0>, overhang = array<i64: 0>, count_pads = false}>
      : (!sp.tensor<["n", 1, 4], f32>) -> !sp.tensor<["n", 1, 3], f32>
  func.return %y : !sp.tensor<["n", 1, 3], f32>
}"""
    model = Model(parse_module(text))
    verify(model, ["fuse_maps"])
    assert invariants.sizes_are_fixed(model) == ["the sizes n are not fixed"]
    assert invariants.spatial_ops_are_legal(model) == ["sp.pool should have been legalised"]
