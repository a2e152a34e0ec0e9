"""Kernels of bf16 on every ISA: over edge shapes, against the meaning of the op on operands rounded to bf16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_cases import KINDS, Shape, case, check_groupings, lowering
from kernel_runner import run_kernels, spread
from op_runner import memory
from xdsl.dialects.builtin import StringAttr, f32

from sparsec import formats
from sparsec.bf16 import as_f32, rounded
from sparsec.interpreter import logical
from sparsec.ir import ConvOp, PanelAttr, WeightOp, type_of
from sparsec.ir.scalar import region
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX512_AMX, AVX512_BF16, BF16_ISAS, ISAS, host_isas
from sparsec.targets.kernels.conv.lowering import candidates, takes_pairs
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.table import BF16_ROWS, PIXEL_ROWS, STRIP_ROWS
from sparsec.targets.kernels.region import Body
from sparsec.targets.native import NativeTarget

every_row = pytest.mark.parametrize("row", BF16_ROWS.values(), ids=BF16_ROWS)
every_pixel_row = pytest.mark.parametrize("row", PIXEL_ROWS.values(), ids=PIXEL_ROWS)
every_strip_row = pytest.mark.parametrize("row", STRIP_ROWS.values(), ids=STRIP_ROWS)
ALL = (*BF16_ISAS.values(), *ISAS.values())
every_isa = pytest.mark.parametrize("isa", ALL, ids=lambda isa: isa.name)
# Values lie in pairs in artifacts for x86 only.
every_x86 = pytest.mark.parametrize(
    "isa", [isa for isa in (*BF16_ISAS.values(), *ISAS.values()) if isa.x86], ids=lambda isa: isa.name
)

# Operands are rounded alike, so that what is left is the order of sums, and that AMX and vdpbf16ps round each step.
RTOL, ATOL = 1e-5, 4e-6


def check(row, cases, isa):
    """Each case with operands of bf16: what the kernel gives is what the interpreter gives."""
    fitting = [made for made in cases if row.fits(ConvShape.of(made.op))]
    calls, runs = [], []
    for made in fitting:
        made.arrays = [as_f32(rounded(array)) for array in made.arrays]
        (call,) = lowering(row)(made.op, made.weights)
        calls.append(call)
        runs.append((call.kernel, memory(made, call)))
    for made, call, after in zip(fitting, calls, run_kernels(runs, isa, flush=range(9)) if runs else [], strict=True):
        type_ = type_of(call.arguments[-1])
        have = logical(after[-1], type_)
        depth = made.arrays[1][0].size
        (want,) = made.expected()
        rtol = 2**-8 if type_.panel and type_.panel.pairs else RTOL
        np.testing.assert_allclose(have, want, rtol, ATOL * depth**0.5, err_msg=f"{call.kernel.name} {made.label}")


@spread("shapes", KINDS, BF16_ROWS, ALL)
def test_shapes(isa, row, shapes):
    check(row, [case(shape) for shape in shapes], isa)


# Several blocks of outputs, the last of 16 and of fewer; taps that are unfolded, and taps with phases.
WIDE = [Shape(70, outputs, (6, 9)) for outputs in (15, 16, 31, 32, 33, 48, 65)]
PHASES = [
    Shape(40, 40, (12, 17), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(34, 20, (13, 13), (5, 5), (3, 2), (2, 1), (2, 2, 2, 2)),
    Shape(33, 20, (13, 13), (3, 3), (4, 3), (2, 3), (2, 3, 2, 3)),
    Shape(33, 20, (9, 5), (2, 7), (1, 1), pads=(0, 6, 1, 6), batch=2),
    Shape(3, 20, (9, 3), (3, 7), (1, 2), pads=(1, 3, 1, 3)),
    Shape(2, 20, (3, 2), (3, 9), pads=(1, 4, 1, 4)),
]


@spread("shapes", {"wide": WIDE, "phases": PHASES}, BF16_ROWS, ALL)
def test_blocks_and_phases(isa, row, shapes):
    check(row, [case(shape) for shape in shapes], isa)


@every_isa
@every_row
def test_epilogues(isa, row):
    body = region([f32] * 4, lambda x, scale, bias, residual: (x * scale + bias).max(0.0) + residual)
    random = np.random.default_rng(3)
    cases = []
    for shape in (Shape(40, 35, (7, 9), batch=2), Shape(40, 35, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2)):
        sizes = (), (shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        cases.append(case(shape, extras, body.clone()))
    check(row, cases, isa)


# 1x1 in whole steps of K and not, on panels of one row and more; windows, strides, dilations, phases; few outputs.
PAIRED = [
    *(Shape(k, m, (6, 9)) for k, m in ((2, 34), (32, 16), (34, 64), (64, 2), (96, 34))),
    *(Shape(64, 38, size, batch=2) for size in ((1, 3), (7, 7), (3, 50), (2, 100), (13, 13))),
    Shape(36, 18, (9, 11), (3, 3), pads=(1, 1, 1, 1), batch=2),
    Shape(36, 34, (9, 11), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(40, 40, (12, 17), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(34, 20, (13, 13), (5, 5), (3, 2), (2, 1), (2, 2, 2, 2)),
    Shape(34, 20, (9, 5), (2, 7), pads=(0, 6, 1, 6)),
    Shape(64, 34, (9, 11), (3, 3), pads=(1, 1, 1, 1), batch=2),
    Shape(32, 18, (7, 40), (5, 3), dilations=(2, 1), pads=(2, 0, 4, 1)),
    Shape(96, 6, (1, 40), (1, 5), pads=(0, 2, 0, 2)),
    Shape(32, 6, (3, 70), (3, 3), pads=(1, 1, 1, 1)),
    Shape(32, 38, (17, 1), (3, 1), pads=(1, 0, 1, 0)),
    Shape(64, 6, (6, 40), (1, 1), (2, 2)),
    Shape(64, 6, (9, 9), (1, 1), (3, 3)),
    Shape(32, 6, (5, 5), (1, 1), pads=(1, 1, 1, 1)),
]


def in_pairs(made, row):
    """The operands and the result of a convolution in pairs, as far as the row takes them so."""
    made.op.attributes["kernel"] = StringAttr(row.name)
    for value in (made.op.lhs, *made.op.extras, made.op.result):
        type_ = type_of(value)
        if type_.panel and takes_pairs(made.op, [value]):
            value._type = type_.with_encoding(PanelAttr(replace(type_.panel, pairs=True)))
    return made


@every_x86
@every_row
def test_pairs(isa, row):
    cases = [in_pairs(case(shape), row) for shape in PAIRED]
    assert all(type_of(made.op.lhs).panel.pairs for made in cases)
    check(row, cases, isa)


@every_x86
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_epilogues_of_pairs(isa, long):
    """Any of source, result and residual in pairs, the others not; SiLU, too, which elsewhere revises stored sums."""
    row = next(row for row in BF16_ROWS.values() if row.writes_pairs)

    def epilogue(x, bias, residual):
        x = x + bias
        return (x / ((-x).call("exp") + 1.0) if long else x.max(0.0)) + residual

    cases = []
    for shape in (Shape(64, 38, (7, 9), batch=2), Shape(40, 34, (6, 6), (3, 3), pads=(1, 1, 1, 1), batch=2)):
        random = np.random.default_rng(3)
        sizes = (shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        for plain in ((), ("lhs",), ("result",), ("extra",), ("lhs", "result")):
            made = case(shape, extras, region([f32] * 3, epilogue))
            panels = {"lhs": made.op.lhs, "result": made.op.result, "extra": made.op.extras[1]}
            kept = {name: panels[name].type for name in plain}
            in_pairs(made, row)
            for name, type_ in kept.items():
                panels[name]._type = type_
            cases.append(made)
    check(row, cases, isa)


@pytest.mark.parametrize("isa", host_isas("bf16"), ids=lambda isa: isa.name)
@every_row
def test_chunks_in_any_grouping(isa, row):
    check_groupings(row, Shape(70, 800, (3, 5)), isa)
    check_groupings(row, Shape(20, 260, (9, 9), (3, 3), pads=(1, 1, 1, 1), batch=2), isa)


@pytest.mark.parametrize("size", [(3, 5), (16, 64)])
def test_what_is_not_finite_stays_so(size):
    """NaN and infinities of a channel reach all outputs of dense weights, and nothing else."""
    row = next(row for row in BF16_ROWS.values() if not row.sparse)
    made = case(Shape(64, 8, size))
    assert isinstance(made.op, ConvOp)
    for value in (np.nan, np.inf):
        made.arrays[0][0, 1, 0, 2] = value
        (one,) = lowering(row)(made.op, made.weights)
        for isa in host_isas("bf16"):
            (after,) = run_kernels([(one.kernel, memory(made, one))], isa)
            have = logical(after[-1], type_of(made.op.result))
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(np.isfinite(have), np.isfinite(made.expected()[0]))


def test_rounding_is_to_nearest_even():
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), np.inf, 3e38], np.float32)
    np.testing.assert_array_equal(as_f32(rounded(values))[:5], [1, 1 + 2**-6, 1 + 2**-7, -1, np.inf])
    assert np.isnan(as_f32(rounded(np.array([np.nan], np.float32)))).all()


@every_row
def test_format_holds_the_weights(row):
    """The format of each row, packed and unpacked, is the weight; sparse ones store all of a pair or nothing."""
    made = case(Shape(11, 9, (5, 5), (3, 3), pads=(1, 1, 1, 1)))
    assert isinstance(made.op, ConvOp)
    weight = made.arrays[1]
    packed = formats.pack(weight, row.format(ConvShape.of(made.op)))
    np.testing.assert_array_equal(formats.unpack(packed), weight)
    if row.sparse:
        pairs = np.pad(weight, [(0, 0), (0, 1), (0, 0), (0, 0)]).reshape(9, 6, 2, 9)
        assert len(packed.values) == 2 * np.count_nonzero(pairs.any(axis=2))


@every_isa
def test_blocks_of_k(isa):
    """Sparse rows in several blocks of K, through every level of an epilogue; empty rows and full ones."""
    row = next(row for row in BF16_ROWS.values() if row.sparse)
    body = region([f32] * 3, lambda x, bias, residual: (x + bias).max(0.0) + residual)
    cases = []
    for shape in (Shape(300, 70, (7, 9)), Shape(100, 20, (6, 6), (3, 3), pads=(1, 1, 1, 1))):
        bias, residual = (
            np.ones(size, np.float32) for size in ((shape.outputs, 1, 1), case(shape).expected()[0].shape)
        )
        cases += [case(shape), case(shape, [bias, residual], body.clone())]
    assert all(row.kernel(ConvShape.of(made.op), (), Body.of(region([f32], lambda x: x))).blocks > 1 for made in cases)
    check(row, cases, isa)


def choice(isa, weight, precision="bf16"):
    """The row that shipped costs choose for a 1x1 convolution of 28 x 28 pixels."""
    made = case(Shape(weight.shape[1], weight.shape[0], (28, 28)))
    assert isinstance(made.op, ConvOp)
    assert isinstance(made.op.rhs.owner, WeightOp)
    made.weights[made.op.rhs.owner.key] = weight
    return candidates(made.op, made.weights, NativeTarget("x86", (isa,), shipped(isa), precision))[0].row


def test_choice_of_precision():
    """Precision is a permission: AMX takes dense layers, pairs pay where their halves are pruned together."""
    random = np.random.default_rng(0)
    dense = random.standard_normal((128, 128, 1, 1)).astype(np.float32)
    paired = np.where(np.repeat(random.random((128, 64, 1, 1)) < 0.1, 2, axis=1), dense, np.float32(0))
    assert choice(AVX512_AMX, dense).startswith("conv_bf16_dense")
    assert choice(AVX512_AMX, dense, "f32").startswith("conv_f32")
    assert choice(AVX512_BF16, paired).startswith("spmm_bf16")


# One block of K, several, the last one shorter; panels of whole strips and not, of tokens and of images.
STRIPS = [
    Shape(32, 32, (3, 5)),
    Shape(288, 64, (13, 13), batch=2),
    Shape(512, 96, (40, 1)),
    Shape(544, 32, (197, 1)),
    Shape(64, 64, (256, 1)),
]


@every_isa
@every_strip_row
def test_strips(isa, row):
    cases = [case(shape) for shape in STRIPS]
    assert all(row.fits(ConvShape.of(made.op)) for made in cases)
    check(row, cases, isa)


def check_residuals(row, shapes, long, isa):
    """With a bias and a residual, the images as f32 and in pairs."""

    def epilogue(x, bias, residual):
        x = x + bias
        return (x / ((-x).call("exp") + 1.0) if long else x.max(0.0)) + residual

    random, cases = np.random.default_rng(3), []
    for shape in shapes:
        sizes = (shape.outputs, 1, 1), case(shape).expected()[0].shape
        extras = [random.standard_normal(size).astype(np.float32) for size in sizes]
        made = [case(shape, extras, region([f32] * 3, epilogue)) for _ in range(2)]
        cases += [made[0], in_pairs(made[1], row)]
    check(row, cases, isa)


@every_x86
@every_strip_row
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_strips_with_epilogues_and_pairs(isa, row, long):
    check_residuals(row, (Shape(64, 64, (7, 9), batch=2), Shape(320, 32, (40, 1))), long, isa)


@pytest.mark.parametrize("isa", host_isas("bf16"), ids=lambda isa: isa.name)
@every_strip_row
def test_chunks_of_strips_in_any_grouping(isa, row):
    check_groupings(row, Shape(64, 800, (9, 1)), isa)


@every_strip_row
def test_zeros_of_either_sign_are_not_stored(row):
    shape = ConvShape.of(case(STRIPS[0]).op)
    kernel = row.kernel(shape, (), Body.of(region([f32], lambda x: x.max(0.0))))
    ones = np.ones((32, 32, 1, 1), np.float32)
    assert (
        kernel.pack(ones * np.float32(-0.0)).size == kernel.pack(ones * np.float32(0.0)).size < kernel.pack(ones).size
    )


@every_strip_row
def test_format_of_strips_holds_the_weights(row):
    made = case(Shape(64, 32, (5, 5)))
    assert isinstance(made.op, ConvOp)
    weight = made.arrays[1]
    packed = formats.pack(weight, row.format(ConvShape.of(made.op)))
    np.testing.assert_array_equal(formats.unpack(packed), weight)
    if row.sparse:
        assert len(packed.values) == 2 * np.count_nonzero(weight.reshape(32, 32, 2).any(axis=2))


# One strip of pixels and several, the last one shorter; strides, dilations, phases; outputs that fill no tile.
WINDOWS = [
    Shape(32, 16, (7, 7), (3, 3), pads=(1, 1, 1, 1)),
    Shape(64, 40, (9, 14), (3, 3), pads=(1, 1, 1, 1), batch=2),
    Shape(32, 18, (7, 16), (5, 3), dilations=(2, 1), pads=(2, 0, 4, 1)),
    Shape(64, 34, (14, 15), (3, 3), (2, 2), pads=(1, 1, 1, 1)),
    Shape(32, 20, (13, 13), (5, 4), (3, 2), (2, 1), (2, 2, 2, 2)),
    Shape(32, 20, (13, 13), (3, 3), (4, 3), (2, 3), (2, 3, 2, 3)),
    Shape(96, 6, (9, 9), (1, 1), (2, 2), batch=2),
    Shape(64, 6, (9, 10), (1, 1), (3, 3)),
    Shape(32, 6, (5, 5), (1, 1), pads=(1, 1, 1, 1)),
]


@every_isa
@every_pixel_row
def test_sparse_windows(isa, row):
    cases = [case(shape) for shape in WINDOWS]
    assert all(row.fits(ConvShape.of(made.op)) for made in cases)
    check(row, cases, isa)


@every_x86
@every_pixel_row
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_sparse_windows_with_epilogues_and_pairs(isa, row, long):
    check_residuals(
        row,
        (Shape(64, 38, (7, 9), (3, 3), pads=(1, 1, 1, 1), batch=2), Shape(32, 34, (15, 15), (1, 1), (2, 2))),
        long,
        isa,
    )


@pytest.mark.parametrize("isa", host_isas("bf16"), ids=lambda isa: isa.name)
@every_pixel_row
def test_chunks_of_sparse_windows_in_any_grouping(isa, row):
    check_groupings(row, Shape(64, 260, (9, 9), (3, 3), pads=(1, 1, 1, 1), batch=2), isa)


@every_pixel_row
def test_format_of_sparse_windows_holds_the_weights(row):
    made = case(WINDOWS[1])
    assert isinstance(made.op, ConvOp)
    weight = made.arrays[1]
    packed = formats.pack(weight, row.format(ConvShape.of(made.op)))
    np.testing.assert_array_equal(formats.unpack(packed), weight)
    assert len(packed.values) == 2 * np.count_nonzero(weight.reshape(40, 32, 2, 9).any(axis=2))
