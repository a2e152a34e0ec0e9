"""The process that measures: it gives times, and its crashes and hangs are answers like others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sparsec.errors import TargetError
from sparsec.targets.isa import host_isas
from sparsec.targets.samples import FAMILIES
from sparsec.tune.local import LocalMeasurer
from sparsec.tune.trial import Activation, MeasurementFailed, Trial

FAILING = str(Path(__file__).with_name("worker_that_fails.py"))


@pytest.fixture
def trial() -> Trial:
    (isa, *_) = host_isas() or pytest.skip("no x86 to measure on")
    sample = FAMILIES["linear"][0]
    kernel, weight = sample.kernel(), sample.weight()
    x, packed, y = sample.arrays(kernel, weight)
    return Trial(kernel, isa, (Activation("f32", x.nbytes), packed, Activation("f32", y.nbytes)))


def test_measures_again_and_again(trial):
    with LocalMeasurer() as measurer:
        assert all(0 < measurer.seconds(trial) < 1 for _ in range(2))


def test_a_crash_is_told_and_survived(trial):
    with LocalMeasurer(worker=(sys.executable, FAILING, "crash")) as measurer:
        for _ in range(2):
            with pytest.raises(MeasurementFailed, match=r"crashed \(SIGABRT\)"):
                measurer.seconds(trial)


def test_a_worker_that_does_not_start_blames_no_kernel(trial):
    with (
        LocalMeasurer(worker=(sys.executable, FAILING, "start")) as measurer,
        pytest.raises(TargetError, match=r"does not start \(ended with code 3\)"),
    ):
        measurer.seconds(trial)


def test_a_hang_is_ended(trial):
    with LocalMeasurer(limit=0.5, worker=(sys.executable, FAILING, "hang")) as measurer:
        with pytest.raises(MeasurementFailed, match=r"no answer in 0.5 s"):
            measurer.seconds(trial)
        assert measurer._process is None


def test_a_kernel_that_cannot_be_built_is_told(trial):
    kernel = FAMILIES["linear"][0].kernel()
    object.__setattr__(kernel, "epilogue", None)
    with LocalMeasurer() as measurer:
        with pytest.raises(MeasurementFailed, match="AttributeError"):
            measurer.seconds(Trial(kernel, trial.isa, trial.arguments))
        assert measurer.seconds(trial) > 0


def test_constants_are_arrays(trial):
    assert trial.constants == [1]
    assert trial.arrays()[0].dtype == np.float32
    assert Activation("u8", 10).array().tolist() == [0] * 10
