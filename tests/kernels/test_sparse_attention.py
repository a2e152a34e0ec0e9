"""sp.attention over the tiles that a mask or a selection leaves: empty rows, odd sizes, heads of their own."""

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernels
from op_runner import Case, check, memory
from xdsl.dialects.builtin import StringAttr, f32

from sparsec.interpreter import logical
from sparsec.ir import AttentionOp, Panel, SelectBlocksOp, type_of
from sparsec.ir.ops import KERNEL
from sparsec.ir.scalar import region
from sparsec.patterns import Everything, Pattern, Streaming, Strided, Window, mask_of
from sparsec.targets.isa import BF16_ISAS
from sparsec.targets.kernels import attention
from sparsec.targets.kernels.attention import selection

RANDOM = np.random.default_rng(0)
SCALED = region([f32], lambda x: x * 0.3)
ADDED = region([f32, f32], lambda x, mask: x * 0.3 + mask)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def case(
    b, heads, sq, sk, depth, mask=None, selection=None, block=64, kv_heads=None, extra=None, guard=False, **options
):
    kv_heads = kv_heads or heads
    arrays = [normal(1, count * depth, b * s, 1) for count, s in ((heads, sq), (kv_heads, sk), (kv_heads, sk))]
    given = [x for x in (extra, mask, selection) if x is not None]
    constants = [3 + index for index, x in enumerate(given) if x is mask]

    def build(q, k, v, *rest):
        rest = list(rest)
        extras = [rest.pop(0)] if extra is not None else []
        kept = rest.pop(0) if mask is not None else None
        chosen = rest.pop(0) if selection is not None else None
        score = ADDED if extras else SCALED
        return AttentionOp(q, k, v, heads, b, kv_heads, guard, extras, score.clone(), kept, chosen, block)

    label = f"{b} x {heads} heads, {sq} to {sk}"
    arrays += given
    return Case(build, arrays, constants=constants, label=label, rtol=2e-5, atol=2e-5, **options)


