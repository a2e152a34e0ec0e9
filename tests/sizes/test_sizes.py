"""One artifact for all sizes in range: right at each, within the memory that it says, on one thread and on two."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sized_models
from artifact.conftest import require_x86

from sparsec.compiler import Options, compile_file
from sparsec.errors import TargetError
from sparsec.program import Program, load
from sparsec.verify import relative_error

TOLERANCE = 2e-5
MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, tuple[int, int]]]] = {
    "mlp": (lambda folder: sized_models.write(folder, sized_models.MLP), {"batch": (1, 40)}),
    "cnn": (lambda folder: sized_models.write(folder, sized_models.CNN), {"batch": (1, 8)}),
    "pieces": (lambda folder: sized_models.write(folder, sized_models.PIECES), {"batch": (1, 4), "seq": (1, 100)}),
    "encoder": (sized_models.write_encoder, {"batch": (1, 4), "seq": (2, 150)}),
}


@dataclass
class Case:
    """A model, and its artifact for the ranges of its sizes."""

    model: Path
    program: Program

    def sizes(self, count: int) -> list[dict[str, int]]:
        """The lowest, the highest, and others by chance."""
        rng = np.random.default_rng(1)
        ranges = self.program.ranges
        chosen = [
            {name: int(rng.integers(low, high + 1)) for name, (low, high) in ranges.items()} for _ in range(count)
        ]
        ends = [{name: ends[end] for name, ends in ranges.items()} for end in (0, 1)]
        return [*ends, *chosen]


@pytest.fixture(scope="module", params=MODELS)
def case(request, tmp_path_factory) -> Case:
    require_x86()
    folder = tmp_path_factory.mktemp(request.param)
    write, dims = MODELS[request.param]
    model = write(folder)
    result = compile_file(model, folder / "m.so", Options(dims=dims, threads=2))
    return Case(model, load(result.output))


def test_right_at_every_size(case):
    for seed, sizes in enumerate(case.sizes(16)):
        arrays = sized_models.inputs(case.model, sizes, seed)
        assert sized_models.worst(case.program.run(**arrays), case.model, arrays) < TOLERANCE, sizes


def test_every_instruction_set(case):
    """The code for other instruction sets of the artifact, where this CPU has them."""
    for isa in case.program.manifest["isas"]:
        program = load(case.program.path, isa=isa)
        for sizes in case.sizes(3):
            arrays = sized_models.inputs(case.model, sizes)
            try:
                outputs = program.run(**arrays)
            except TargetError:
                break
            assert sized_models.worst(outputs, case.model, arrays) < TOLERANCE, (isa, sizes)


def test_no_byte_beside_the_buffers(case):
    """Each run stays in the workspace that its own sizes ask for, on one thread and on two."""
    runs = [(sized_models.inputs(case.model, sizes), at) for sizes in case.sizes(4) for at in (True, False)]
    expected = [case.program.run(**arrays) for arrays, _ in runs]
    child = os.fork()
    if child == 0:
        os._exit(_same_between_guards(case.program.path, runs, expected))
    assert os.waitpid(child, 0)[1] == 0


def _same_between_guards(path: Path, runs, expected) -> int:
    for threads in (1, 2):
        guarded = sized_models.Guarded(path, threads)
        for (arrays, at_end), outputs in zip(runs, expected, strict=True):
            found = guarded.run(list(arrays.values()), at_end)
            if max(relative_error(found[name], value) for name, value in outputs.items()) > TOLERANCE:
                return 1
    return 0


def test_memory_follows_the_sizes(case):
    program = case.program
    low, high = ({name: ends[end] for name, ends in program.ranges.items()} for end in (0, 1))
    assert program.workspace_bytes_for(**low) <= program.workspace_bytes_for(**high) == program.workspace_bytes
    for entry in program.manifest["workspaces"]:
        at = dict(zip(program.ranges, entry, strict=False))
        assert program.workspace_bytes_for(**at) <= entry[-1] <= program.workspace_bytes


def test_profile_at_each_size(case):
    """The calls of a profile are those of a run of that size."""
    for sizes in case.sizes(1):
        layers = case.program.profile(2, **sized_models.inputs(case.model, sizes))
        assert len(layers) == len(case.program.manifest["layers"])
        assert all(seconds >= 0 for _, seconds in layers)
