"""Measures on this machine, in a process of its own: a kernel that crashes or hangs takes only that process along."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType

from sparsec.errors import TargetError
from sparsec.tune.trial import READY, MeasurementFailed, OutOfTime, Trial

START = 60.0  # seconds for the worker to start
LIMIT = 30.0  # seconds for one candidate, code generation included
WORKER = (sys.executable, "-P", "-m", "sparsec.tune.worker")  # -P: modules of the current folder are not for us


class LocalMeasurer:
    """Owns a worker process, which starts when it is first needed and again after it died. Close it, or use `with`."""

    def __init__(self, limit: float = LIMIT, worker: Sequence[str] = WORKER) -> None:
        self._limit, self._command = limit, worker
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def seconds(self, trial: Trial) -> float:
        """See `Measurer.seconds`."""
        connection = self._started()
        try:
            connection.send(trial)
            if not connection.poll(self._limit):
                self.close()
                raise OutOfTime(f"no answer in {self._limit:g} s")
            answer = connection.recv()
        except (EOFError, OSError):
            raise MeasurementFailed(self._buried()) from None
        if isinstance(answer, str):
            raise MeasurementFailed(answer)
        return answer

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None

    def _started(self) -> Connection:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                # A session of its own keeps Ctrl-C from the worker: this process ends it.
                self._process = subprocess.Popen(
                    [*self._command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._connection = Connection(ours.detach())
            self._await_worker(self._connection)
        return self._connection

    def _await_worker(self, connection: Connection) -> None:
        """Returns once the worker has said that it is there; TargetError where it cannot be: no kernel is to blame."""
        try:
            if connection.poll(START) and connection.recv() == READY:
                return
            how = f"says nothing for {START:g} s"
        except (EOFError, OSError):
            how = self._buried()
        self.close()
        raise TargetError(f"the process that measures kernels does not start ({how}): {' '.join(self._command)}")

    def _buried(self) -> str:
        """How the worker ended."""
        assert self._process is not None, "it was started"
        code = self._process.wait()
        self.close()
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"

    def __enter__(self) -> LocalMeasurer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
