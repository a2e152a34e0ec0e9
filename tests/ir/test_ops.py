"""Each op's verifier: what it infers, and what it says where the text is wrong."""

import pytest
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, f32, f64, i1, i32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.utils.exceptions import VerifyException

from sparsec.ir import (
    AttentionOp,
    ConcatOp,
    ConvOp,
    ConvTransposeOp,
    CumsumOp,
    DeinterleaveOp,
    ExpandOp,
    GatherOp,
    InterleaveOp,
    LrnOp,
    MapOp,
    MatmulOp,
    NormOp,
    PadOp,
    PoolOp,
    ReduceOp,
    RelayoutOp,
    ReshapeOp,
    ResizeOp,
    ScatterOp,
    SelectBlocksOp,
    SliceOp,
    SoftmaxOp,
    Sp,
    TensorType,
    TopkOp,
    TransposeOp,
    WeightOp,
    YieldOp,
    identity_region,
    parse_module,
    print_module,
    type_of,
)
from sparsec.ir.dims import symbol

N = symbol("n")


def values(*shapes, element=f32):
    return Block(arg_types=[TensorType(shape, element) for shape in shapes]).args


def sum_region(count=2, element=f32):
    block = Block(arg_types=[element] * count)
    total = arith.AddfOp(block.args[0], block.args[1])
    block.add_ops([total, YieldOp(total.result)])
    return Region(block)


def conv(x, w, **changes):
    options = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, **changes}
    return ConvOp(*values(x, w), **options)


def pool(x, **changes):
    options = {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [1, 1], "pads": [0] * 4, **changes}
    return PoolOp(values(x)[0], "max", **options)


def attention(query, key, value, *extras, heads=4, score=None, **options):
    query, key, value, *extras = values(query, key, value, *extras)
    return AttentionOp(query, key, value, heads, extras=extras, score=score, **options)


def masked(mask=None, selection=None, block=0):
    mask = mask and values(mask, element=i1)[0]
    selection = selection and values(selection, element=i32)[0]
    return AttentionOp(*values(TOKENS, TOKENS, TOKENS), 4, mask=mask, selection=selection, block=block)


