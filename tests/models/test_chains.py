"""Chains of layers: the walk through their rows, and artifacts that run them against artifacts that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.chains import Chain, Member, Read, Walk
from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.target import Cache
from sparsec.targets.native import NativeTarget
from sparsec.verify import random_inputs

SMALL = {"size": 64, "width": 0.25, "classes": 100}


@pytest.fixture
def always(monkeypatch) -> None:
    """Chains wherever they are possible: a large cache beyond which bytes are dear, though all fits in it."""
    monkeypatch.setattr(NativeTarget, "cache", Cache(1 << 40, 1e-3))
    monkeypatch.setattr("sparsec.passes.chain_layers._far", lambda values, *_: float(len(set(values))))


def compiled(path: Path, folder: Path, **options) -> tuple[Path, dict]:
    suffix = ".wasm" if options["target"] == "wasm" else ".so"
    output = folder / f"{path.stem}{'_chained' if options.get('chains', True) else ''}{suffix}"
    return output, compile_file(path, output, Options(**options)).manifest


def both(path: Path, folder: Path, threads: int, target: str = "x86", **options) -> tuple[Path, Path]:
    """Artifacts with chains and without."""
    chained, manifest = compiled(path, folder, target=target, threads=threads, **options)
    assert any(layer["op"] == "chain" for layer in manifest["layers"])
    plain, manifest = compiled(path, folder, target=target, threads=threads, chains=False, **options)
    assert not any(layer["op"] == "chain" for layer in manifest["layers"])
    return chained, plain


@pytest.mark.parametrize(("name", "sparsity", "batch"), [("mobilenet_v2", 0.9, 2), ("resnet50", 0.0, 1)])
def test_same_bits(name: str, sparsity: float, batch: int, tmp_path: Path, always: None) -> None:
    path = zoo.save(tmp_path, name, sparsity=sparsity, batch=batch, **SMALL)
    chained, plain = both(path, tmp_path, threads=1, target="host")
    inputs = random_inputs(load(plain).inputs)
    for isa in load(plain).manifest["isas"]:
        expected = load(plain, isa=isa).run(**inputs)
        for _ in range(2):
            for key, value in load(chained, isa=isa).run(**inputs).items():
                np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads(threads: int, tmp_path: Path, always: None, monkeypatch) -> None:
    """Threads begin in the middle of images, and compute the rows that they need above."""
    monkeypatch.setattr("sparsec.passes.chain_layers._CHUNKS", 0)
    monkeypatch.setattr("sparsec.passes.chain_layers._twice", lambda *_: 0.0)
    chained, plain = both(zoo.save(tmp_path, "mobilenet_v2", sparsity=0.9, **SMALL), tmp_path, threads)
    inputs = random_inputs(load(plain).inputs)
    expected = load(plain, threads=1).run(**inputs)
    for _ in range(10):
        for key, value in load(chained, threads=threads).run(**inputs).items():
            np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize("target", ["arm", "wasm"])
def test_other_targets(target: str, tmp_path: Path, always: None) -> None:
    chained, plain = both(zoo.save(tmp_path, "mobilenet_v2", sparsity=0.9, **SMALL), tmp_path, 1, target)
    inputs = random_inputs(load(plain).inputs)
    expected = load(plain).run(**inputs)
    for key, value in load(chained).run(**inputs).items():
        np.testing.assert_array_equal(value, expected[key])


def test_windows_take_less_than_what_they_replace(tmp_path: Path) -> None:
    path = zoo.save(tmp_path, "mobilenet_v1", sparsity=0.9, classes=100)
    chained, plain = (load(artifact) for artifact in both(path, tmp_path, threads=1))
    assert chained.workspace_bytes < 0.8 * plain.workspace_bytes
    assert len(chained.manifest["layers"]) < len(plain.manifest["layers"])


@st.composite
def chains(draw) -> Chain:
    """Convolutions of various windows one after another, some with a residual."""
    height = draw(st.integers(1, 24))
    members: list[Member] = []
    for index in range(draw(st.integers(1, 5)) + 1):
        kernel, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 3))
        pad = draw(st.integers(0, kernel // 2))
        source, height = height, (height + 2 * pad - kernel) // stride + 1
        if height < 1:
            height = source
            kernel = stride = 1
            pad = 0
        panel = draw(st.integers(1, 4))
        rows = panel * draw(st.integers(1, 2))
        reads = (Read(index - 1, stride, pad, kernel),) if index else ()
        same = [i for i, member in enumerate(members[:-1]) if member.walk.height == height]
        if same and draw(st.booleans()):
            reads += (Read(draw(st.sampled_from(same))),)
        members.append(Member(Walk(1, height, rows, 1, source, stride, pad, kernel), reads, panel, 1, False))
    last = members[-1]
    return Chain((*members[:-1], Member(last.walk, last.reads, last.panel_rows, last.panel_bytes, True)))


@given(chains(), st.data())
@settings(max_examples=200, deadline=None)
def test_walk(chain: Chain, data) -> None:
    """Every unit finds what it reads in the windows, and the last member's units are computed once each."""
    first = data.draw(st.integers(0, chain.units - 1))
    last = data.draw(st.integers(first + 1, chain.units))
    windows: list[dict[int, int]] = [{} for _ in chain.members]  # place in the window → row
    bases = [chain.members[index].panels(start) for index, start in enumerate(chain.starts(first))]
    computed = []
    for task in chain.tasks(first, last):
        member = chain.members[task.member]
        size = member.panel_rows
        if task.kind == "move":
            kept = {row // size: row for row in windows[task.member].values()}
            assert task.start >= bases[task.member]
            windows[task.member] = {
                row - task.start * size: row
                for row in windows[task.member].values()
                if task.start <= row // size < task.stop
            }
            assert set(range(task.start, task.stop)) <= set(kept)
            bases[task.member] = task.start
            continue
        low, high = task.start * member.walk.rows, min(task.stop * member.walk.rows, member.walk.height)
        for read in member.reads:
            held = set(windows[read.member].values())
            assert set(range(read.low(low), read.high(high, chain.members[read.member].walk.height))) <= held
        if task.member == len(chain.members) - 1:
            computed += range(task.start, task.stop)
            continue
        for row in range(low, high):
            place = row - bases[task.member] * size
            assert 0 <= place < chain.capacities[task.member] * size
            windows[task.member][place] = row
    assert computed == list(range(first, last))
