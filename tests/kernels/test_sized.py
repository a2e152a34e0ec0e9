"""Kernels over sizes that only the run knows: each compiled once, run at many sizes, on every ISA."""

from kernel_runner import every_isa
from sized_runner import Sized, check_sized
from xdsl.dialects import arith
from xdsl.ir import Block, Region

from sparsec.ir import MapOp, Panel, YieldOp, type_of
from sparsec.ir.dims import symbol
from sparsec.targets.kernels import map as maps

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
