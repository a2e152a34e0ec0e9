"""sp.cumsum on every ISA: axes, exclusive and reversed sums, integers."""

import numpy as np
import pytest
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import CumsumOp
from sparsec.targets.kernels.reductions import cumsum

RANDOM = np.random.default_rng(0)


@every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32])
def test_axes(isa, dtype):
    cases = []
    for shape in ((1,), (7,), (3, 5), (4, 3, 37), (5, 1)):
        x = RANDOM.integers(-9, 9, shape).astype(dtype)
        for axis in range(len(shape)):
            for exclusive in (False, True):
                for reverse in (False, True):
                    options = axis, exclusive, reverse
                    cases.append(Case(lambda v, options=options: CumsumOp(v, *options), [x]))
    check(cumsum.lower, cases, isa)
