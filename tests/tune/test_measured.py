"""The file of measured times: lines that hold elsewhere or are damaged do no harm, and none is lost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sparsec.errors import UsageError
from sparsec.targets.isa import AVX2, AVX512
from sparsec.targets.measured import Key, Measured, Time, pattern_digest

KEY = Key("gemm_0123456789", "")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sub" / "tuned.jsonl"


def test_a_new_reader_knows_what_was_written(file):
    Measured(file, AVX512).add(KEY, "gemm", Time(1e-3, "alone"))
    read = Measured(file, AVX512)
    assert read.time(KEY) == Time(1e-3, "alone")
    assert read.rows == {"gemm"}
    assert read.time(replace(KEY, weights="other")) is None


def test_the_last_line_counts_and_times_in_models_go_first(file):
    measured = Measured(file, AVX512)
    for time in (Time(1e-3, "alone"), Time(2e-3, "model"), Time(3e-3, "alone")):
        measured.add(KEY, "gemm", time)
    read = Measured(file, AVX512)
    assert read.time(KEY) == Time(2e-3, "model")
    assert read.alone(KEY) == Time(3e-3, "alone")
    assert len(file.read_text().splitlines()) == 3


def test_a_copy_without_times_in_models(file, tmp_path):
    measured, failed = Measured(file, AVX512), replace(KEY, kernel="failed")
    for key, time in (
        (KEY, Time(1e-3, "alone")),
        (KEY, Time(2e-3, "model")),
        (failed, Time(1e-3, "alone")),
        (failed, Time(None, "model", "slower")),
    ):
        measured.add(key, "gemm", time)
    measured.write_alone(tmp_path / "copy")
    copy = Measured(tmp_path / "copy", AVX512)
    assert copy.time(KEY) == Time(1e-3, "alone")
    assert copy.time(failed) == Time(None, "model", "slower")


@pytest.mark.parametrize("passing", [False, True])
def test_failures_are_kept(file, passing):
    failure = Time(None, "alone", "crashed (SIGSEGV)", passing)
    Measured(file, AVX512).add(KEY, "gemm", failure)
    assert Measured(file, AVX512).time(KEY) == failure


def test_times_of_other_code_do_not_count(file, monkeypatch):
    Measured(file, AVX512).add(KEY, "gemm", Time(1e-3, "alone"))
    monkeypatch.setattr("sparsec.targets.measured.code_digest", lambda: "of another kernel")
    assert Measured(file, AVX512).time(KEY) is None


@pytest.mark.parametrize("other", ["isa", "cpu", "sparsec", "code"])
def test_times_of_other_machines_do_not_count(file, other):
    Measured(file, AVX512).add(KEY, "gemm", Time(1e-3, "alone"))
    entry = json.loads(file.read_text())
    file.write_text(json.dumps({**entry, other: "another"}) + "\n")
    read = Measured(file, AVX512)
    assert read.time(KEY) is None
    assert read.damaged == 0
    assert Measured(file, AVX2).time(KEY) is None


def test_damaged_lines_are_left_out_with_a_warning(file, capsys):
    Measured(file, AVX512).add(KEY, "gemm", Time(1e-3, "alone"))
    good = file.read_bytes()
    file.write_bytes(b'{"kernel": "x"}\n\xff\xfe\n[]\n' + b"[" * 100_000 + b"\n" + good + good[: len(good) // 2])
    read = Measured(file, AVX512)
    assert read.damaged == 5
    assert read.time(KEY) == Time(1e-3, "alone")
    read.warn_of_damage()
    assert "5 damaged line(s) are ignored" in capsys.readouterr().err
    other = replace(KEY, kernel="another")
    read.add(other, "gemm", Time(2e-3, "alone"))  # behind the line that its writer did not finish
    assert Measured(file, AVX512).time(other) == Time(2e-3, "alone")


def test_a_folder_is_no_cache(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        Measured(tmp_path, AVX512)


def test_patterns_differ_by_places_and_shape():
    eye = np.eye(4, dtype=np.float32)
    assert pattern_digest(eye) == pattern_digest(2 * eye)
    assert len({pattern_digest(x) for x in (eye, eye[::-1], eye.reshape(2, 8))}) == 3
