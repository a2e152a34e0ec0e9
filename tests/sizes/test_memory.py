"""Memory plans for corners of ranges: what lives at one time lies apart in each, and fits runs of smaller sizes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import sized_models
from plan_checks import check_plan

from sparsec.frontend.onnx import import_model
from sparsec.ir import WeightOp, type_of
from sparsec.ir.ranges import fixed_at
from sparsec.passes import MemoryPlan, pipeline, run_pipeline
from sparsec.targets.registry import parse_target

RANGES = {"batch": (1, 4), "seq": (1, 100)}


@pytest.mark.parametrize("text", [sized_models.PIECES, sized_models.CNN], ids=["pieces", "cnn"])
def test_plans_of_corners(tmp_path, text):
    path = sized_models.write(tmp_path, text)
    dims = {name: sizes for name, sizes in RANGES.items() if name in text.partition(")")[0]}
    model = import_model(path, dims=dims)
    plan = run_pipeline(model, pipeline(chains=False, loops=False), parse_target("x86")).memory
    assert plan.corners[-1].sizes == tuple(high for _, high in sorted(dims.values()))
    assert max(corner.arena_bytes for corner in plan.corners) == plan.arena_bytes
    rng = np.random.default_rng(0)
    for corner in plan.corners:
        for sizes in (corner.sizes, tuple(int(rng.integers(1, size + 1)) for size in corner.sizes)):
            with ExitStack() as stack:
                for op in model.main.body.block.ops:
                    stack.enter_context(fixed_at(op, dict(zip(sorted(dims), sizes, strict=True))))
                check_plan(model, _at_corner(plan, corner))


def _at_corner(plan: MemoryPlan, corner) -> MemoryPlan:
    """The plan of a run, whose types are fixed."""
    buffers = {}
    for value, buffer in plan.buffers.items():
        nbytes = type_of(value).nbytes
        assert isinstance(nbytes, int)
        moved = {"index": 0, "offset": corner.places[buffer.index] + buffer.offset} if buffer.space == "arena" else {}
        buffers[value] = replace(buffer, nbytes=nbytes, **moved)
    assert not any(isinstance(value.owner, WeightOp) for value in buffers)
    return replace(plan, buffers=buffers, arena_bytes=corner.arena_bytes)
