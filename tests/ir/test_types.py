"""Types and encodings are read back as printed, and say what lies in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError

from sparsec.formats import CSR, block, k_blocked, n_m
from sparsec.ir import FormatAttr, Panel, PanelAttr, TensorType, context, parse_format
from sparsec.ir.dims import symbol
from sparsec.ir.types import ELEMENTS, dtype_of, element_of

DIMS = st.integers(0, 1000) | st.just(symbol("n")) | st.just(symbol("h") * 2 + 1)
FORMATS = st.sampled_from([CSR, block(4, 1), block(2, 8), n_m(2, 4), k_blocked(64)])
PANELS = st.builds(Panel, st.integers(1, 9), st.integers(1, 9), st.booleans())
ENCODINGS = st.none() | st.builds(FormatAttr, FORMATS) | st.builds(PanelAttr, PANELS)
TYPES = st.builds(TensorType, st.lists(DIMS, max_size=5), st.sampled_from(list(ELEMENTS.values())), ENCODINGS)


@given(TYPES)
def test_text_is_read_back(type_):
    assert Parser(context(), str(type_)).parse_type() == type_


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements(name):
    assert dtype_of(element_of(np.dtype(name))) == np.dtype(name)


def test_text():
    type_ = TensorType([1, symbol("n"), 7, 7], ELEMENTS["float32"], PanelAttr(Panel(7, 64)))
    assert str(type_) == '!sp.tensor<[1, "n", 7, 7], f32, #sp.panel<rows = 7, stride = 64>>'
    assert str(type_.with_encoding(FormatAttr(CSR))).endswith('f32, #sp.format<"d0: dense, d1: compressed">>')


def test_sizes_in_memory():
    type_ = TensorType([symbol("n"), 3, 5, 4], ELEMENTS["float32"], PanelAttr(Panel(2, 16)))
    assert type_.physical_shape == (symbol("n"), 3, 3, 16)
    assert type_.nbytes == symbol("n") * 3 * 3 * 16 * 4
    assert type_.substitute({"n": 2}).nbytes == 2 * 3 * 3 * 16 * 4
    assert type_.with_encoding(None).substitute({"n": 2}).nbytes == 2 * 3 * 5 * 4 * 4
    with pytest.raises(ValueError, match="the size of n is not fixed"):
        type_.static_shape  # noqa: B018


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('!sp.tensor<["n +"], f32>', "not a dimension: 'n \\+'"),
        ('!sp.tensor<[2], f32, #sp.format<"d0: sparse">>', "not a storage level: 'd0: sparse'"),
        ("!sp.tensor<[2], f32, #sp.panel<rows = 2>>", "Expected ','"),
        ("!sp.tensor<[2]>", "Expected ','"),
    ],
)
def test_text_that_is_no_type(text, message):
    with pytest.raises(ParseError, match=message):
        Parser(context(), text).parse_type()


@pytest.mark.parametrize("text", ["", "d0", "dense", "d0: nm", "d0/: dense", "d0: dense,d1: dense", "d0: dense(2)"])
def test_text_that_is_no_format(text):
    with pytest.raises(ValueError, match="not a storage level"):
        parse_format(text)
