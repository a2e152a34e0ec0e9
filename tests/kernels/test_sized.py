"""Kernels over sizes that only the run knows: each compiled once, run at many sizes, on every ISA."""

import numpy as np
from kernel_runner import every_isa
from sized_runner import Sized, at, check_sized
from xdsl.dialects import arith
from xdsl.ir import Block, Region

from sparsec.ir import (
    ConcatOp,
    CumsumOp,
    ExpandOp,
    GatherOp,
    MapOp,
    MatmulOp,
    NormOp,
    PadOp,
    Panel,
    PanelAttr,
    ReduceOp,
    RelayoutOp,
    ReshapeOp,
    ScatterOp,
    SliceOp,
    SoftmaxOp,
    TransposeOp,
    YieldOp,
    type_of,
)
from sparsec.ir.dims import symbol
from sparsec.targets.kernels import map as maps
from sparsec.targets.kernels import matmul, movement
from sparsec.targets.kernels.indexing import gather, scatter
from sparsec.targets.kernels.reductions import cumsum, norm, reduce, softmax

RANDOM = np.random.default_rng(7)
B, S = symbol("b"), symbol("s")
SIZES = [{"b": b, "s": s} for b, s in [(1, 1), (3, 5), (2, 16), (1, 37), (1, 128), (5, 101)]]
TOKENS = Panel(128, 144)


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


def moving(build, *shapes, **options):
    return Sized(build, list(shapes), **options)


@every_isa
def test_transposes(isa):
    cases = [
        moving(lambda env, x, p=perm: TransposeOp(x, p), shape)
        for shape, perm in [
            ((B, S, 40), (0, 2, 1)),
            ((B * S, 40), (1, 0)),
            ((B, S, 3, 8), (0, 2, 1, 3)),
            ((B, 3, S, 8), (0, 1, 3, 2)),
            ((S, B), (1, 0)),
        ]
    ]
    check_sized(movement.lower, cases, isa, SIZES)


@every_isa
def test_slices_and_concatenations(isa):
    cases = [
        moving(lambda env, x: SliceOp(x, (0, 0, 0), (1, 1, 1), (at(B, env), 1, 24)), (B, S, 24)),
        moving(lambda env, x: SliceOp(x, (0, 0, 3), (1, 1, 2), (at(B, env), at(S, env), 5)), (B, S, 24)),
        moving(lambda env, x, y: ConcatOp([x, y], 1), (B, S, 24), (B, 3, 24)),
        moving(lambda env, x, y: ConcatOp([x, y], 2), (B, S, 24), (B, S, 5)),
        moving(lambda env, x, y: ConcatOp([x, y], 1), (B, S), (B, 2 * S)),
        moving(lambda env, x: ExpandOp(x, (at(B, env), 3, at(S, env), at(S, env))), (B, 1, 1, S)),
        moving(lambda env, x: ExpandOp(x, (at(B, env), at(S, env), 20)), (1, 1, 20)),
        moving(lambda env, x: ReshapeOp(x, (at(B * S, env), 24)), (B, S, 24)),
        moving(lambda env, x: PadOp(x, (0, 1, 0), (0, 2, 0), "constant", 0.5), (B, S, 7)),
        moving(lambda env, x: PadOp(x, (0, 1), (0, 2), "constant", 0.5), (B, S)),
    ]
    check_sized(movement.lower, cases, isa, SIZES)


@every_isa
def test_into_and_out_of_panels_of_tokens(isa):
    panels, tokens = PanelAttr(TOKENS), (1, 40, B * S, 1)
    cases = [
        Sized(lambda env, x: RelayoutOp(x, panels), [tokens], TOKENS, plain=[0]),
        Sized(lambda env, x: RelayoutOp(x, None), [tokens], TOKENS, plain_result=True),
        Sized(lambda env, x, y: ConcatOp([x, y], 1), [tokens, (1, 8, B * S, 1)], TOKENS),
        Sized(lambda env, x: SliceOp(x, (0, 8, 0, 0), (1, 1, 1, 1), (1, 16, at(B * S, env), 1)), [tokens], TOKENS),
    ]
    check_sized(movement.lower, cases, isa, SIZES)


def places(most):
    return lambda *shape: RANDOM.integers(-most, most, shape)


@every_isa
def test_gathers(isa):
    cases = [
        Sized(lambda env, x, i: GatherOp(x, i, "take", axis=0), [(50, 24), (B, S)], makes={1: places(50)}),
        Sized(lambda env, x, i: GatherOp(x, i, "take", axis=1), [(B, S, 24), (3,)], makes={1: places(1)}),
        Sized(lambda env, x, i: GatherOp(x, i, "take", axis=1), [(B, 9, S), (2,)], makes={1: places(9)}),
        Sized(lambda env, x, i: GatherOp(x, i, "take", axis=1), [(B, S), (1,)], makes={1: places(1)}),
        Sized(lambda env, x, i: GatherOp(x, i, "elements", axis=1), [(B, 11), (B, S)], makes={1: places(11)}),
        Sized(lambda env, x, i: GatherOp(x, i, "nd"), [(7, S), (B, 1)], makes={1: places(7)}),
    ]
    check_sized(gather.lower, cases, isa, SIZES)


@every_isa
def test_scatters(isa):
    cases = [
        Sized(
            lambda env, x, i, u: ScatterOp(x, i, u, "elements", axis=1, reduction="add"),
            [(B, 11), (B, S), (B, S)],
            makes={1: places(11)},
            rtol=1e-4,
            atol=1e-5,
        ),
        Sized(
            lambda env, x, i, u: ScatterOp(x, i, u, "nd", reduction="add"),
            [(7, S), (B, 1), (B, S)],
            makes={1: places(7)},
        ),
    ]
    check_sized(scatter.lower, cases, isa, SIZES)


@every_isa
def test_products(isa):
    pairs = [
        ((B, 2, S, 20), (B, 2, S, 20), False, True),
        ((B, 2, S, S), (B, 2, S, 20), False, False),
        ((B, S, 20), (20, 33), False, False),
        ((S, B), (S, 2 * S), True, False),
        ((B, 3, 5), (B, 5, 7), False, False),
    ]
    cases = [
        Sized(lambda env, x, y, ta=ta, tb=tb: MatmulOp(x, y, ta, tb), [x, y], rtol=1e-5, atol=1e-5)
        for x, y, ta, tb in pairs
    ]
    check_sized(matmul.lower, cases, isa, [*SIZES, {"b": 1, "s": 260}])
