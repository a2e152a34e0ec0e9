"""No pass changes what a model computes, alone or after the passes before it."""

import numpy as np
import pytest
from graphs import FakeTarget, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.interpreter import run
from sparsec.model import Model
from sparsec.passes import PASSES, Pass, pipeline, run_pipeline


def check(model: Model, passes: list[Pass], inputs: list[np.ndarray]) -> None:
    """Run `passes`, comparing the outputs after each with those before."""
    expected = run(model, inputs)
    for step in passes:
        run_pipeline(model, [step], FakeTarget())
        for found, wanted in zip(run(model, inputs), expected, strict=True):
            assert found.shape == wanted.shape
            scale = np.abs(wanted).max(initial=1.0)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5 * scale, err_msg=step.name)


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: pass_.name)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_pass_alone(pass_, seed):
    model, inputs = random_model(seed)
    check(model, [pass_()], inputs)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**9), length=st.integers(1, 40))
def test_whole_pipeline(seed, length):
    model, inputs = random_model(seed, length)
    check(model, pipeline(), inputs)
