"""ONNX's backend tests, imported and run by the interpreter."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx_node_tests
import pytest

from sparsec.errors import SparsecError
from sparsec.interpreter import run


@pytest.mark.parametrize("name", onnx_node_tests.claimed())
def test_claimed(name: str, tmp_path: Path) -> None:
    test = onnx_node_tests.collect()[name]
    assert test is not None
    model, inputs = onnx_node_tests.load(test, tmp_path)
    with np.errstate(all="ignore"):
        test.check(run(model, inputs))


def test_the_rest_is_refused_in_words(tmp_path: Path) -> None:
    """What is not claimed may work or not, but never ends in another exception than those for people."""
    for name in onnx_node_tests.not_claimed():
        test = onnx_node_tests.collect()[name]
        with contextlib.suppress(SparsecError):
            if test is not None:
                onnx_node_tests.load(test, tmp_path)


def test_every_name_exists() -> None:
    assert not set(onnx_node_tests.not_claimed()) - set(onnx_node_tests.collect())
