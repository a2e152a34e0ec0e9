"""Runs and times artifacts on other machines, by a static program (targets/runtime/driver.c) that is sent along."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsec.artifact import Artifact
from sparsec.errors import TargetError
from sparsec.runners import Arrays, Runner, Sizes
from sparsec.targets.link import build_driver
from sparsec.transport import Transport

LIMIT = 600.0  # seconds of one run, or of what a measurement takes beyond its time


class DeviceRunner(Runner):
    """An artifact on the machine behind `transport`, a process for each run; arrays pass through files."""

    def __init__(self, artifact: Artifact, transport: Transport, threads: int, isa: int) -> None:
        if (artifact.machine, artifact.system) != (transport.machine, "Linux"):
            have = f"{artifact.machine} {artifact.system}".strip().replace("Darwin", "macOS")
            raise TargetError(
                f"{artifact.path}: compiled for {have}, and {transport.name} is {transport.machine} Linux"
            )
        self._transport = transport
        self._folder = tempfile.TemporaryDirectory(prefix="sparsec-device-")
        driver = transport.send(build_driver(artifact.machine, Path(self._folder.name)))
        self._command = [driver, transport.send(artifact.path), artifact.name]
        self._options = [str(threads), str(isa)]
        self._symbols = list(artifact.ranges)

    def run(self, inputs: Arrays, outputs: Arrays, sizes: Sizes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._folder.name) as file:
            sent = self._write(inputs, Path(file.name))
            result = self._transport.place(f"outputs-{Path(file.name).name}")
            self._transport.run([*self._command, sent, result, *self._options, self._sizes(sizes)], LIMIT)
            content, position = self._transport.fetch(result), 0
        for array in outputs:
            array.reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8, array.nbytes, position)
            position += array.nbytes

    def time(self, inputs: Arrays, sizes: Sizes, seconds: float) -> list[tuple[float, float]]:
        """Of the runs in `seconds`, after a warm-up: seconds by the clock, and of CPU time."""
        with tempfile.NamedTemporaryFile(dir=self._folder.name) as file:
            sent = self._write(inputs, Path(file.name))
            options = [self._transport.place("outputs"), *self._options, self._sizes(sizes), str(seconds)]
            answer = self._transport.run([*self._command, sent, *options], LIMIT + seconds)
        return [(wall * 1e-9, cpu * 1e-9) for wall, cpu in json.loads(answer)]

    def _sizes(self, sizes: Sizes) -> str:
        return ",".join(str(sizes[name]) for name in self._symbols) or "-"

    def _write(self, inputs: Sequence[np.ndarray], file: Path) -> str:
        file.write_bytes(b"".join(array.tobytes() for array in inputs))
        return self._transport.send(file)
