"""The process that builds and runs candidates: takes trials from a socket, answers with seconds or a message.

python -m sparsec.tune.worker FILE_DESCRIPTOR
"""

from __future__ import annotations

import sys
from functools import lru_cache
from multiprocessing.connection import Connection

from sparsec.targets.cost import host_caches
from sparsec.targets.isa import Isa
from sparsec.targets.jit import Jit
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.timing import Flusher, Timed
from sparsec.tune.trial import READY, Trial

SPENT, FEWEST, MOST = 0.04, 7, 40  # seconds of runs that are aimed at, and how many runs at least and at most


def measure(trial: Trial, flusher: Flusher) -> float:
    """The smallest time of some runs."""
    timed = Timed(compiled(trial.kernel, trial.isa), trial.kernel, trial.arrays(), flusher, trial.constants)
    first = timed.seconds(1)
    return min(first, timed.seconds(max(FEWEST, min(MOST, int(SPENT / first)))))


@lru_cache(64)
def compiled(kernel: Kernel, isa: Isa) -> Jit:
    """The code of a kernel, which layers of one shape share."""
    return Jit([kernel], isa)


def main(connection: Connection) -> None:
    """Answers until the other side hangs up."""
    flusher = Flusher(host_caches().l2)
    connection.send(READY)
    while True:
        try:
            trial = connection.recv()
        except EOFError:
            return
        try:
            connection.send(measure(trial, flusher))
        except Exception as error:  # one candidate that cannot be built is no reason to stop
            connection.send(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
