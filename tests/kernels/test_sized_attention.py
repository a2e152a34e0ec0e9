"""sp.attention over sequences of which only the run knows how many there are, and how long."""

import numpy as np
from kernel_runner import every_isa
from sized_runner import Sized, at, check_sized
from xdsl.dialects.builtin import f32, i1

from sparsec.ir import AttentionOp, Panel
from sparsec.ir.dims import symbol
from sparsec.ir.scalar import region
from sparsec.targets.kernels import attention

B, S, K = symbol("b"), symbol("s"), symbol("k")
ADDED = region([f32, f32], lambda x, mask: x * 0.3 + mask)
CHOSEN = region([f32, i1], lambda x, keep: keep.select(x * 0.3, x.constant(-3e38)))
SIZES = [{"b": b, "s": s} for b, s in [(1, 1), (3, 5), (2, 16), (1, 33), (2, 64), (1, 128), (3, 70), (1, 200)]]
HEADS, DEPTH = 2, 12


def attend(queries, keys, masks=(), score=None, sequences=B, **options):
    def build(env, q, k, v, *extras):
        body = (score or region([f32], lambda x: x * 0.3)).clone()
        return AttentionOp(q, k, v, HEADS, at(sequences, env), HEADS, False, extras, body)

    shapes = [(1, HEADS * DEPTH, sequences * length, 1) for length in (queries, keys, keys)]
    return Sized(build, [*shapes, *masks], rtol=2e-5, atol=2e-5, **options)


def some(*shape):
    return np.random.default_rng(1).random(shape) > 0.4


@every_isa
def test_panels(isa):
    cases = [attend(S, S, panels=Panel(128, 144)), attend(S, S, sequences=1, panels=Panel(64, 64)), attend(S, S)]
    check_sized(attention.lower, cases, isa, SIZES, flush=False)


@every_isa
def test_masks(isa):
    cases = [
        attend(S, S, [(B, 1, 1, S)], ADDED, panels=Panel(128, 144)),
        attend(S, S, [(B, 1, S, S)], CHOSEN, panels=Panel(128, 144), makes={3: some}),
        attend(S, S, [(S, S)], ADDED, panels=Panel(128, 144)),
    ]
    check_sized(attention.lower, cases, isa, SIZES, flush=False)


@every_isa
def test_other_keys(isa):
    cases = [attend(S, 40, panels=Panel(128, 144)), attend(20, S, panels=Panel(128, 128))]
    check_sized(attention.lower, cases, isa, SIZES, flush=False)
