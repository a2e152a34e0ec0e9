"""Artifacts on machines: under qemu, in wasmtime, on CPUs that lack features."""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
from artifact import toy
from artifact.conftest import require_x86

from sparsec.errors import InvalidModel, TargetError, UsageError
from sparsec.program import load
from sparsec.targets.cpu import WORDS, needs
from sparsec.targets.isa import AVX2, AVX512, NEON, WASM, refine
from sparsec.targets.link_wasm import Delivery

emulated = pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static")
in_wasmtime = pytest.mark.skipif(not importlib.util.find_spec("wasmtime"), reason="no wasmtime")


@emulated
@pytest.mark.parametrize("threads", [1, 2])
def test_arm(built, x, threads):
    program = load(built("arm", threads=2), threads=threads)
    np.testing.assert_allclose(program(x)[0], toy.expected(x), rtol=1e-6, atol=1e-5)


@in_wasmtime
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("delivery", [Delivery(), Delivery(separate=True), Delivery(separate=True, limit=200)])
def test_wasm(built, x, threads, delivery):
    path = built("wasm", threads=threads, delivery=delivery)
    for isa in (None, "wasm-relaxed", "wasm"):
        program = load(path, isa=isa)
        for scale in (1, 2):
            np.testing.assert_allclose(program(scale * x)[0], toy.expected(scale * x), rtol=1e-6, atol=1e-5)
    assert program.manifest["threads"] == threads
    with pytest.raises(UsageError, match="one thread"):
        load(path, threads=2)


@in_wasmtime
def test_files_of_weights(tmp_path, x):
    """They come in parts of at most the limit, and must belong to the module."""
    path = toy.build(tmp_path, "wasm", delivery=Delivery(separate=True, limit=200))
    parts = [tmp_path / f"toy.{i}.bin" for i in range(3)]
    assert [part.stat().st_size for part in parts] == [200, 200, 64 + 332 - 2 * 136]
    content = parts[1].read_bytes()
    for damaged, error, message in (
        (content[:100], InvalidModel, "truncated"),
        (content[:10] + b"!" + content[11:], InvalidModel, "another compilation"),
        (None, UsageError, "no such file"),
    ):
        parts[1].unlink() if damaged is None else parts[1].write_bytes(damaged)
        with pytest.raises(error, match=message):
            load(path)
    parts[1].write_bytes(content)
    np.testing.assert_allclose(load(path)(x)[0], toy.expected(x), rtol=1e-6, atol=1e-5)


@in_wasmtime
@pytest.mark.parametrize("delivery", [Delivery(), Delivery(separate=True)])
def test_save_of_wasm(built, x, tmp_path, delivery):
    program = load(built("wasm", delivery=delivery))
    program.save(tmp_path / "other.wasm")
    weights = ["toy.bin"] if delivery.separate else []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other.d.ts", "other.js", "other.wasm", *weights]
    assert "new URL('./other.wasm', import.meta.url)" in (tmp_path / "other.js").read_text()
    np.testing.assert_array_equal(load(tmp_path / "other.wasm")(x)[0], program(x)[0])


def test_emulator_is_missing(built, monkeypatch):
    require_x86()
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(TargetError, match="code for aarch64; to run it here install qemu-user-static"):
        load(built("arm"))


def test_wasmtime_is_missing(built, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wasmtime", None)
    with pytest.raises(TargetError, match="install wasmtime"):
        load(built("wasm"))


def test_cpu_lacks_a_feature(tmp_path, x, monkeypatch):
    """Bit 16 of the first word is reserved: no CPU has it."""
    require_x86()
    monkeypatch.setattr("sparsec.targets.glue.needs", lambda isa: (1 << 16, *[0] * (WORDS - 1)))
    path = toy.build(tmp_path)
    for isa in (None, "avx2"):
        with pytest.raises(TargetError, match=r"this CPU lacks the instructions .* \(avx512, avx2\)"):
            load(path, isa=isa)(x)


def test_cpu_takes_the_second_isa(tmp_path, x, monkeypatch):
    require_x86()
    lacking = (1 << 16, *[0] * (WORDS - 1))
    monkeypatch.setattr("sparsec.targets.glue.needs", lambda isa: lacking if isa is AVX512 else needs(isa))
    path = toy.build(tmp_path)
    np.testing.assert_allclose(load(path)(x)[0], toy.expected(x), rtol=1e-6, atol=1e-5)
    with pytest.raises(TargetError):
        load(path, isa="avx512")(x)


def test_needs_of_isas():
    avx2, avx512, none = needs(AVX2), needs(AVX512), (0,) * WORDS
    assert avx2[8], avx512[8] == (0x6, 0xE6)
    assert all(small & ~large == 0 for small, large in zip(avx2, avx512, strict=True))
    assert needs(refine(AVX512, "znver5"))[3] & 1 << 11, "VNNI"
    assert needs(NEON) == needs(WASM) == none
    assert needs(refine(NEON, "cortex-a76"))[0] & 1 << 20, "dot product"
