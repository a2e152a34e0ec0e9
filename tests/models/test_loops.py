"""Loops over the images of a batch: artifacts with them against artifacts without, and what a profile counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zoo

from sparsec.compiler import Options, compile_file
from sparsec.passes.loop_images import _Stretch
from sparsec.program import Program, load
from sparsec.verify import random_inputs

SMALL = {"size": 32, "width": 0.25, "classes": 100}


@pytest.fixture(scope="module", autouse=True)
def always() -> Iterator[None]:
    """Loops wherever they are possible, of as many images as allowed: a layer for all images is dear."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsec.passes.loop_images._alone", lambda start, _: _Stretch(start, start + 1, 0, 1.0))
        yield


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> tuple[Path, Path]:
    """A model for 17 images, which are no whole number of rounds, and four threads."""
    folder = tmp_path_factory.mktemp("batch")
    return both(zoo.save(folder, "mobilenet_v1", sparsity=0.9, batch=17, **SMALL), folder, threads=4)


def both(path: Path, folder: Path, threads: int = 1, target: str = "x86", **options) -> tuple[Path, Path]:
    """Artifacts with loops and without."""
    made = []
    for loops in (True, False):
        output = folder / f"{path.stem}_{'looped' if loops else 'plain'}{'.wasm' if target == 'wasm' else '.so'}"
        settings = Options(target=target, threads=threads, loops=loops, **options)
        manifest = compile_file(path, output, settings).manifest
        assert any("loop" in layer for layer in manifest["layers"]) == loops
        made.append(output)
    return made[0], made[1]


def assert_same(program: Program, plain: Path, runs: int = 2) -> None:
    inputs = random_inputs(program.inputs)
    expected = load(plain).run(**inputs)
    for _ in range(runs):
        for key, value in program.run(**inputs).items():
            np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize(("name", "images", "chains"), [("mobilenet_v2", 2, True), ("efficientnet_b0", 3, False)])
def test_same_bits(name: str, images: int, chains: bool, tmp_path: Path) -> None:
    looped, plain = both(zoo.save(tmp_path, name, sparsity=0.9, batch=images, **SMALL), tmp_path, chains=chains)
    assert_same(load(looped), plain)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_threads(threads: int, batch) -> None:
    looped, plain = batch
    assert_same(load(looped, threads=threads), plain, runs=5)


def test_a_profile_makes_all_calls_of_a_run(batch) -> None:
    """Call by call, the artifact leaves the same outputs as a run; each layer has one time."""
    looped, plain = batch
    program = load(looped, threads=1)
    inputs = random_inputs(program.inputs)
    profile = program.profile(1, **inputs)
    assert [name for name, _ in profile] == [layer["step"] for layer in program.manifest["layers"]]
    assert all(seconds > 0 for _, seconds in profile)
    outputs = [np.zeros(port.static_shape, port.dtype) for port in program.outputs]
    program._runner.profile(list(inputs.values()), outputs, {}, 1)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(outputs[0], next(iter(load(plain).run(**inputs).values())))


@pytest.mark.parametrize("target", ["arm", "wasm"])
def test_other_targets(target: str, tmp_path: Path) -> None:
    looped, plain = both(zoo.save(tmp_path, "mobilenet_v1", sparsity=0.9, batch=3, **SMALL), tmp_path, target=target)
    assert_same(load(looped), plain, runs=1)
