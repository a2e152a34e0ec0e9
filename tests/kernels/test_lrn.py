"""sp.lrn on every ISA: windows that reach over the first and last channels, panels."""

import numpy as np
from kernel_runner import every_isa
from op_runner import Case, check

from sparsec.ir import LrnOp, Panel
from sparsec.targets.kernels.reductions import lrn

RANDOM = np.random.default_rng(0)


def case(shape, size=5, alpha=0.1, beta=0.75, bias=1.0, **options):
    x = RANDOM.standard_normal(shape).astype(np.float32)
    return Case(lambda v: LrnOp(v, size, alpha, beta, bias), [x], **options)


@every_isa
def test_windows(isa):
    cases = [case((2, c, 5, 7), size) for c in (1, 2, 5, 9) for size in (1, 2, 3, 5)]
    cases += [case((1, 6, 33), beta=beta) for beta in (0.5, 1.0, 0.6)]
    check(lrn.lower, cases, isa)


@every_isa
def test_panels(isa):
    check(lrn.lower, [case((2, 8, 9, 5), panels=Panel(4, 32))], isa)