GOOD = {
    "attention": (
        lambda: attention(
            (1, 32, N * 7, 1),
            (1, 16, N * 5, 1),
            (1, 6, N * 5, 1),
            (N, 1, 1, 5),
            kv_heads=2,
            sequences=N,
            score=sum_region(),
        ),
        ["(1, 12, 7*n, 1)"],
    ),
    "conv": (lambda: conv((N, 4, 9, 9), (6, 2, 3, 3), strides=[2, 2], groups=2), ["(n, 6, 4, 4)"]),
    "conv_transpose": (
        lambda: ConvTransposeOp(*values((1, 4, N), (4, 3, 3)), [2], [1], [1, 1], [1], 2),
        ["(1, 6, 2*n)"],
    ),
    "matmul": (lambda: MatmulOp(*values((N, 1, 3, 4), (5, 6, 4)), False, True), ["(n, 5, 3, 6)"]),
    "map": (lambda: MapOp(values((N, 1, 3), (4, 1)), sum_region()), ["(n, 4, 3)"]),
    "reduce": (lambda: ReduceOp(values((2, N, 3))[0], "sum", [1, 2], True), ["(2, 1, 1)"]),
    "argmax": (lambda: ReduceOp(values((2, N, 3))[0], "argmax", [1], False), ["(2, 3)"]),
    "softmax": (lambda: SoftmaxOp(values((2, N))[0], [1]), ["(2, n)"]),
    "norm": (lambda: NormOp(values((2, N))[0], [1], 1e-5), ["(2, n)"]),
    "lrn": (lambda: LrnOp(values((2, N))[0], 5, 1.0, 1.0, 1.0), ["(2, n)"]),
    "cumsum": (lambda: CumsumOp(values((2, N))[0], 1), ["(2, n)"]),
    "interleave": (lambda: InterleaveOp(values((12, N, 5, 6))[0], 4, 2), ["(3, n, 3, 12)"]),
    "deinterleave": (lambda: DeinterleaveOp(values((3, N, 5, 12))[0], 4), ["(12, n, 5, 3)"]),
    "relayout": (lambda: RelayoutOp(values((2, N))[0], None), ["(2, n)"]),
    "pool": (lambda: pool((1, 3, 5, N * 2), overhang=[1, 0]), ["(1, 3, 3, n)"]),
    "topk": (lambda: TopkOp(values((2, N))[0], 3, 1), ["(2, 3)", "(2, 3)"]),
    "reshape": (lambda: ReshapeOp(values((2, N, 3))[0], [N * 6]), ["(6*n)"]),
    "transpose": (lambda: TransposeOp(values((2, N, 3))[0], [2, 0, 1]), ["(3, 2, n)"]),
    "slice": (lambda: SliceOp(values((9, N))[0], [8, 0], [-2, 1], [5, N]), ["(5, n)"]),
    "concat": (lambda: ConcatOp(values((2, N), (2, 3)), 1), ["(2, n + 3)"]),
    "pad": (lambda: PadOp(values((2, N))[0], [1, -1], [0, 3]), ["(3, n + 2)"]),
    "take": (lambda: GatherOp(*values((2, N, 3), (4, 5)), "take", 1), ["(2, 4, 5, 3)"]),
    "elements": (lambda: GatherOp(*values((2, N), (2, 5)), "elements", 1), ["(2, 5)"]),
    "nd": (lambda: GatherOp(*values((2, N, 3), (2, 5, 1)), "nd", 0, 1), ["(2, 5, 3)"]),
    "select_blocks": (lambda: SelectBlocksOp(*values(TOKENS, TOKENS), 4, 4, 2, 2, 1), ["(2, 4, 2, 1)"]),
    "scatter": (lambda: ScatterOp(*values((2, N), (1, 1), (1, N)), "nd"), ["(2, n)"]),
    "resize": (lambda: ResizeOp(values((1, 3, N, 4))[0], [1, 3, N * 2, 8], [1, 1, 2, 2]), ["(1, 3, 2*n, 8)"]),
    "expand": (lambda: ExpandOp(values((3, 1))[0], [N, 3, 4]), ["(n, 3, 4)"]),
    "weight": (lambda: WeightOp("w", TensorType([2, 3], f32)), ["(2, 3)"]),
}


@pytest.mark.parametrize("name", GOOD)
def test_inferred_shapes(name):
    build, shapes = GOOD[name]
    op = build()
    op.verify()
    assert [f"({', '.join(map(str, type_of(result).shape))})" for result in op.results] == shapes


def test_all_ops_are_here():
    assert {type(build()) for build, _ in GOOD.values()} | {YieldOp} == set(Sp.operations)


TOKENS = (1, 32, 6, 1)

