"""unpack(pack(w)) == w for every format, and what the named formats store."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sparsec.formats import CSR, DENSE, block, check, k_blocked, n_m, nbytes, pack, stored_elements, unpack
from sparsec.ir import Format, Level, parse_format

NAMED = [DENSE, CSR, block(4, 1), block(1, 8), block(16, 16), n_m(2, 4), n_m(1, 8), k_blocked(16)]


@st.composite
def formats(draw, rank):
    """Any list of levels that stores each of `rank` dimensions once."""
    levels = []
    for dim in range(rank):
        tile = draw(st.integers(1, 5))
        kinds = [draw(st.sampled_from(["dense", "compressed"])) for _ in range(2)]
        if tile == 1:
            levels.append(Level(dim, kinds[0]))
            continue
        levels.append(Level(dim, kinds[0], "/", tile))
        keep = draw(st.integers(0, tile))
        levels.append(Level(dim, "nm", "%", tile, keep) if keep else Level(dim, kinds[1], "%", tile))
    return Format(tuple(draw(st.permutations(levels))))


@st.composite
def weights(draw):
    """Arrays of rank 1 to 4, some sides empty, with no, some or all elements zero."""
    shape = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    density = draw(st.sampled_from([0, 0.1, 0.5, 1]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    return np.where(generator.random(shape) < density, generator.standard_normal(shape), 0).astype(np.float32)


@given(st.data(), weights())
def test_round_trip(data, array):
    format = data.draw(formats(data.draw(st.integers(1, array.ndim))))
    try:
        packed = pack(array, format)
    except ValueError as error:
        assume("elements are not zero, more than" not in str(error))
        raise
    assert_array_equal(unpack(packed), array)
    assert packed.values.size >= np.count_nonzero(array)
    assert parse_format(str(format)) == format


@pytest.mark.parametrize("format", NAMED, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (16, 32), (33, 17), (6, 5, 3, 3), (0, 4)])
def test_named_formats(format, shape):
    matrix = np.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
    matrix[:, ::8] = 1 + np.arange(matrix[:, ::8].size).reshape(matrix[:, ::8].shape)
    array = matrix.reshape(shape)
    assert_array_equal(unpack(pack(array, format)), array)


def test_csr():
    packed = pack(np.array([[0, 5, 6], [0, 0, 0], [7, 0, 0]], np.float32), CSR)
    assert packed.levels[1].positions.tolist() == [0, 2, 2, 3]
    assert packed.levels[1].coordinates.tolist() == [1, 2, 0]
    assert packed.values.tolist() == [5, 6, 7]
    assert packed.nbytes == 3 * 4 + 4 * 4 + 3


def test_blocks_store_their_zeros_and_pad_the_edge():
    array = np.zeros((5, 3), np.float32)
    array[1, 2] = array[4, 0] = 1
    packed = pack(array, block(4, 1))
    assert packed.levels[1].positions.tolist() == [0, 1, 2]
    assert packed.levels[1].coordinates.tolist() == [2, 0]
    assert packed.values.tolist() == [0, 1, 0, 0, 1, 0, 0, 0]


def test_n_m_fills_up_with_zeros():
    packed = pack(np.array([[0, 0, 0, 3, 1, 2, 0, 0]], np.float32), n_m(2, 4))
    assert packed.levels[2].coordinates.tolist() == [0, 3, 0, 1]
    assert packed.values.tolist() == [0, 3, 1, 2]


def test_k_blocks_come_one_after_another():
    packed = pack(np.array([[1, 0, 2, 3], [0, 4, 5, 0]], np.float32), k_blocked(2))
    assert packed.levels[2].positions.tolist() == [0, 1, 2, 4, 5]
    assert packed.values.tolist() == [1, 4, 2, 3, 5]


def test_sizes():
    array = np.eye(8, dtype=np.float32)
    assert stored_elements(array, DENSE) == 64
    assert stored_elements(array, CSR) == 8
    assert stored_elements(array, block(4, 4)) == 32
    assert nbytes(array, DENSE) == 256


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("d0: dense, d1: dense, d2: dense", "has 3 dimensions, the weight 2"),
        ("d0: dense, d0: compressed", "does not store d0 as one level"),
        ("d1: dense", "does not store d0"),
        ("d0/4: dense, d1: dense", "does not store d0"),
        ("d0/4: dense, d0%8: dense, d1: dense", "does not store d0"),
        ("d0: dense, d1: nm(2)", "an n:m level keeps 1 to m elements of a tile"),
        ("d0: dense, d1/4: dense, d1%4: nm(5)", "an n:m level keeps 1 to m elements of a tile"),
    ],
)
def test_formats_that_do_not_fit(format, message):
    with pytest.raises(ValueError, match=message):
        check(parse_format(format), (4, 4))


def test_too_many_elements_for_n_m():
    with pytest.raises(ValueError, match="3 of 4 elements are not zero, more than"):
        pack(np.array([[1, 1, 1, 0]], np.float32), n_m(2, 4))
