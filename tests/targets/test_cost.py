"""Cost models: fits, caches, the cache file, and that shipped models know every event."""

import json

import numpy as np
import pytest

from sparsec.targets import calibration, cost, shipped_arm
from sparsec.targets.calibration import Calibration
from sparsec.targets.cost import Caches, CostModel, calibrated, shipped
from sparsec.targets.isa import AVX512, ISAS, NEON, host_isas, refine
from sparsec.targets.kernels.conv.table import ARM_ROWS
from sparsec.targets.native import NativeTarget
from sparsec.targets.samples import FAMILIES
from sparsec.targets.samples.conv import ConvSample
from sparsec.targets.samples.others import WindowSample

CACHES = Caches(32 << 10, 512 << 10)


def test_fit_finds_costs():
    counts = np.random.default_rng(0).random((12, 3)) + 0.1
    np.testing.assert_allclose(calibration.fit(counts, counts @ [1.0, 0.2, 3.0]), [1.0, 0.2, 3.0], rtol=1e-6)


def test_fit_has_no_negative_costs():
    random = np.random.default_rng(1)
    counts = random.random((30, 4))
    costs = calibration.fit(counts, counts @ [1.0, 0.0, 2.0, 0.0] * random.uniform(0.9, 1.1, 30))
    assert (costs >= 0).all()
    assert abs(counts @ costs / (counts @ [1.0, 0.0, 2.0, 0.0]) - 1).max() < 0.2


@pytest.mark.parametrize("isa", ISAS.values(), ids=ISAS)
def test_shipped_models_know_every_event(isa):
    model = shipped(isa)
    for sample in (sample for samples in FAMILIES.values() for sample in samples):
        assert model.seconds(calibration.count(sample, sample.kernel(), sample.weight(), isa, CACHES)) > 0


@pytest.mark.parametrize("cpu", shipped_arm.CPUS)
def test_every_arm_cpu_gains_from_sparsity(cpu):
    """Where and how much depends on the CPU; at 90 % zeros each does, without zeros none."""
    model = shipped(refine(NEON, cpu))
    dense, sparse = (next(row for name, row in ARM_ROWS.items() if kind in name) for kind in ("dense", "quads"))

    def seconds(row, density):
        sample = ConvSample(row, density, 256, 256, 28, 4)
        return model.seconds(sample.kernel().events(NEON, model.caches, sample.weight()))

    assert seconds(sparse, 0.1) < seconds(dense, 0.1) / 2
    assert seconds(sparse, 1.0) > seconds(dense, 1.0)


def test_what_is_beyond_the_l2():
    assert CACHES.beyond(100 << 10) == 0
    assert 0 < CACHES.beyond(400 << 10) < 1
    assert CACHES.beyond(4 << 20) == 1


def test_bytes_and_work_of_other_kernels_take_time():
    target = NativeTarget("x86", (AVX512,), shipped(AVX512))
    small, large = (WindowSample(channels, 28, 4).kernel() for channels in (32, 64))
    assert 0 < target.predicted(small, 1 << 17, 1 << 17) < target.predicted(large, 1 << 17, 1 << 17)
    assert target.predicted(small, 1 << 17, 1 << 17) < target.predicted(small, 1 << 22, 1 << 22)


def test_overflow_of_the_l1():
    assert CACHES.overflow(64, 448, 448) == 0  # 28 KB next to each other
    assert CACHES.overflow(128, 448, 448) > 0.9
    assert CACHES.overflow(64, 256, 4096) > 0.9  # 16 KB, but all in 4 sets of 64


def test_costs_are_measured_once(tmp_path, monkeypatch):
    runs = []

    def calibrate(isa, caches):
        runs.append(isa)
        return Calibration(CostModel({"event": 2.0}, caches), ())

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "calibrate", calibrate)
    first, second = calibrated(AVX512), calibrated(AVX512)
    assert first == second
    assert runs == [AVX512]
    (file,) = (tmp_path / "sparsec" / "cost").iterdir()
    file.write_text(json.dumps({"nanoseconds": 1}))
    assert calibrated(AVX512) == first  # a broken file is measured anew
    assert len(runs) == 2


def test_unwritable_cache_is_no_error_and_told_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "sparsec").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "calibrate", lambda isa, caches: Calibration(CostModel({}, caches), ()))
    for _ in range(2):
        assert calibrated(AVX512).nanoseconds == {}
    assert capsys.readouterr().err.count(f"{tmp_path / 'sparsec' / 'cost'} cannot be written") == 1
    assert cost.shipped(AVX512).nanoseconds


def test_costs_are_measured_anew_where_kernels_count_other_events(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cost, "machine_key", cost.machine_key.__wrapped__)  # as in another process
    monkeypatch.setattr(calibration, "calibrate", lambda isa, caches: Calibration(CostModel({"old": 1.0}, caches), ()))
    calibrated(AVX512)
    sample = next(iter(FAMILIES.values()))[0]
    kernel, events = type(sample.kernel()), type(sample.kernel()).events
    monkeypatch.setattr(kernel, "events", lambda self, *rest: {**events(self, *rest), "new": 1.0})
    monkeypatch.setattr(calibration, "calibrate", lambda isa, caches: Calibration(CostModel({"new": 1.0}, caches), ()))
    assert calibrated(AVX512).nanoseconds == {"new": 1.0}


def test_a_small_calibration_fits_its_samples(monkeypatch):
    (isa, *_) = host_isas() or pytest.skip("no x86 to measure on")
    family = {"linear": FAMILIES["linear"][:4]}
    monkeypatch.setattr(calibration, "families", lambda isa: family)
    steps = []
    found = calibration.calibrate(isa, CACHES, lambda what, done, total: steps.append((done, total)))
    assert len(found.errors) == 4
    assert all(cost >= 0 for cost in found.model.nanoseconds.values())
    assert steps[-1][0] <= steps[-1][1]
