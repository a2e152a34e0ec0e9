"""Cases of kernels in panels, and the sample of cases that the slower ISAs run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from op_runner import Case, Lower

from sparsec.bf16 import as_f32, rounded
from sparsec.interpreter import logical, physical
from sparsec.ir import Panel, PanelAttr, type_of
from sparsec.targets.isa import Isa, host_isas
from sparsec.targets.jit import Jit
from sparsec.targets.kernels.call import Packed


def panel(height: int, width: int) -> Panel:
    """Panels as on CPUs: small images in one, large ones in panels of about 112 pixels."""
    rows = height if height * width <= 208 else max(1, min(height, 112 // width))
    return Panel(rows, -(-rows * width // 16) * 16)


def in_panels(case: Case) -> Case:
    """The case with all 4-D f32 activations in panels, each in that of its size."""
    for value in [*case.op.operands, *case.op.results]:
        type_ = type_of(value)
        if type_.rank == 4 and type_.dtype == np.float32 and value not in weights_of(case):
            value._type = type_.with_encoding(PanelAttr(panel(*type_.static_shape[2:])))
    return case


def in_pairs(case: Case) -> Case:
    """The case with what is in panels in pairs of channels of bf16, and operands that bf16 holds."""
    for value in [*case.op.operands, *case.op.results]:
        if panel := type_of(value).panel:
            value._type = type_of(value).with_encoding(PanelAttr(replace(panel, pairs=True)))
    images = zip(case.op.operands, case.arrays, strict=True)
    case.arrays = [as_f32(rounded(array)) if type_of(value).panel else array for value, array in images]
    case.rtol, case.atol = 2**-8, 1e-5
    return case


def weights_of(case: Case) -> list:
    """The operands that are constants."""
    return [case.op.operands[index] for index in case.constants]


def sample(cases: Sequence[Case], isa: Isa) -> list[Case]:
    """All cases on x86; every third one where code runs in an emulator."""
    return list(cases if isa.x86 else cases[::3])


def check_pieces(lower: Lower, case: Case) -> None:
    """The case's chunks, run one by one from the last to the first, give the whole result."""
    if not host_isas():
        pytest.skip("kernels run in this process on x86 only")
    (call,) = lower(case.op, case.weights)
    kernel = call.kernel
    operands = dict(zip(case.op.operands, case.arrays, strict=True))
    arrays = [
        x.build() if isinstance(x, Packed) else physical(operands[x], type_of(x)) if x in operands else _fresh(x)
        for x in call.arguments
    ]
    run = Jit([kernel], host_isas()[0]).prepared(kernel, arrays)
    assert kernel.chunks > 1, "the case has one chunk only"
    for chunk in reversed(range(kernel.chunks)):
        run(chunk, chunk + 1)
    for index, want in zip(call.writes, case.expected(), strict=True):
        have = logical(arrays[index], type_of(call.arguments[index]))  # type: ignore[arg-type]
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


def _fresh(value) -> np.ndarray:
    type_ = type_of(value)
    return np.full(int(type_.nbytes), 0xFF, np.uint8).view(type_.dtype)  # type: ignore[arg-type]
