"""What people see when passes cannot go on."""

import pytest
from graphs import FakeTarget, Graph, random_model

from sparsec.errors import InvalidModel, UnsupportedModel, UsageError
from sparsec.ir import SoftmaxOp
from sparsec.opt import parse_model, parse_passes, run_passes
from sparsec.passes import ChooseFormats, FixDims, run_pipeline

SYMBOLIC = """
func.func @main(%x: !sp.tensor<["n", "s"], f32>) -> !sp.tensor<["n", "s"], f32> {
  func.return %x : !sp.tensor<["n", "s"], f32>
}
"""


def test_sizes_that_are_not_fixed_are_named():
    with pytest.raises(UsageError, match="model has sizes that are not fixed: give --dim s=SIZE"):
        run_pipeline(parse_model(SYMBOLIC), [FixDims({"n": 1})])


def test_sizes_that_do_not_exist_are_named():
    with pytest.raises(UsageError, match="model has no dimension batch: it has n, s"):
        run_pipeline(parse_model(SYMBOLIC), [FixDims({"batch": 1})])


def test_some_sizes_may_stay_symbolic():
    assert '["n", 3]' in run_passes(SYMBOLIC, ["fix_dims{s=3 partial}"])


def test_sizes_that_do_not_fit_are_reported():
    text = """
    func.func @main(%x: !sp.tensor<["n"], f32>) -> !sp.tensor<[4], f32> {
      %y = "sp.slice"(%x) <{starts = array<i64: 3>, steps = array<i64: 1>}>
        : (!sp.tensor<["n"], f32>) -> !sp.tensor<[4], f32>
      func.return %y : !sp.tensor<[4], f32>
    }
    """
    with pytest.raises(UsageError, match=r"model does not work with n = 5: .*elements 3 to 6 are outside an axis of 5"):
        run_pipeline(parse_model(text), [FixDims({"n": 5})])


def test_all_ops_without_kernels_are_listed():
    class Nothing(FakeTarget):
        def candidates(self, op, weights):
            return [] if isinstance(op, SoftmaxOp) else super().candidates(op, weights)

    graph = Graph(0, [(2, 3)])
    first = graph.add(SoftmaxOp(graph.block.args[0], [0]))
    model = graph.finish([graph.add(SoftmaxOp(first, [1]))])
    with pytest.raises(
        UnsupportedModel, match=r"fake has no kernel for 2 ops of model:\n.*softmax 2x3 -> 2x3\n.*softmax"
    ):
        run_pipeline(model, [ChooseFormats()], Nothing())


def test_decisions_say_why():
    model, _ = random_model(3, 20)
    for decision in run_pipeline(model, [ChooseFormats()], FakeTarget()).decisions:
        assert decision.seconds == decision.alternatives[0].seconds
        assert {alternative.format for alternative in decision.alternatives} == {"dense", "d0: dense, d1: compressed"}
        assert "x the speed of" in decision.reason


def test_formats_can_be_forced():
    for step, expected in ((ChooseFormats("dense"), "dense"), (ChooseFormats("sparse"), "d0: dense, d1: compressed")):
        model, _ = random_model(3, 20)
        decisions = run_pipeline(model, [step], FakeTarget()).decisions
        assert decisions
        assert {decision.format for decision in decisions} == {expected}


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("fold", "no pass called fold; there are fix_dims, fold_constants"),
        ("choose_formats{formats=best}", "choose_formats: Incompatible types"),
        ("fold_constants{speed=1}", "fold_constants: .*speed"),
        ("fold_constants}", "passes are written name,name"),
    ],
)
def test_wrong_passes(passes, message):
    with pytest.raises(UsageError, match=message):
        parse_passes(passes)


@pytest.mark.parametrize(
    ("content", "message"),
    [("many", "'many' is none of zeros, ones"), ("[1, 2", "weight @w = "), ("[1, 2, 3]", "cannot reshape")],
)
def test_wrong_weights(content, message):
    text = f"""
    // weight @w = {content}
    func.func @main() -> !sp.tensor<[2], f32> {{
      %w = "sp.weight"() <{{ref = @w}}> : () -> !sp.tensor<[2], f32>
      func.return %w : !sp.tensor<[2], f32>
    }}
    """
    with pytest.raises(InvalidModel, match=message):
        parse_model(text)


def test_text_that_is_no_module():
    with pytest.raises(InvalidModel, match="not a valid module"):
        parse_model("func.func @main(")
