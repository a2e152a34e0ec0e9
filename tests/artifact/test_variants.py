"""One artifact from several targets, which chooses when it runs."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pytest
from artifact import toy

from sparsec.artifact import read_artifact
from sparsec.errors import TargetError, UsageError
from sparsec.program import Program
from sparsec.targets.registry import parse_target
from sparsec.transport import open_transport


def names(target: str) -> list[str]:
    return [isa.name for isa in parse_target(target).isas]


def test_most_demanding_first():
    assert names("arm:cortex-a53,arm:cortex-a76") == names("arm:cortex-a76,arm:cortex-a53")
    assert names("arm:cortex-a53,arm+dotprod,arm+dotprod+i8mm") == [
        "neon-dotprod-i8mm",
        "neon-dotprod",
        "neon-cortex-a53",
    ]
    assert names("x86:znver3,x86:znver5") == ["avx512-znver5", "avx2-znver3"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("arm,x86:znver3", "targets of one architecture"),
        ("arm,arm-macos", "targets of one architecture"),
        ("wasm,wasm+relaxed-simd", "none of WebAssembly"),
        ("arm:cortex-a53,arm:cortex-a72", "neon-cortex-a72 need the same features of a CPU"),
        ("arm,", "no target called ''"),
        ("arm:cortex-a53,arm:no-such", "LLVM does not know this CPU"),
        ("arm-macos:cortex-a53", "Macs have CPUs of Apple"),
    ],
)
def test_targets_that_are_refused(target, message):
    with pytest.raises(UsageError, match=message):
        parse_target(target)


@pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static")
def test_arm_chooses(tmp_path, monkeypatch, x):
    """A Cortex-A53 runs the second of two variants, a Cortex-A76 either; code for the A76 has its instructions."""
    isas = parse_target("arm:cortex-a53,arm:cortex-a76").isas
    monkeypatch.setitem(toy.ISAS, "arm", isas)
    artifact = read_artifact(toy.build(tmp_path, "arm"))
    best, base = artifact.manifest["isas"]
    assert [best, base] == ["neon-cortex-a76", "neon-cortex-a53"]
    for cpu, runs in (("cortex-a53", {base: True, best: False}), ("cortex-a76", {base: True, best: True})):
        with closing(open_transport(f"qemu:{cpu}")) as transport:
            for isa, fits in {None: True, **runs}.items():
                program = Program(artifact, isa=isa, transport=transport)
                if fits:
                    np.testing.assert_allclose(program(x)[0], toy.expected(x), rtol=1e-6, atol=1e-5)
                else:
                    with pytest.raises(TargetError, match="this CPU lacks the instructions"):
                        program(x)
