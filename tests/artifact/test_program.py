"""`sparsec.load` and `Program`: calls, checks of inputs, saving, and files that are no artifacts."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

from sparsec.artifact import ABI
from sparsec.errors import InvalidModel, TargetError, UsageError
from sparsec.program import load


@pytest.mark.parametrize("isa", [None, "avx512", "avx2"])
def test_call(native, x, isa):
    program = load(native, isa=isa)
    try:
        (y,) = program(x)
    except TargetError:
        pytest.skip(f"this CPU has no {isa}")
    np.testing.assert_allclose(y, toy.expected(x), rtol=1e-6, atol=1e-5)
    assert y.ctypes.data % 64 == 0


def test_call_by_name_and_run(native, x):
    program = load(native)
    (y,) = program(x=x)
    np.testing.assert_array_equal(program.run(x=x)['y"\\ü'], y)


def test_ports_and_manifest(native):
    program = load(native)
    assert [(port.name, port.dtype, port.shape) for port in program.inputs] == [("x", "float32", toy.SHAPE)]
    assert program.outputs[0].name == 'y"\\ü'
    assert program.manifest["layers"] == [{"name": "scale"}]
    assert program.manifest["isas"] == ["avx512", "avx2"]
    assert program.report == program.manifest
    assert program.workspace_bytes == program.manifest["workspace_bytes"]


def test_what_nobody_holds_is_unloaded(native, x, tmp_path):
    copy = shutil.copy(native, tmp_path / "copy.so")
    program = load(copy)
    program(x)
    assert str(copy) in Path("/proc/self/maps").read_text()
    del program
    gc.collect()
    assert str(copy) not in Path("/proc/self/maps").read_text()


class Tensor:
    """A DLPack tensor of another library."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_takes_dlpack_strided_and_unaligned_arrays(native, x):
    program = load(native)
    (expected,) = program(x)
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for same in (Tensor(x), strided, np.asfortranarray(x), unaligned):
        np.testing.assert_array_equal(program(same)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, r"input 'x' \(float32\[67, 50\]\) is missing"),
        ((np.zeros(toy.SHAPE, np.float32),) * 2, {}, r"toy takes 1 input\(s\) \(x\), got 2"),
        ((), {"z": 0}, "toy has no input 'z'; its inputs are 'x'"),
        ((np.zeros(toy.SHAPE, np.float32),), {"x": 0}, "input 'x' is given twice"),
        (
            (np.zeros(toy.SHAPE),),
            {},
            r"input 'x': expected float32\[67, 50\], got float64\[67, 50\]; convert it with",
        ),
        ((np.zeros((50, 67), np.float32),), {}, r"input 'x': expected float32\[67, 50\], got float32\[50, 67\]$"),
        ((np.zeros(toy.SHAPE, ">f4"),), {}, r"input 'x': expected float32\[67, 50\], got >f4\[67, 50\]"),
        (([[1.0], [2.0, 3.0]],), {}, r"input 'x': expected float32\[67, 50\], got a list"),
    ],
)
def test_wrong_inputs(native, arguments, named, message):
    with pytest.raises(UsageError, match=message):
        load(native)(*arguments, **named)


def test_save_and_replace_a_loaded_artifact(native, built, x, tmp_path):
    path = tmp_path / "copy.so"
    program = load(native)
    program.save(path)
    assert path.with_suffix(".h").read_text() == native.with_suffix(".h").read_text()
    copy = load(path)
    load(built("x86", name="other")).save(path)
    assert (copy.name, load(path).name) == ("toy", "other")
    np.testing.assert_array_equal(copy(x)[0], program(x)[0])
    np.testing.assert_array_equal(load(path)(x)[0], program(x)[0])


def test_wrong_options(native):
    with pytest.raises(UsageError, match="no code for ISA 'neon'; it has avx512, avx2"):
        load(native, isa="neon")
    with pytest.raises(UsageError, match="threads=-1"):
        load(native, threads=-1)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path / "model.so")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x7fELF" + bytes(100), b"\0asm\1\0\0\0" + bytes(100)])
def test_not_an_artifact(tmp_path, content):
    path = tmp_path / "model.so"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match=r"not an artifact of sparsec|truncated or damaged"):
        load(path)


@pytest.mark.parametrize("target", ["x86", "wasm"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated(built, tmp_path, target, share):
    whole = built(target)
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(InvalidModel, match=r"truncated or damaged|not an artifact"):
        load(path)


def test_object_file(built):
    with pytest.raises(UsageError, match="an object file runs only after linking"):
        load(built("x86", emit="obj"))


def test_artifact_of_another_abi(native, tmp_path):
    path = tmp_path / "old.so"
    path.write_bytes(native.read_bytes().replace(f'"abi": {ABI}'.encode(), b'"abi": 0'))
    with pytest.raises(InvalidModel, match="for another ABI; compile it again"):
        load(path)


def test_artifact_for_another_machine(native, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(TargetError, match="compiled for x86_64 Linux, and this is riscv64"):
        load(native)


def test_header_need_not_be_there(native, tmp_path):
    path = shutil.copy(native, tmp_path / "alone.so")
    load(path).save(tmp_path / "again.so")
    assert not (tmp_path / "again.h").exists()