BAD = {
    "interleaved": (lambda: InterleaveOp(values((12, 3, 5, 6))[0], 5), "12 does not divide into 5"),
    "rows of images": (lambda: InterleaveOp(values((12, 3, 5))[0], 4), "4 images of 12x3x5 cannot be interleaved"),
    "apart": (lambda: DeinterleaveOp(values((1, 3, 5, 12))[0], 5), "12 does not divide into 5"),
    "token form": (lambda: attention((32, 6, 1, 1), TOKENS, TOKENS), "query is .* not f32 in token form"),
    "heads": (lambda: attention(TOKENS, TOKENS, TOKENS, heads=5), "32 channels of query do not divide into 5 heads"),
    "kv_heads": (lambda: attention(TOKENS, TOKENS, TOKENS, kv_heads=3), "4 heads do not divide into 3 groups"),
    "sequences": (lambda: attention(TOKENS, TOKENS, TOKENS, sequences=4), "6 tokens of query do not divide into 4"),
    "depths": (lambda: attention(TOKENS, (1, 16, 6, 1), TOKENS), "of the query have 8 channels, of the key 4"),
    "values": (lambda: attention(TOKENS, TOKENS, (1, 32, 5, 1)), "there are 6 keys for 5 values"),
    "extra": (
        lambda: attention(TOKENS, TOKENS, TOKENS, (2, 4, 6, 6), score=sum_region()),
        "an operand of the score is larger than the scores 1x4x6x6",
    ),
    "mask": (lambda: masked(mask=(2, 6, 6)), r"the mask is .*should be !sp.tensor<\[4, 6, 6\], i1>, or for 1 head"),
    "selection": (lambda: masked(selection=(1, 4, 2, 3), block=2), r"should be i32 \[1, 4, 3, kept\]"),
    "depths of a selection": (
        lambda: SelectBlocksOp(*values(TOKENS, TOKENS), 4, 2, 1, 2, 1),
        "heads of the query and of the key differ",
    ),
    "channels": (
        lambda: conv((1, 4, 9, 9), (6, 3, 3, 3)),
        "input has 4 channels, weight 6x3x3x3 with 1 groups reads 3",
    ),
    "groups": (lambda: conv((1, 4, 9, 9), (5, 2, 3, 3), groups=2), "5 output channels do not divide into 2 groups"),
    "ranks": (lambda: conv((1, 4, 9), (5, 4, 3, 3)), "ranks do not fit: input 1x4x9, weight 5x4x3x3"),
    "window": (lambda: conv((1, 4, 2, 9), (5, 4, 3, 3)), "a window of 3 .* does not fit 2 elements"),
    "transposed": (
        lambda: ConvTransposeOp(*values((1, 3, 5), (4, 3, 3)), [1], [1], [0, 0], [0]),
        "input has 3 channels, weight 4x3x3 reads 4",
    ),
    "inner": (lambda: MatmulOp(*values((2, 3), (4, 5))), "inner sizes 3 and 4 of 2x3 and 4x5 differ"),
    "rank of matmul": (lambda: MatmulOp(*values((3,), (3, 5))), "takes operands of rank 2 or more, not 3 and 3x5"),
    "symbols": (lambda: MatmulOp(*values((2, N), (3, 5))), "inner sizes n and 3"),
    "batches": (lambda: MatmulOp(*values((2, 3, 4), (3, 4, 5))), "do not broadcast"),
    "broadcast": (lambda: MapOp(values((2, 3), (4,)), sum_region()), "shapes 2x3 and 4 do not broadcast"),
    "arguments": (lambda: MapOp(values((2,), (2,)), sum_region(3)), "the region takes .* its operands are"),
    "types of arguments": (lambda: MapOp(values((2,), (2,)), sum_region(element=f64)), "the region takes .*f64"),
    "no yield": (lambda: MapOp(values((2,)), Region(Block(arg_types=[f32]))), "the region does not end in sp.yield"),
    "epilogue": (
        lambda: MatmulOp(*values((2, 3), (3, 4)), extras=values((5, 2, 4)), epilogue=sum_region()),
        "an operand of the epilogue is larger than the result 2x4",
    ),
    "axes": (lambda: ReduceOp(values((2, 3))[0], "sum", [2], True), r"axes \[2\] are outside 2x3"),
    "reduction": (lambda: ReduceOp(values((2, 3))[0], "median", [1], True), "no reduction called 'median'"),
    "pool": (lambda: pool((1, 3, 1, 4)), "a window of 2 .* does not fit 1 elements"),
    "k": (lambda: TopkOp(values((2, 3))[0], 4, 1), "k = 4 is outside axis 1 of 2x3"),
    "elements": (lambda: ReshapeOp(values((2, 3))[0], [5]), "2x3 and 5 differ in elements"),
    "permutation": (lambda: TransposeOp(values((2, 3))[0], [1, 1]), r"\[1, 1\] is no permutation of 2 axes"),
    "slice": (lambda: SliceOp(values((4,))[0], [2], [1], [3]), "elements 2 to 4 are outside an axis of 4"),
    "slice rank": (lambda: SliceOp(values((4, 4))[0], [2], [1], [2]), "needs 2 starts, steps and sizes"),
    "concat": (lambda: ConcatOp(values((2, 3), (3, 3)), 1), "cannot concatenate 2x3 and 3x3 along axis 1"),
    "depth": (lambda: GatherOp(*values((2, 3), (4, 3)), "nd"), "indices 4x3 reach beyond 2x3"),
    "gather": (lambda: GatherOp(*values((2, 3), (4, 3)), "all"), "no gather called 'all'"),
    "expand": (lambda: ExpandOp(values((3,))[0], [4]), "3.*4"),
    "two types": (lambda: MatmulOp(*values((2, 3)), *values((3, 4), element=f64)), "elements of type f32 and f64"),
    "two axes": (lambda: ReduceOp(values((2, 3))[0], "argmax", [0, 1], True), r"argmax takes one axis, not \[0, 1\]"),
    "same axes": (lambda: ReduceOp(values((2, 3))[0], "sum", [1, 1], True), r"axes \[1, 1\] are not all different"),
    "softmax axes": (lambda: SoftmaxOp(values((2, 3))[0], [-1]), r"axes \[-1\] are outside 2x3"),
    "norm axes": (lambda: NormOp(values((2, 3))[0], [2], 1e-5), r"axes \[2\] are outside 2x3"),
    "cumsum axis": (lambda: CumsumOp(values((2, 3))[0], 2), r"axes \[2\] are outside 2x3"),
    "concat axis": (lambda: ConcatOp(values((2, 3), (2, 3)), 2), r"axes \[2\] are outside 2x3"),
    "concat types": (lambda: ConcatOp([*values((2,)), *values((2,), element=i64)], 0), "of 2 types, not of one"),
    "take axis": (lambda: GatherOp(*values((2, 3), (4,)), "take", 2), r"axes \[2\] are outside 2x3"),
    "rank of indices": (lambda: GatherOp(*values((2, 3), (4,)), "elements"), "4 and 2x3 differ in rank"),
    "padding": (lambda: PadOp(values((2,))[0], [1], [1], "mirror"), "no padding called 'mirror'; there are constant"),
    "pooling": (
        lambda: PoolOp(values((1, 1, 4))[0], "lp", [2], [1], [1], [0, 0]),
        "no pooling called 'lp'; there are max, average",
    ),
    "scatter": (lambda: ScatterOp(*values((2, 3), (1, 2), (1, 3)), "nd"), "into 2x3 do not go with updates 1x3"),
    "scatter reduction": (
        lambda: ScatterOp(*values((2, 3), (1, 1), (1, 3)), "nd", 0, "mean"),
        "no reduction called 'mean'",
    ),
    "mode": (lambda: ResizeOp(values((2,))[0], [4], [2.0], "area"), "no interpolation called 'area'"),
    "scales": (lambda: ResizeOp(values((2, 2))[0], [4, 4], [2.0]), "needs as many positive scales and sizes"),
    "zero scale": (lambda: ResizeOp(values((2,))[0], [4], [0.0]), "needs as many positive scales and sizes"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_verifier_says(name):
    """The reason comes from the constructor where that needs the shape, else from the verifier."""
    build, message = BAD[name]
    with pytest.raises((VerifyException, ValueError), match=message):
        build().verify()


def test_the_verifier_compares_the_stated_result():
    text = """
func.func @main(%x: !sp.tensor<[2, 3], f32>) -> !sp.tensor<[RESULT]> {
  %y = "sp.softmax"(%x) <{axes = array<i64: 1>, log = false}> {node = "head"}
      : (!sp.tensor<[2, 3], f32>) -> !sp.tensor<[RESULT]>
  func.return %y : !sp.tensor<[RESULT]>
}"""
    for result in ("2, 4], f32", "2, 3], f64"):
        with pytest.raises(VerifyException, match=r"sp\.softmax \(head\): result is .*, should be .*2, 3\], f32"):
            parse_module(text.replace("RESULT]", result))


@pytest.mark.parametrize("name", GOOD)
def test_text_is_read_back(name):
    """Print, parse, print again: nothing changes."""
    op = GOOD[name][0]()
    types = [operand.type for operand in op.operands]
    block = Block(arg_types=types)
    for index, argument in enumerate(block.args):
        op.operands[index] = argument
    block.add_op(op)
    text = print_module(_function(block, op))
    assert print_module(parse_module(text)) == text


def _function(block, op):
    types = [result.type for result in op.results]
    block.add_op(ReturnOp(*op.results))
    return ModuleOp([FuncOp("main", ([arg.type for arg in block.args], types), Region(block))])


def test_identity_region_yields_its_first_argument():
    region = identity_region([f32, i1])
    assert region.block.last_op.inputs[0] is region.block.args[0]
    assert TopkOp(values((4,))[0], 2, 0).indices.type.element == i64