def blocks(heads, sq, sk, rows=32, columns=64, density=0.4, pairs=0.9):
    """Random blocks, and of these random pairs; some queries keep nothing."""
    kept = RANDOM.random((heads, -(-sq // rows), -(-sk // columns))) < density
    kept = kept.repeat(rows, 1).repeat(columns, 2)[:, :sq, :sk] & (RANDOM.random((heads, sq, sk)) < pairs)
    kept[:, sq // 2] = False
    return kept


def pattern(sq, sk, *patterns):
    mask = mask_of(patterns, sq, sk, (32, 64))
    return mask.dense()


@every_isa
def test_blocks(isa):
    cases = [
        case(1, 2, 70, 150, 7, blocks(2, 70, 150), guard=True),
        case(2, 3, 40, 128, 8, blocks(1, 40, 128, 8, 16)),
        case(1, 2, 33, 60, 8, blocks(2, 33, 60, 1, 1), guard=True),
    ]
    check(attention.lower, cases, isa)


@every_isa
def test_patterns(isa):
    """Causal and windows with tails, fewer queries than keys, a pattern a head, in panels, with groups of queries."""
    streaming, window = Pattern(Streaming(16, 40), True), Pattern(Window(50))
    strided = Pattern(Strided(2, 20, 32, 1), True)
    lay = {"panels": Panel(128, 128), "panelled": (0, 1, 2)}
    cases = [
        case(1, 4, 200, 200, 8, pattern(200, 200, streaming, window, strided, Pattern(Everything())), kv_heads=2),
        case(2, 2, 30, 256, 8, pattern(30, 256, streaming, window), **lay),
        case(3, 1, 70, 70, 8, pattern(70, 70, streaming), **lay),
    ]
    check(attention.lower, cases, isa, flush=False)


@every_isa
def test_with_what_a_run_knows(isa):
    """Biases by pair, and padding masks whose dead tiles are left out as well."""
    padding = np.zeros((2, 1, 1, 200), np.float32)
    padding[0, ..., 100:] = -np.inf
    cases = [
        case(1, 2, 100, 200, 8, blocks(2, 100, 200), extra=normal(1, 2, 100, 200)),
        case(2, 2, 100, 200, 8, pattern(100, 200, Pattern(causal=True)), extra=padding),
    ]
    check(attention.lower, cases, isa)


def selected(b, heads, sq, sk, block, kept):
    """Random rows of blocks; some of fewer than could be, or none."""
    count = -(-sk // block)
    result = np.full((b, heads, -(-sq // block), kept), -1, np.int32)
    for place in np.ndindex(*result.shape[:3]):
        number = int(RANDOM.integers(0, min(kept, count) + 1))
        result[place][:number] = np.sort(RANDOM.permutation(count)[:number])
    return result


@every_isa
def test_selections(isa):
    both = pattern(150, 150, Pattern(causal=True), Pattern(Window(70)))
    cases = [
        case(1, 2, 200, 200, 8, selection=selected(1, 2, 200, 200, 64, 2), guard=True),
        case(2, 2, 70, 300, 8, selection=selected(2, 2, 70, 300, 128, 3), block=128),
        case(2, 2, 150, 150, 8, both, selected(2, 2, 150, 150, 64, 2), guard=True),
    ]
    check(attention.lower, cases, isa)


@every_isa
def test_tiles_that_are_left_out_are_not_read(isa):
    kept = np.zeros((1, 40, 256), bool)
    kept[:, :32, :64] = kept[:, 32:, 192:] = True
    one = case(1, 1, 40, 256, 8, kept)
    want = one.expected()[0]
    for array in one.arrays[1:3]:
        array[:, :, 64:192] = np.nan
    (call,) = attention.lower(one.op, one.weights)
    got = run_kernels([(call.kernel, memory(one, call))], isa)[0][-1]
    np.testing.assert_allclose(logical(got, type_of(one.op.result)), want, rtol=2e-5, atol=2e-5)


@every_isa
def test_selecting(isa):
    """Tails, fewer queries than keys, groups of heads, blocks across panels, more to keep than there are."""

    def select(b, heads, kv_heads, sq, sk, depth, block, keep, causal, **options):
        arrays = [normal(1, count * depth, b * s, 1) for count, s in ((heads, sq), (kv_heads, sk))]
        build = lambda q, k: SelectBlocksOp(q, k, heads, kv_heads, b, block, keep, causal)  # noqa: E731
        return Case(build, arrays, label=f"{sq} to {sk} in {block}", result_in_panels=False, **options)

    cases = [
        select(1, 1, 1, 64, 64, 4, 64, 2, True),
        select(1, 2, 2, 1500, 1500, 8, 64, 5, True, panels=Panel(128, 128), panelled=(0, 1)),
        select(2, 2, 1, 100, 300, 8, 64, 3, False),
        select(3, 2, 2, 70, 70, 8, 16, 3, True, panels=Panel(128, 128), panelled=(0, 1)),
        select(1, 1, 1, 300, 300, 8, 128, 7, True),
    ]
    check(selection.lower, cases, isa, flush=False)


@pytest.mark.parametrize("isa", BF16_ISAS.values(), ids=BF16_ISAS)
def test_bf16(isa):
    """Keys and values that AMX packs once for a head serve whichever tiles its chunks meet."""
    causal = pattern(200, 200, Pattern(causal=True), Pattern(Window(70)))
    cases = [
        case(1, 2, 200, 200, 64, causal),
        case(2, 2, 128, 256, 64, blocks(2, 128, 256), guard=True),
        case(1, 2, 200, 200, 64, causal, selected(1, 2, 200, 200, 64, 3), guard=True),
    ]
    for one in cases:
        one.op.attributes[KERNEL] = StringAttr("attention_bf16")
        one.rtol = one.atol = 3e-2
    check(attention.lower, cases, isa, flush=False)
