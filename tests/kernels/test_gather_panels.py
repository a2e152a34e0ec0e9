"""Gathers of whole channels (channel shuffles) in panels."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import GatherOp, Panel
from sparsec.targets.kernels.indexing import gather


@every_isa
@pytest.mark.parametrize(("shape", "panel"), [((2, 6, 7, 7), Panel(7, 64)), ((1, 8, 9, 5), Panel(4, 32))])
def test_channels(shape, panel, isa):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    order = np.random.default_rng(1).permutation(shape[1])
    check(gather.lower, [Case(lambda x, i: GatherOp(x, i, "take", 1), [x, order], panels=panel)], isa)
