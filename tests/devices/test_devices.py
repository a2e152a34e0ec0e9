"""Artifacts on other machines: over ssh to a private sshd, and under qemu."""

from __future__ import annotations

import json
import platform
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from artifact import toy

from sparsec.artifact import read_artifact
from sparsec.cli.main import _run as sparsec
from sparsec.errors import TargetError, UsageError
from sparsec.program import Program
from sparsec.transport import LocalTransport, Transport, open_transport

emulated = pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static")
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the artifact is for x86-64")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made: dict[str, Path] = {}

    def build(target: str) -> Path:
        if target not in made:
            made[target] = toy.build(tmp_path_factory.mktemp("toy"), target, threads=2)
        return made[target]

    return build


def check(artifact: Path, transport: Transport) -> None:
    """Runs there are right, each on its own inputs, and can be timed."""
    program = Program(read_artifact(artifact), transport=transport)
    x = np.random.default_rng(0).standard_normal(toy.SHAPE, dtype=np.float32)
    for scale in (1, 2):
        np.testing.assert_allclose(program(scale * x)[0], toy.expected(scale * x), rtol=1e-6, atol=1e-5)
    runs = program.time(0.01, x=x)
    assert runs
    assert all(wall > 0 and cpu >= 0 for wall, cpu in runs)
    with pytest.raises(UsageError, match="expected float32"):
        program.time(0.01, x=x[1:])


@on_x86
def test_ssh(built, device):
    transport = open_transport(device)
    with closing(transport):
        check(built("x86"), transport)
        folder = Path(transport.place(""))
        assert folder.is_dir(), "sshd runs on this machine"
    assert not folder.exists()


@on_x86
def test_this_machine(built):
    with closing(LocalTransport()) as transport:
        check(built("x86"), transport)


@emulated
def test_qemu(built):
    with closing(open_transport("qemu:cortex-a53")) as transport:
        check(built("arm"), transport)


@on_x86
def test_bench_prints_what_it_prints_here(built, device, capsys):
    results = []
    for options in ([], ["--device", device]):
        assert sparsec(["bench", str(built("x86")), "--json", "--time", "0.1", *options]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0].keys() == results[1].keys() == {"sparsec"}
    assert results[0]["sparsec"].keys() == results[1]["sparsec"].keys()


@on_x86
def test_run_gives_what_it_gives_here(built, device, tmp_path, capsys):
    for place, options in enumerate(([], ["--device", device])):
        assert sparsec(["run", str(built("x86")), "--output", str(tmp_path / f"{place}.npz"), *options]) == 0
    here, there = (np.load(tmp_path / f"{place}.npz") for place in range(2))
    assert list(here) == list(there)
    assert all((here[name] == there[name]).all() for name in here)


@on_x86
def test_artifact_for_another_machine(built, device, capsys):
    assert sparsec(["bench", str(built("arm")), "--device", device]) == 6
    assert f"compiled for aarch64 Linux, and {device} is x86_64 Linux" in capsys.readouterr().err


def test_machine_that_is_not_there(built, device, capsys, monkeypatch):
    assert sparsec(["bench", str(built("x86")), "--device", "ssh://nobody@127.0.0.1:1"]) == 6
    assert "ssh://nobody@127.0.0.1:1: not reachable: " in capsys.readouterr().err
    monkeypatch.setenv("SPARSEC_SSH", "no-such-client")
    with pytest.raises(TargetError, match="there is no no-such-client on this machine"):
        open_transport(device)


def test_program_that_fails(device):
    with closing(open_transport(device)) as transport:
        with pytest.raises(TargetError, match=r"[Nn]o such file"):
            transport.run(["cat", "/no such file"], 10)
        with pytest.raises(TargetError, match=r"no answer in 0\.1 s"):
            transport.run(["sleep", "5"], 0.1)
        assert transport.run(["echo", "it's $HOME"], 10) == "it's $HOME\n"


@pytest.mark.parametrize(
    "name", ["board", "ssh://", "ssh://-oProxyCommand=x", "ssh://h:port", "http://h", "ssh://h/x", "ssh://u:p@h"]
)
def test_names_of_no_device(name):
    with pytest.raises(UsageError, match="give ssh://user@host"):
        open_transport(name)
