"""Runs ops of the tensor IR through a family of kernels, and compares with the interpreter's meaning.

case = Case(lambda x, y: MapOp([x, y], body), [x, y], panels=Panel(2, 16))
check(map.lower, [case, ...], isa)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from kernel_runner import run_kernels
from xdsl.dialects import arith
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.utils.test_value import create_ssa_value

from sparsec.interpreter import evaluate_op, logical, physical
from sparsec.ir import Panel, PanelAttr, TensorType, YieldOp, type_of
from sparsec.ir.types import element_of
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.call import Call, Packed
from sparsec.weights import WeightStore

Lower = Callable[[Operation, WeightStore], list[Call]]


@dataclass
class Case:
    """An op over `arrays`, of which `constants` are weights. With `panels`, images and the results are in panels."""

    build: Callable[..., Operation]
    arrays: Sequence[np.ndarray]
    constants: Sequence[int] = ()
    panels: Panel | None = None
    panelled: Sequence[int] | None = None  # which operands are in panels; default: those with the first one's (H, W)
    result_in_panels: bool = True
    rtol: float = 2e-6
    atol: float = 5e-6
    label: str = ""
    weights: WeightStore = field(default_factory=WeightStore)

    def __post_init__(self) -> None:
        values = [self._operand(index, array) for index, array in enumerate(self.arrays)]
        self.op = self.build(*values)
        if self.panels and self.result_in_panels:
            for result in self.op.results:
                result._type = type_of(result).with_encoding(PanelAttr(self.panels))
        self.op.verify()

    def expected(self) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return evaluate_op(self.op, list(self.arrays), self.weights)

    def _operand(self, index: int, array: np.ndarray) -> SSAValue:
        if index in self.constants:
            return self.weights.add(f"w{index}", array).result
        type_ = TensorType(array.shape, element_of(array.dtype))
        spatial = self.arrays[0].shape[-2:]
        same = array.ndim == 4 and array.shape[-2:] == spatial and index not in self.constants
        if self.panels and (same if self.panelled is None else index in self.panelled):
            type_ = type_.with_encoding(PanelAttr(self.panels))
        return create_ssa_value(type_)


def check(lower: Lower, cases: Sequence[Case], isa: Isa, flush: bool = True) -> None:
    """Each case's op, lowered and run on `isa`, gives what the interpreter gives."""
    calls = []
    for case in cases:
        (call,) = lower(case.op, case.weights)
        calls.append(call)
    runs = [(call.kernel, memory(case, call)) for case, call in zip(cases, calls, strict=True)]
    ends = tuple(range(max(len(arrays) for _, arrays in runs))) if flush else ()
    outputs = run_kernels(runs, isa, flush=ends)
    for case, call, after in zip(cases, calls, outputs, strict=True):
        got = [logical(after[index], type_of(_value(call, index))) for index in call.writes]
        for index in call.writes:
            _check_gaps(after[index], type_of(_value(call, index)), case.label)
        for have, want in zip(got, case.expected(), strict=True):
            _compare(have, want, case, f"{call.kernel.name} {case.label} {[a.shape for a in case.arrays]}")


def memory(case: Case, call: Call) -> list[np.ndarray]:
    """The arguments of a call as they lie in memory; those that it writes are full of ones."""
    operands = dict(zip(case.op.operands, case.arrays, strict=True))
    arrays = []
    for index, argument in enumerate(call.arguments):
        if isinstance(argument, Packed):
            arrays.append(np.ascontiguousarray(argument.build()))
        elif index in call.writes:
            type_ = type_of(argument)
            count = int(type_.nbytes)  # pyright: ignore[reportArgumentType]
            arrays.append(np.full(count, 0xFF, np.uint8).view(type_.dtype))
        else:
            arrays.append(physical(operands[argument], type_of(argument)))
    return arrays


def _check_gaps(memory: np.ndarray, type_: TensorType, where: str) -> None:
    """What lies between the panels of a part is as it was."""
    if type_.panel is None or not type_.panel.pitch:
        return
    flat = memory.reshape(-1).view(np.uint8)
    padded = np.pad(flat, (0, -flat.size % (4 * type_.panel.pitch)), constant_values=0xFF)
    gaps = padded.reshape(-1, 4 * type_.panel.pitch)[:, 4 * type_.static_shape[1] * type_.panel.stride :]
    assert (gaps == 0xFF).all(), f"{where} wrote beside its panels"


def _value(call: Call, index: int) -> SSAValue:
    value = call.arguments[index]
    assert isinstance(value, SSAValue)
    return value


def _compare(have: np.ndarray, want: np.ndarray, case: Case, where: str) -> None:
    if want.dtype.kind == "f":
        np.testing.assert_allclose(have, want, rtol=case.rtol, atol=case.atol, err_msg=where)
    else:
        np.testing.assert_array_equal(have, want, err_msg=where)


def sum_of(count):
    """An epilogue that adds `count` operands."""
    block = Block(arg_types=[f32] * (count + 1))
    total = block.args[0]
    for extra in block.args[1:]:
        op = arith.AddfOp(total, extra)
        block.add_op(op)
        total = op.result
    block.add_op(YieldOp(total))
    return Region(block)


__all__ = ["Case", "check", "memory", "sum_of"]
