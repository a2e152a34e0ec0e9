"""How many dead channels are removed where kernels take channels in multiples."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import FakeTarget, Graph

from sparsec.ir import ConvOp, type_of
from sparsec.passes import EliminateDeadChannels, run_pipeline


class Multiples(FakeTarget):
    channels = 32  # type: ignore[assignment]


@pytest.mark.parametrize(("alive", "kept"), [(63, 64), (64, 64), (47, 48), (81, 84), (33, 34), (1, 2)])
def test_channels_stay_multiples(alive, kept):
    """Of 32 where few dead ones must stay for that, else of a smaller power of two."""
    graph = Graph(0, [(1, 3, 4, 4)])
    x = graph.block.args[0]
    weight = np.ones((96, 3, 1, 1), np.float32)
    weight[alive:] = 0
    for array in (weight, np.ones((8, 96, 1, 1), np.float32)):
        x = graph.add(ConvOp(x, graph.weight(array), (1, 1), (1, 1), (0, 0, 0, 0), 1))
    model = graph.finish([x])
    run_pipeline(model, [EliminateDeadChannels()], Multiples())
    first = next(op for op in model.main.body.block.ops if isinstance(op, ConvOp))
    assert type_of(first.result).shape[1] == kept
