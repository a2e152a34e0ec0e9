"""1x1 convolutions over panels of tokens of which only the run knows how many there are."""

import numpy as np
import pytest
from kernel_runner import spread
from op_runner import sum_of
from sized_runner import Sized, check_sized

from sparsec.ir import ConvOp, Panel
from sparsec.ir.dims import NotFixed, symbol
from sparsec.targets.kernels.conv.lowering import call
from sparsec.targets.kernels.conv.table import ARM_ROWS, BF16_ROWS, ROWS, WASM_ROWS

T = symbol("t")
TOKENS = Panel(128, 144)
SIZES = [{"t": t} for t in (1, 16, 33, 64, 95, 128, 300)]
KERNELS = {name: row for name, row in {**ROWS, **ARM_ROWS, **WASM_ROWS}.items() if row.sized}


def weight(outputs, channels, density=0.3):
    random = np.random.default_rng(3)
    w = random.standard_normal((outputs, channels, 1, 1)).astype(np.float32)
    w[random.random(w.shape) >= density] = 0
    w[outputs // 2] = 0
    return w


def layer(channels, outputs, panels=TOKENS, extras=(), **options):
    def build(env, x, w, *operands):
        epilogue = sum_of(len(operands)) if operands else None
        return ConvOp(x, w, (1, 1), (1, 1), (0, 0, 0, 0), 1, operands, epilogue)

    shapes = [(1, channels, T, 1), weight(outputs, channels), *extras]
    return Sized(build, shapes, panels, rtol=1e-5, atol=2e-6 * channels**0.5 + 1e-6, **options)


LAYERS = {
    "blocks of K": lambda: layer(200, 45, extras=[(1, 45, T, 1), (1, 45, 1, 1)]),
    "parts": lambda: layer(40, 300, Panel(64, 80)),
}


@spread("case", LAYERS, KERNELS)
def test_tokens(isa, row, case):
    made = case()
    lower = lambda op, weights: [call(op, weights, row)]  # noqa: E731
    check_sized(lower, [made], isa, SIZES, flush=False)


@pytest.mark.parametrize("row", BF16_ROWS.values(), ids=BF16_ROWS)
def test_others_say_so(row):
    made = layer(200, 45)
    with pytest.raises(NotFixed):
        call(made.operation({}), made.weights, row)


def test_images_of_symbolic_height_are_none():
    made = layer(200, 45)
    made.shapes = [(1, 200, T, 3), made.shapes[1]]
    with pytest.raises(NotFixed):
        call(made.operation({}), made.weights, ROWS["conv_f32_dense_m6k128"])
