"""ONNX's backend tests, imported and run by the interpreter."""

from __future__ import annotations

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
    for name in onnx_node_tests.not_claimed():
        test = onnx_node_tests.collect()[name]
        if test is None:
            continue
        try:
            onnx_node_tests.load(test, tmp_path)
        except SparsecError as error:
            assert str(error), name


def test_every_name_exists() -> None:
    assert not set(onnx_node_tests.not_claimed()) - set(onnx_node_tests.collect())
