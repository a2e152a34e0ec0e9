"""Kernels over sizes that only the run knows: each compiled once, run at many sizes, on every ISA."""

from kernel_runner import every_isa
from sized_runner import Sized, check_sized
from xdsl.dialects import arith
from xdsl.ir import Block, Region

from sparsec.ir import CumsumOp, MapOp, NormOp, Panel, ReduceOp, SoftmaxOp, YieldOp, type_of
from sparsec.ir.dims import symbol
from sparsec.targets.kernels import map as maps
from sparsec.targets.kernels.reductions import cumsum, norm, reduce, softmax

B, S = symbol("b"), symbol("s")
SIZES = [{"b": b, "s": s} for b, s in [(1, 1), (1, 2), (3, 5), (2, 16), (1, 37), (2, 64), (1, 128), (3, 43), (5, 101)]]
TOKENS = Panel(128, 128)


def adding(env, *inputs):
    block = Block(arg_types=[type_of(x).element for x in inputs])
    total = block.args[0]
    for other in block.args[1:]:
        op = arith.AddfOp(total, other)
        block.add_op(op)
        total = op.result
    block.add_op(YieldOp(total))
    return MapOp(inputs, Region(block))


@every_isa
def test_maps(isa):
    shapes = [
        [(B, S), (B, S)],
        [(B, S, 64), (64,)],
        [(B, S, 20), (B, S, 1)],
        [(B, 3, S), (B, 1, S)],
        [(B, 2, S, S), (B, 1, 1, S)],
        [(B * S,), ()],
        [(2, S), (2, 1)],
    ]
    check_sized(maps.lower, [Sized(adding, list(pair)) for pair in shapes], isa, SIZES)


@every_isa
def test_maps_of_tokens(isa):
    image = (1, 70, B * S, 1)
    shapes = [[image, image], [image, (1, 70, 1, 1)], [image, ()], [image, (1, 1, B * S, 1)]]
    check_sized(maps.lower, [Sized(adding, pair, TOKENS) for pair in shapes], isa, SIZES)


@every_isa
def test_softmax_and_norm(isa):
    shapes = [((B, 2, S, S), (3,)), ((B, S, 24), (2,)), ((B, S, 24), (1,)), ((3, S), (0,)), ((B, S), (0, 1))]
    cases = [Sized(lambda env, x, axes=axes: SoftmaxOp(x, axes), [shape]) for shape, axes in shapes]
    check_sized(softmax.lower, cases, isa, SIZES)
    cases = [Sized(lambda env, x, axes=axes: NormOp(x, axes, 1e-5), [shape], atol=2e-5) for shape, axes in shapes]
    check_sized(norm.lower, cases, isa, SIZES)


@every_isa
def test_norm_of_tokens(isa):
    image = (1, 40, B * S, 1)
    cases = [
        Sized(lambda env, x, axes=axes: NormOp(x, axes, 1e-5), [image], TOKENS, atol=2e-5) for axes in [(1,), (2,)]
    ]
    check_sized(norm.lower, cases, isa, SIZES)
    check_sized(softmax.lower, [Sized(lambda env, x: SoftmaxOp(x, (1,)), [image], TOKENS)], isa, SIZES)


@every_isa
def test_reductions(isa):
    shapes = [((B, S, 24), (1,)), ((B, S, 24), (2,)), ((B, S, S), (0, 2)), ((S,), (0,)), ((5, B * S, 3), (1, 2))]
    for kind in ("sum", "mean", "max", "argmax"):
        chosen = [(shape, axes) for shape, axes in shapes if kind != "argmax" or len(axes) == 1]
        cases = [
            Sized(lambda env, x, axes=axes, kind=kind: ReduceOp(x, kind, axes, True), [shape], rtol=1e-4, atol=1e-4)
            for shape, axes in chosen
        ]
        check_sized(reduce.lower, cases, isa, SIZES)


@every_isa
def test_reductions_of_tokens(isa):
    image = (1, 40, B * S, 1)
    cases = [
        Sized(lambda env, x, axes=axes: ReduceOp(x, "mean", axes, True), [image], TOKENS, rtol=1e-4, atol=1e-5)
        for axes in [(1,), (2, 3)]
    ]
    check_sized(reduce.lower, cases, isa, SIZES)


@every_isa
def test_running_sums(isa):
    shapes = [((B, S, 20), 1), ((B, S), 1), ((B, S), 0)]
    cases = [
        Sized(lambda env, x, axis=axis: CumsumOp(x, axis, False, True), [shape], rtol=1e-4, atol=1e-5)
        for shape, axis in shapes
    ]
    check_sized(cumsum.lower, cases, isa, SIZES)
