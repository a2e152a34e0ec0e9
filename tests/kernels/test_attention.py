"""sp.attention on every ISA: tails of queries, keys and features, sequences across panels, masks, groups, threads."""

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernels
from op_runner import Case, check, memory
from sized_runner import Sized, at, check_sized
from xdsl.dialects.builtin import StringAttr, f32, i1

from sparsec.bf16 import as_f32, rounded
from sparsec.interpreter import logical
from sparsec.ir import AttentionOp, Panel, type_of
from sparsec.ir.dims import symbol
from sparsec.ir.scalar import region
from sparsec.targets.isa import AVX512, AVX512_AMX, AVX512_BF16, NEON
from sparsec.targets.kernels import attention
from sparsec.targets.kernels.attention.padding import is_monotonic
from sparsec.targets.kernels.region import Body

RANDOM = np.random.default_rng(0)
SCALED = region([f32], lambda x: x * 0.3)
ADDED = region([f32, f32], lambda x, mask: x * 0.3 + mask)
CHOSEN = region([f32, i1], lambda x, keep: keep.select(x * 0.3, x.constant(-3e38)))
CAPPED = region([f32], lambda x: (x * 0.02).call("tanh") * 30.0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def case(b, heads, sq, sk, depth, value_depth=None, kv_heads=None, masks=(), score=None, guard=False, **options):
    value_depth, kv_heads = value_depth or depth, kv_heads or heads
    arrays = [normal(1, heads * depth, b * sq, 1), normal(1, kv_heads * depth, b * sk, 1)]
    arrays.append(normal(1, kv_heads * value_depth, b * sk, 1))
    score = score or (ADDED if masks else SCALED)

    def build(q, k, v, *extras):
        return AttentionOp(q, k, v, heads, b, kv_heads, guard, extras, score.clone())

    label = f"{b} x {heads} of {kv_heads} heads, {sq} to {sk}, {depth} and {value_depth}"
    return Case(build, [*arrays, *masks], label=label, rtol=2e-5, atol=2e-5, **options)


def panels(rows, stride=None):
    """All three operands in such panels."""
    return {"panels": Panel(rows, stride or -(-rows // 16) * 16), "panelled": (0, 1, 2)}


@every_isa
def test_sizes(isa):
    cases = [
        case(1, 1, 1, 1, 1),
        case(1, 2, 3, 5, 7),
        case(1, 1, 32, 64, 64),
        case(1, 1, 33, 65, 5, 3),
        case(1, 3, 16, 70, 48),
        case(1, 1, 130, 197, 6, 80),
    ]
    check(attention.lower, cases, isa)


@every_isa
def test_panels(isa):
    """In place, and where sequences begin anywhere in panels, several or a part of one."""
    cases = [
        case(4, 1, 32, 32, 8, **panels(128)),
        case(2, 1, 128, 128, 8, **panels(128)),
        case(1, 1, 200, 200, 8, **panels(128)),
        case(3, 2, 40, 40, 6, **panels(128)),
        case(5, 1, 40, 40, 6, **panels(64)),
        case(3, 2, 70, 150, 6, kv_heads=1, masks=[normal(3, 1, 1, 150)], **panels(64)),
        case(2, 2, 90, 90, 8, panels=Panel(64, 64, pitch=64 * 20), panelled=(0, 1, 2)),
        case(3, 1, 7, 7, 6, **panels(21)),
        case(3, 1, 67, 67, 5, **panels(40, 48)),
        case(9, 1, 5, 5, 5, **panels(16)),
    ]
    check(attention.lower, cases, isa, flush=False)


@every_isa
def test_groups_of_queries(isa):
    check(attention.lower, [case(2, 6, 9, 13, 8, 4, kv_heads=kv) for kv in (1, 2, 3)], isa)


@every_isa
def test_masks(isa):
    shapes = [(2, 3, 37, 70), (2, 1, 1, 70), (1, 3, 37, 1), (3, 1, 1)]
    cases = [case(2, 3, 37, 70, 4, masks=[normal(*shape)]) for shape in shapes]
    whole, keys, queries = ((1, 1, 20, 70), (2, 1, 1, 70), (3, 20, 1))
    cases += [case(2, 3, 20, 70, 4, masks=[normal(*shape) > 0], score=CHOSEN) for shape in (whole, keys, queries)]
    cases += [case(2, 3, 37, 70, 4, masks=[normal(37, 70) > 0], score=CHOSEN, constants=[3])]
    cases += [case(2, 3, 20, 70, 4, masks=[normal(2, 3, 20, 70)], constants=[3])]
    cases += [case(1, 1, 20, 20, 4, score=CAPPED)]
    check(attention.lower, cases, isa)


@every_isa
def test_padding(isa):
    """Sequences end anywhere, also before their first key; −inf, the least f32 and moderate numbers."""
    cases, guard = [], True
    for least in (-np.inf, np.finfo(np.float32).min, -1e4):
        mask = np.zeros((4, 1, 1, 200), np.float32)
        for sequence, length in enumerate((200, 64, 3, 0)):
            mask[sequence, ..., length:] = least
        cases.append(case(4, 1, 20, 200, 8, masks=[mask], guard=guard))
    cases[-1].atol = 1e-3  # of scores near 1e4
    keep = np.zeros((3, 1, 1, 200), bool)
    keep[0, ..., 130:], keep[1, ..., 7] = True, True
    cases.append(case(3, 1, 20, 200, 8, masks=[keep], score=CHOSEN))
    causal = np.where(np.tri(70, dtype=bool), 0, -np.inf).astype(np.float32)
    causal[5] = -np.inf
    cases += [case(1, 1, 70, 70, 8, masks=[causal], guard=not c, constants=c) for c in ([], [3])]
    check(attention.lower, cases, isa)


def test_what_is_monotonic():
    """Only of such scores are tiles left out."""
    assert all(is_monotonic(Body.of(score)) for score in (SCALED, ADDED, CHOSEN, CAPPED))
    for score in (lambda x, m: x * x + m, lambda x, m: x.call("cos") + m, lambda x, m: x - (x * 2.0 + m)):
        assert not is_monotonic(Body.of(region([f32, f32], score)))


@every_isa
def test_dead_tiles_are_not_read(isa):
    """Keys and values that a mask leaves out are NaN in whole tiles."""
    mask = np.zeros((1, 1, 1, 192), np.float32)
    mask[..., 64:] = -np.inf
    one = case(1, 1, 20, 192, 8, masks=[mask])
    want = one.expected()[0]
    for array in one.arrays[1:3]:
        array[:, :, 64:] = np.nan
    (call,) = attention.lower(one.op, one.weights)
    got = run_kernels([(call.kernel, memory(one, call))], isa)[0][-1]
    np.testing.assert_allclose(logical(got, type_of(one.op.result)), want, rtol=2e-5, atol=2e-5)


@every_isa
def test_sizes_of_a_run(isa):
    """Sequences, queries and keys as symbols, with masks and without; row-major and in panels."""

    def attend(env, q, k, v, *masks):
        score = (ADDED if masks else SCALED).clone()
        return AttentionOp(q, k, v, 2, at(symbol("b"), env), extras=masks, score=score)

    n, s, t = (symbol(name) for name in "bst")
    itself = [(1, 8, n * s, 1)] * 3
    across = [(1, 8, n * s, 1), (1, 8, n * t, 1), (1, 8, n * t, 1)]
    options = {"rtol": 2e-5, "atol": 2e-5}
    sized = [
        Sized(attend, [*itself, (n, 1, 1, s)], panels=Panel(64, 64), plain=(3,), **options),
        Sized(attend, [*itself, (n, 1, s, s)], panels=Panel(64, 64), plain=(3,), **options),
        Sized(attend, across, **options),
    ]
    runs = [
        {"b": 1, "s": 1, "t": 65},
        {"b": 3, "s": 50, "t": 7},
        {"b": 2, "s": 64, "t": 128},
        {"b": 1, "s": 130, "t": 1},
    ]
    check_sized(attention.lower, sized, isa, runs)


@every_isa
def test_chunks_are_independent(isa):
    one = case(2, 2, 70, 70, 8, **panels(48))
    (call,) = attention.lower(one.op, one.weights)
    arrays = memory(one, call)
    assert call.kernel.chunks == 2 * 2 * 3
    for begin, end in ((5, 12), (0, 5)):
        arrays = run_kernels([(call.kernel, arrays)], isa, begin=begin, end=end)[0]
    np.testing.assert_allclose(logical(arrays[-1], type_of(one.op.result)), *one.expected(), rtol=2e-5, atol=2e-5)


@every_isa
def test_large_scores(isa):
    """Powers of −125 and less, and shifts that are large beside the differences of scores, which sums round."""
    one = case(1, 2, 40, 150, 8, score=region([f32], lambda x: x * 40.0 + 1000.0))
    one.rtol = one.atol = 1e-3
    check(attention.lower, [one], isa)


@pytest.mark.parametrize("isa", [AVX512_AMX, AVX512_BF16, AVX512, NEON], ids=lambda isa: isa.name)
def test_bf16(isa):
    """On AMX operands and powers are rounded, elsewhere nothing is; tiles are packed once for the chunks of a head."""
    mask = np.zeros((3, 1, 1, 150), np.float32)
    mask[0, ..., 70:], mask[2, ..., 3] = -np.inf, -np.inf
    cases = [
        case(1, 2, 64, 64, 64, **panels(64)),
        case(3, 2, 70, 150, 32, 64, kv_heads=1, masks=[mask], **panels(64)),
        case(2, 1, 40, 70, 32, masks=[normal(40, 70)]),
        case(1, 1, 33, 1100, 32),
    ]
    for one in cases[: None if isa.x86 else 2]:
        one.arrays = [as_f32(rounded(x)) if i < 3 else x for i, x in enumerate(one.arrays)]
        one.op.attributes["kernel"] = StringAttr("attention_bf16")
        (call,) = attention.lower(one.op, one.weights)
        assert call.kernel.bf16
        arrays, chunks = memory(one, call), call.kernel.chunks
        for begin, end in ((chunks // 3, chunks), (0, chunks // 3)):
            arrays = run_kernels([(call.kernel, arrays)], isa, begin=begin, end=end)[0]
        tolerance = 6e-3 if isa.tiles else 2e-5
        got = logical(arrays[-1], type_of(one.op.result))
        np.testing.assert_allclose(got, *one.expected(), rtol=tolerance, atol=tolerance, err_msg=one.label)
