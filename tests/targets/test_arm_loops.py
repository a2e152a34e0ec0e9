"""What llvm-mca says of the loops made for ARM, which no timing on this machine can tell."""

from __future__ import annotations

import arm
import pytest
from mca import loops

# Instructions of a step of four non-zeros beside multiply-adds and loads of B: additions, loads of the step, its loop.
OTHERS = 12


@pytest.mark.parametrize("cpu", arm.CPUS)
@pytest.mark.parametrize("tile", [16, 32])
def test_no_more_cycles_than_xnnpack(cpu: str, tile: int) -> None:
    ours = arm.sparse_cycles(cpu, tile, 0.1)
    assert ours <= min(arm.peer_cycles(cpu, tile // 4, kind) for kind in arm.PEERS)


@pytest.mark.parametrize("tile", [16, 32, 52, 56, 64])
def test_sparse_steps_have_no_needless_instructions(tile: int) -> None:
    step, _ = arm.sparse_loops("generic", tile)
    pairs = 4 * -(-tile // 8)
    assert len(step.lines) <= step.multiply_adds + pairs + OTHERS
    assert not any("[sp" in line for line in step.lines), "vectors are spilt"


def test_dense_tiles_have_no_needless_instructions() -> None:
    """Two steps of K: 48 multiply-adds, 3 loads of weights and 3 of B, or fewer as pairs, and what a loop needs."""
    found = max(loops(arm.assembly(arm.LaneDenseRow(arm.DEPTH), "generic", 48)), key=lambda loop: loop.multiply_adds)
    assert found.multiply_adds == 48
    assert len(found.lines) <= 48 + 14
    assert not any("[sp" in line for line in found.lines), "sums are spilt"
