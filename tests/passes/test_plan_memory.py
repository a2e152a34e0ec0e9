"""Memory plans of random graphs, and of values with given lives."""

import numpy as np
from graphs import FakeTarget, random_model
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plan_checks import check_plan

from sparsec.passes import PlanMemory, pipeline, run_pipeline
from sparsec.passes.plan_memory import Live, lower_bound, place
from sparsec.target import Cache


class SmallTarget(FakeTarget):
    """Bytes are so slow that all that can be is a loop."""

    cache = Cache(64, 1e-3)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**9), length=st.integers(1, 40), in_place=st.booleans(), small=st.booleans())
@example(seed=38690, length=24, in_place=False, small=False)  # needs places at the upper ends of gaps
def test_random_graphs(seed, length, in_place, small):
    model, _ = random_model(seed, length, outputs=3)
    passes = [step for step in pipeline() if not isinstance(step, PlanMemory)]
    plan = run_pipeline(model, [*passes, PlanMemory(in_place)], SmallTarget() if small else FakeTarget()).memory
    check_plan(model, plan)
    assert plan.lower_bound_bytes <= plan.arena_bytes <= 1.2 * plan.lower_bound_bytes


LIVES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30), st.integers(0, 8)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(LIVES)
def test_placement(sizes):
    lives = [Live(64 * nbytes, first, first + length) for nbytes, first, length in sizes]
    bound = lower_bound(lives, 40)
    offsets, end = place(lives, bound)
    arena = np.zeros((40, end // 64), int)
    for live, offset in zip(lives, offsets, strict=True):
        arena[live.first : live.last + 1, offset // 64 : (offset + live.nbytes) // 64] += 1
    assert arena.max(initial=0) <= 1
    assert arena.sum(axis=1).max(initial=0) * 64 == bound <= end
