"""The errors that people see. Each class carries the exit code of the command line (see docs/design.md)."""


class SparsecError(Exception):
    """An error for the user: says which node, which op, which shape, and what to do."""

    exit_code = 1


class UsageError(SparsecError):
    """The call is wrong: unknown option, missing dimension, input of the wrong shape or type."""

    exit_code = 2


class UnsupportedModel(SparsecError):
    """The model is valid, but uses something that sparsec does not compile."""

    exit_code = 3


class InvalidModel(SparsecError):
    """The model is broken or unsafe: truncated, cyclic, sizes that overflow, data outside its folder."""

    exit_code = 4


class AccuracyError(SparsecError):
    """The compiled module's output differs from the reference by more than the stated tolerance."""

    exit_code = 5


class TargetError(SparsecError):
    """The target, its tools, or the CPU features that an artifact needs are missing."""

    exit_code = 6
