"""The meaning of the tensor IR in NumPy: the oracle of all tests. See `run` and `evaluate_op`."""

from sparsec.interpreter.layouts import logical, physical
from sparsec.interpreter.run import OPS, evaluate_op, run
from sparsec.interpreter.scalars import evaluate_region

__all__ = ["OPS", "evaluate_op", "evaluate_region", "logical", "physical", "run"]
