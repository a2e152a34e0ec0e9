"""The rows of convolutions that only WebAssembly gets, over edge shapes, and that nothing else chooses them."""

from __future__ import annotations

import pytest
from conv_cases import KINDS, Shape, case, lowering
from op_runner import check

from sparsec.ir import ConvOp
from sparsec.targets.cost import shipped
from sparsec.targets.isa import AVX2, NEON, WASM, WASM_RELAXED, Isa
from sparsec.targets.kernels.conv.lowering import candidates
from sparsec.targets.kernels.conv.row import Row
from sparsec.targets.kernels.conv.shape import ConvShape
from sparsec.targets.kernels.conv.sparse import row_tiles
from sparsec.targets.kernels.conv.table import WASM_ROWS
from sparsec.targets.native import NativeTarget

every_row = pytest.mark.parametrize("row", WASM_ROWS.values(), ids=WASM_ROWS)
# Tiles of 1 to 28 vectors, and several blocks of K.
VECTORS = (1, 8, 9, 10, 13, 14, 17, 25, 28)
WIDTHS = [Shape(300, 19, (1, 4 * n - 1), density=0.1, row_major=major) for n in VECTORS for major in (False, True)]


@every_row
@pytest.mark.parametrize("isa", [WASM, WASM_RELAXED], ids=lambda isa: isa.name)
def test_shapes(row: Row, isa: Isa) -> None:
    shapes = [shape for kind in KINDS.values() for shape in kind]
    check(lowering(row), [case(shape) for shape in (*shapes, *WIDTHS)], isa)


@pytest.mark.parametrize("size", [*range(1, 15), 28, 56, 112])
@pytest.mark.parametrize("most", [1, 9, 13])
def test_tiles_cover_the_pixels(size: int, most: int) -> None:
    made = case(Shape(4, 4, (size, size)))
    assert isinstance(made.op, ConvOp)
    shape = ConvShape.of(made.op)
    tiles = row_tiles(shape, WASM, most)
    starts = [tile.start + 4 * tile.vectors * i for tile in tiles for i in range(tile.repeats)]
    widths = [tile.vectors for tile in tiles for _ in range(tile.repeats)]
    assert starts == [4 * sum(widths[:i]) for i in range(len(widths))]
    assert sum(widths) * 4 == shape.columns(WASM)
    assert max(widths) <= most


def test_only_wasm_chooses_them() -> None:
    made = case(Shape(512, 64, (14, 14), density=0.1))
    assert isinstance(made.op, ConvOp)

    def rows(isa: Isa) -> set[str]:
        return {found.row for found in candidates(made.op, made.weights, NativeTarget("test", (isa,), shipped(isa)))}

    assert set(WASM_ROWS) <= rows(WASM)
    assert not set(WASM_ROWS) & (rows(AVX2) | rows(NEON))
