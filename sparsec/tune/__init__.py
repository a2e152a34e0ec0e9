"""Measures the kernels that a model's layers could run on, and keeps the times for `compile --tuned`."""

from sparsec.tune.local import LocalMeasurer
from sparsec.tune.outcome import Outcome, Override
from sparsec.tune.trial import Measurer, Trial
from sparsec.tune.tuner import tune

__all__ = ["LocalMeasurer", "Measurer", "Outcome", "Override", "Trial", "tune"]
