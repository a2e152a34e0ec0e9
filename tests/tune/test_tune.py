"""Tuning of a small model, with a measurer that says what each kernel takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from whole_models import write_model

from sparsec.bench import Measurement
from sparsec.compiler import Options, compile_file
from sparsec.errors import TargetError, UsageError
from sparsec.targets.isa import host_isas
from sparsec.targets.measured import Measured, Time
from sparsec.tune import Trial, proof, tune
from sparsec.tune.layers import Network
from sparsec.tune.search import Search
from sparsec.tune.trial import MeasurementFailed, OutOfTime

pytestmark = pytest.mark.skipif(not host_isas(), reason="no x86 to tune on")


@pytest.fixture
def model(tmp_path):
    """Two 1x1 convolutions, the second with one weight of ten."""
    random = np.random.default_rng(0)
    first, second = (random.standard_normal((64, 64, 1, 1), np.float32) for _ in range(2))
    weights = {"v": first, "w": np.where(random.random(second.shape) < 0.1, second, np.float32(0))}
    text = "g (float[1,64,14,14] x) => (float[1,64,14,14] y) { a = Conv(x, v) b = Relu(a) y = Conv(b, w) }"
    return write_model(tmp_path / "m.onnx", text, weights)


class Oracle:
    """Says that the kernels of some rows are fast, that others fail, and counts what it is asked."""

    def __init__(self, fast: str = "", failing: str = "none", interrupt: int | None = None) -> None:
        self.fast, self.failing, self.left, self.asked = fast, failing, interrupt, []
        self.failure = MeasurementFailed("crashed (SIGSEGV)")

    def seconds(self, trial: Trial) -> float:
        if self.left == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(trial.kernel.symbol)
        if self.failing in trial.kernel.name:
            raise self.failure
        return 1e-6 if trial.kernel.name == self.fast else 1e-3


@pytest.fixture
def no_proof(monkeypatch):
    monkeypatch.setattr(proof.Proof, "settle", lambda self, outcome: None)


def rows(manifest):
    return [layer["row"] for layer in manifest["layers"] if "row" in layer]


def other_row(model, layer=1):
    """A row that is no default, and in no table."""
    found = Network(model, Options()).layers[layer]
    return next(row for row, way in found.ways.items() if not way.standard)


@pytest.mark.usefixtures("no_proof")
def test_the_measured_best_is_compiled_and_explained(model, tmp_path):
    row, cache = other_row(model), tmp_path / "c.jsonl"
    outcome = tune(model, Options(), cache, 60, Oracle(fast=row))
    assert outcome.layers == 2
    assert not outcome.failed
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache, verify="random"))
    assert rows(result.manifest)[1] == row
    last = [layer for layer in result.manifest["layers"] if "row" in layer][-1]
    assert last["reason"].startswith("measured alone")
    assert last["seconds"] == 1e-6


@pytest.mark.usefixtures("no_proof")
def test_what_is_known_is_not_measured_again(model, tmp_path):
    cache, first, second = tmp_path / "c.jsonl", Oracle(interrupt=7), Oracle()
    with pytest.raises(KeyboardInterrupt):
        tune(model, Options(), cache, 60, first)
    outcome = tune(model, Options(), cache, 60, second)
    assert outcome.known == 7
    assert not set(first.asked) & set(second.asked)
    assert tune(model, Options(), cache, 60, Oracle(interrupt=0)).measured == 0


@pytest.mark.usefixtures("no_proof")
def test_a_timeout_is_told_and_measured_again(model, tmp_path):
    cache, busy, second = tmp_path / "c.jsonl", Oracle(failing="spmm"), Oracle()
    busy.failure = OutOfTime("no answer in 30 s")
    failed = tune(model, Options(), cache, 60, busy).failed
    outcome = tune(model, Options(), cache, 60, second)
    assert outcome.measured == len(failed) == len(second.asked) > 0
    assert not outcome.failed
    assert tune(model, Options(), cache, 60, Oracle(interrupt=0)).measured == 0


@pytest.mark.usefixtures("no_proof")
def test_crashes_of_earlier_runs_are_told(model, tmp_path):
    cache = tmp_path / "c.jsonl"
    first = tune(model, Options(), cache, 60, Oracle(failing="spmm")).failed
    again = tune(model, Options(), cache, 60, Oracle(interrupt=0))
    assert again.measured == 0
    assert sorted(again.failed) == sorted(f"{failure}, in an earlier run" for failure in first)


def test_the_whole_is_compared_in_chains(model, tmp_path, monkeypatch):
    """As compile --tuned makes it; layers are compared as steps of their own."""
    made = {}

    def compiled(path, output, options, progress):
        made[output.stem] = options.chains, options.tuned is not None
        return compile_file(path, output, options, progress)

    row = other_row(model)
    monkeypatch.setattr(proof, "compile_file", compiled)
    monkeypatch.setattr(proof, "_profile", _profile_with(row, 0.5))
    monkeypatch.setattr(proof, "measure", _measure_with(1.0, 2.0))
    tune(model, Options(), tmp_path / "c.jsonl", 60, Oracle(fast=row))
    assert made == {
        "default": (False, False),
        "tuned": (False, True),
        "whole_default": (True, False),
        "whole_tuned": (True, True),
    }


@pytest.mark.usefixtures("no_proof")
def test_a_file_without_times_for_the_model_is_told(model, tmp_path, capsys):
    cache = tmp_path / "c.jsonl"
    cache.touch()
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert "nothing is tuned" in capsys.readouterr().err
    assert result.manifest["tuned"] == 0
    tune(model, Options(), cache, 60, Oracle())
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert "nothing is tuned" not in capsys.readouterr().err
    assert result.manifest["tuned"] == 2
    assert "2 chosen by measured times" in result.describe()
    assert compile_file(model, tmp_path / "m.so").manifest["tuned"] is None


def test_a_folder_is_no_file_of_times(model, tmp_path):
    with pytest.raises(UsageError, match="is a folder; name the file"):
        compile_file(model, tmp_path / "m.so", Options(tuned=tmp_path))


@pytest.mark.usefixtures("no_proof")
def test_failures_are_told_and_never_chosen(model, tmp_path):
    cache = tmp_path / "c.jsonl"
    outcome = tune(model, Options(), cache, 60, Oracle(failing="spmm"))
    assert outcome.failed
    assert all("crashed (SIGSEGV)" in failure for failure in outcome.failed)
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert not any("spmm" in row for row in rows(result.manifest))


def test_kernels_that_do_not_pay_in_the_model_are_taken_back(model, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "SECONDS", 0.1)
    row, cache = other_row(model), tmp_path / "c.jsonl"
    monkeypatch.setattr(proof, "_profile", _profile_with(row, 2.0))
    outcome = tune(model, Options(), cache, 60, Oracle(fast=row))
    assert all(row != override.after for override in outcome.overrides)
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert rows(result.manifest)[1] != row


@pytest.mark.parametrize("faster", [True, False])
def test_all_is_taken_back_where_the_whole_is_slower(model, tmp_path, monkeypatch, faster):
    row, cache = other_row(model), tmp_path / "c.jsonl"
    monkeypatch.setattr(proof, "_profile", _profile_with(row, 0.5))
    monkeypatch.setattr(proof, "measure", _measure_with(1.0, 2.0 if faster else 0.5))
    outcome = tune(model, Options(), cache, 60, Oracle(fast=row))
    assert outcome.ratio == (2.0 if faster else 1.0)
    assert any(override.after == row for override in outcome.overrides) == faster
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert (rows(result.manifest)[1] == row) == faster


def test_kernels_that_are_measured_later_get_their_proof(model, tmp_path, monkeypatch):
    first, cache = other_row(model), tmp_path / "c.jsonl"
    layer = Network(model, Options()).layers[1]
    second = next(row for row in layer.ways if row not in (first, layer.default))
    monkeypatch.setattr(proof, "measure", _measure_with(1.0, 2.0))
    monkeypatch.setattr(proof, "_profile", _profile_with(first, 0.5))
    assert first in [o.after for o in tune(model, Options(), cache, 60, Oracle(fast=first)).overrides]
    Measured(cache, host_isas()[0]).add(layer.ways[second].key, second, Time(1e-7, "alone"))
    monkeypatch.setattr(proof, "_profile", _profile_with(second, 0.25))
    tune(model, Options(), cache, 60, Oracle())
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert rows(result.manifest)[1] == second


def _profile_with(row, seconds):
    """A profile in which nodes take a second, but `seconds` on the kernel of `row`."""
    return lambda program, inputs: {
        layer["node"]: seconds if layer.get("row") == row else 1.0 for layer in program.manifest["layers"]
    }


def _measure_with(ours, theirs):
    """Measures whole models of these times, tuned and default."""
    return lambda engines, seconds: [Measurement(name, (ours if "tuned" in name else theirs,)) for name in engines]


@pytest.mark.parametrize("slowest", [1.9, 2.1])
def test_no_copy_of_the_tuned_model_may_be_slower_than_one_of_the_default(model, tmp_path, monkeypatch, slowest):
    """Where pages lie makes copies of one artifact differ by as much as kernels do."""
    row, times = other_row(model), iter([(1.0,), (2.0,), (slowest,), (3.0,)])
    monkeypatch.setattr(proof, "_profile", _profile_with(row, 0.5))
    monkeypatch.setattr(proof, "measure", lambda engines, seconds: [Measurement(name, next(times)) for name in engines])
    outcome = tune(model, Options(), tmp_path / "c.jsonl", 60, Oracle(fast=row))
    assert bool(outcome.overrides) == (slowest < 2)


def test_the_search_tries_everything_once(model):
    search = Search(Network(model, Options()).layers[1])
    seen = []
    while not search.finished:
        way = search.next()
        seen.append(way.row)
        search.tell(way, 1e-3 / len(seen))
    assert sorted(seen) == sorted(search.layer.ways)
    assert seen[0] == search.layer.default
    assert search.best == seen[-1]


def test_rows_are_found_by_name():
    from sparsec.targets.kernels.conv.table import ROWS, row_named, variants

    for name, row in {**variants("f32"), **ROWS}.items():
        assert row_named(name) == row


def test_a_prediction_never_stands_before_a_measurement(model, tmp_path):
    network, cache = Network(model, Options()), tmp_path / "c.jsonl"
    layer = network.layers[0]
    way = list(layer.ways.values())[-1]
    Measured(cache, network.target.isas[0]).add(way.key, way.row, Time(1.0, "alone"))
    result = compile_file(model, tmp_path / "m.so", Options(tuned=cache))
    assert rows(result.manifest)[0] == way.row


@pytest.mark.slow
@pytest.mark.usefixtures("no_proof")
def test_rows_outside_the_table_are_right(tmp_path):
    weight = np.random.default_rng(0).standard_normal((40, 24, 3, 3), np.float32)
    weight[np.abs(weight) < 1] = 0
    text = "g (float[1,24,20,20] x) => (float[1,40,18,18] y) { y = Conv(x, w) }"
    model, options = write_model(tmp_path / "m.onnx", text, {"w": weight}), Options(target="x86")
    (layer,) = Network(model, options).layers
    for kind in {way.kind for way in layer.ways.values()}:
        row = next((row for row, way in layer.ways.items() if way.kind == kind and not way.standard), None)
        if row is None:
            continue
        cache = tmp_path / f"{row}.jsonl"
        tune(model, options, cache, 60, Oracle(fast=row))
        result = compile_file(model, tmp_path / "m.so", replace(options, tuned=cache, verify="random"))
        assert rows(result.manifest) == [row]


def test_only_targets_of_this_machine_are_tuned(model, tmp_path):
    with pytest.raises(TargetError, match="does not run on this machine"):
        tune(model, Options(target="arm"), tmp_path / "c.jsonl", 1, Oracle())


def test_without_optuna(model, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsec.tune.search.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'sparsec\[tune\]'"):
        tune(model, Options(), tmp_path / "c.jsonl", 1, Oracle())


def command(*words):
    return [sys.executable, "-m", "sparsec", *map(str, words)]


def test_the_command(model, tmp_path):
    cache = tmp_path / "c.jsonl"
    done = subprocess.run(
        command("tune", model, "--time", "1s", "-o", cache, "--json"), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    lines = [json.loads(line) for line in cache.read_text().splitlines()]
    assert found["measured"] == sum(line["where"] == "alone" for line in lines) > 0
    assert found["ratio"] >= 1
    compiled = subprocess.run(
        command("compile", model, "-o", tmp_path / "m.so", "--tuned", cache), capture_output=True, text=True, check=True
    )
    assert "kernels" in compiled.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tune", "missing.onnx"], 2),
        (["tune", "MODEL", "--time", "soon"], 2),
        (["tune", "MODEL", "--target", "wasm"], 6),
        (["compile", "MODEL", "--tuned", "missing.jsonl"], 2),
        (["calibrate", "--target", "arm"], 6),
        (["calibrate", "--target", "toaster"], 2),
    ],
)
def test_exit_codes(model, tmp_path, words, code):
    words = [model if word == "MODEL" else word for word in words]
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_command_keeps_its_work(model, tmp_path):
    cache = tmp_path / "c.jsonl"
    process = subprocess.Popen(command("tune", model, "--time", "10m", "-o", cache), stderr=subprocess.PIPE)
    while not (cache.exists() and cache.read_bytes().count(b"\n") > 1) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    if process.returncode != 0:  # 0: the small model was done before the signal came
        assert process.returncode == 130
    assert Measured(cache, host_isas()[0]).damaged == 0
