"""Masks of attention by blocks: as an array gives them, as a pattern says, and in words."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sparsec.formats import pack, stored_elements, unpack
from sparsec.ir import FormatAttr, TensorType, WeightOp, parse_format
from sparsec.ir.types import i1
from sparsec.masks import BlockMask, block_format, tile_of
from sparsec.patterns import Blocks, Everything, Pattern, Streaming, Strided, Window, by_heads, describe, mask_of
from sparsec.weights import WeightStore

TILES = [(1, 1), (2, 3), (4, 4), (16, 8)]


@st.composite
def masks(draw):
    """Random masks of few heads, of blocks and of single pairs, with empty rows, and some whole heads alike."""
    heads, queries, keys = draw(st.integers(1, 3)), draw(st.integers(0, 20)), draw(st.integers(0, 20))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    blocks = generator.random((heads, 21, 21)) < draw(st.sampled_from([0, 0.3, 1]))
    size = draw(st.sampled_from([1, 2, 4, 8]))
    mask = blocks.repeat(size, 1).repeat(size, 2)[:, :queries, :keys]
    mask = mask & (generator.random(mask.shape) < draw(st.sampled_from([0.8, 1])))
    return np.repeat(mask[:1], heads, 0) if draw(st.booleans()) else mask


@given(masks(), st.sampled_from(TILES))
def test_round_trip(array, tile):
    mask = BlockMask.of(array, tile)
    assert_array_equal(np.broadcast_to(mask.dense(), array.shape), array)
    assert mask.same(BlockMask.of(mask.dense(), tile))
    packed = pack(mask.dense(), mask.format)
    assert_array_equal(unpack(packed), mask.dense())
    assert packed.values.size == (mask.places > 0).sum() * tile[0] * tile[1]
    assert parse_format(str(mask.format)) == mask.format
    if array.size:
        assert mask.has_empty_rows == (not array.any(axis=2).all())
        rows = array[:, array.shape[1] // 2 :]
        assert_array_equal(np.broadcast_to(mask.rows(array.shape[1] // 2, rows.shape[1]), rows.shape), rows)


@given(masks(), masks(), st.sampled_from(TILES))
def test_same(one, other, tile):
    a, b = BlockMask.of(one, tile), BlockMask.of(other, tile)
    assert a.same(b) == np.array_equal(a.dense(), b.dense())


def test_formats_of_masks():
    format = block_format(64, 32)
    assert str(format) == "d0: dense, d1/64: dense, d2/32: compressed, d1%64: dense, d2%32: dense"
    assert tile_of(format) == (64, 32)
    with pytest.raises(ValueError, match="no format of tiles of an attention mask"):
        tile_of(parse_format("d0: dense, d1: compressed"))
    assert stored_elements(np.tri(8, dtype=bool)[None], block_format(4, 4)) == 48


def plain(pattern, queries, keys):
    """The pattern pair by pair."""
    kept = np.zeros((queries, keys), bool)
    for i in range(queries):
        for j in range(keys):
            at, what = i + keys - queries, pattern.keys
            match what:
                case Everything():
                    near = True
                case Window():
                    near = abs(at - j) < what.size
                case Streaming():
                    near = abs(at - j) < what.recent or j < what.sink
                case Strided():
                    near = abs(at - j) < what.window or j // what.block % what.stride == what.offset
                case Blocks():
                    near = j // what.size in what.rows[at // what.size]
            kept[i, j] = near and not (pattern.causal and j > at)
    return kept


KEYS = [Everything(), Window(5), Streaming(3, 4), Strided(3, 2, 2, 1), Blocks(8, ((0,), (0, 1), (), (2, 3)))]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries", [30, 11])
@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_patterns(keys, queries, causal):
    pattern = Pattern(keys, causal)
    mask = mask_of([pattern], queries, 30, (4, 8))
    assert_array_equal(mask.dense()[0], plain(pattern, queries, 30))


def test_patterns_of_heads_and_their_words():
    window, causal = Pattern(Window(70), True), Pattern(causal=True)
    mask = mask_of(
        [causal, window, window, Pattern(Streaming(64, 90)), Pattern(Strided(4, 64, 32, 2))], 512, 512, (64, 64)
    )
    assert describe(mask) == (
        "head 0 causal; heads 1-2 causal, a window of 70; head 3 64 first and 90 recent keys; "
        "head 4 one block in 4 of 32 keys from block 2 on, and a window of 64"
    )
    assert mask_of([causal] * 4, 64, 64, (16, 16)).shape[0] == 1
    assert describe(BlockMask.of(np.random.default_rng(0).random((1, 64, 64)) < 0.2, (16, 16))).startswith(
        "blocks of no"
    )
    assert by_heads(["a", "a", "b"]) == "heads 0-1 a; head 2 b"


def test_long_masks_are_small():
    """Nothing of the size of 2^26 pairs is made, neither to build a mask nor to find words for it."""
    tracemalloc.start()
    mask = mask_of([Pattern(Window(500), True)] * 8, 8192, 8192, (64, 64))
    assert describe(mask) == "causal, a window of 500"
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    assert mask.nbytes < 1e6
    assert mask.density < 0.07
    assert mask.partial < 0.4


def test_the_store_keeps_blocks():
    store = WeightStore()
    mask = mask_of([Pattern(Window(3))], 10, 10, (4, 4))
    op = store.add_mask("mask", mask)
    assert op.result.type == TensorType((1, 10, 10), i1, FormatAttr(mask.format))
    assert store.mask_of(op) is mask
    assert_array_equal(store.of(op), mask.dense())
    other = WeightOp("mask", op.result.type.with_encoding(FormatAttr(block_format(2, 8))))
    assert store.mask_of(other).tile == (2, 8)
    assert_array_equal(store.mask_of(other).dense(), mask.dense())
