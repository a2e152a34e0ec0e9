"""Runs kernels whose sizes hold symbols: compiled once, at many sizes, against the interpreter's meaning at each.

sized = Sized(lambda x, y: MapOp([x, y], body), [(S, 64), (64,)])
check_sized(map.lower, [sized, ...], isa, [{"s": 1}, {"s": 17}])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from kernel_runner import run_kernels
from op_runner import Lower
from xdsl.ir import Operation, SSAValue
from xdsl.utils.test_value import create_ssa_value

from sparsec.interpreter import evaluate_op, logical, physical
from sparsec.ir import Panel, PanelAttr, TensorType, type_of
from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.types import element_of
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.call import Call, Packed
from sparsec.weights import WeightStore

Sizes = Mapping[str, int]
RANDOM = np.random.default_rng(5)


def at(dim: Dim, env: Sizes) -> Dim:
    """`dim` in a run of sizes `env`."""
    return evaluate(dim, env)


def normal(*shape: int) -> np.ndarray:
    """Random f32."""
    return RANDOM.standard_normal(shape).astype(np.float32)


@dataclass
class Sized:
    """An op over operands of `shapes`, which hold symbols; arrays among them are constants.

    `build(env, *operands)` makes the op; env holds the sizes of a run, or nothing. 4-D values of f32 whose height is
    symbolic are in `panels`, but the operands `plain` and, with `plain_result`, the result. `makes` are functions from
    a shape to an array, for operands that are not random f32.
    """

    build: Callable[..., Operation]
    shapes: Sequence[tuple[Dim, ...] | np.ndarray]
    panels: Panel | None = None
    makes: Mapping[int, Callable[..., np.ndarray]] = field(default_factory=dict)
    plain: Sequence[int] = ()
    plain_result: bool = False
    rtol: float = 2e-6
    atol: float = 5e-6
    weights: WeightStore = field(default_factory=WeightStore)

    def operation(self, env: Sizes, arrays: Sequence[np.ndarray] | None = None) -> Operation:
        """The op at sizes `env`, in the layouts that it has with symbols."""
        op = self.build(env, *(self._operand(i, shape, env) for i, shape in enumerate(self.shapes)))
        for result in () if self.plain_result else op.results:
            result._type = self._laid_out(type_of(result), self._symbolic(result, env))
        return op

    def arrays(self, env: Sizes) -> list[np.ndarray]:
        """Operands of a run."""
        made = []
        for index, shape in enumerate(self.shapes):
            if isinstance(shape, np.ndarray):
                made.append(shape)
            else:
                made.append(self.makes.get(index, normal)(*(evaluate(dim, env) for dim in shape)))
        return made

    def _operand(self, index: int, shape: tuple[Dim, ...] | np.ndarray, env: Sizes) -> SSAValue:
        if isinstance(shape, np.ndarray):
            return self.weights.add(f"w{index}", shape).result
        dtype = self.makes.get(index, normal)(*[1] * len(shape)).dtype
        type_ = TensorType([evaluate(dim, env) for dim in shape], element_of(dtype))
        return create_ssa_value(type_ if index in self.plain else self._laid_out(type_, shape))

    def _symbolic(self, result: SSAValue, env: Sizes) -> tuple[Dim, ...]:
        if not env:
            return type_of(result).shape
        return type_of(self.operation({}).results[result.index]).shape  # pyright: ignore

    def _laid_out(self, type_: TensorType, shape: tuple[Dim, ...]) -> TensorType:
        panelled = self.panels and len(shape) == 4 and symbols(shape[2]) and type_.dtype == np.float32
        return type_.with_encoding(PanelAttr(self.panels)) if self.panels and panelled else type_


def check_sized(lower: Lower, cases: Sequence[Sized], isa: Isa, sizes: Sequence[Sizes], flush: bool = True) -> None:
    """Each case's op, lowered once with its symbols and run at each of the sizes, gives what the interpreter gives."""
    runs, wanted = [], []
    for case in cases:
        symbolic = case.operation({})
        (call,) = lower(symbolic, case.weights)
        assert call.kernel.symbols, "the kernel holds no symbols"
        for env in sizes:
            op, arrays = case.operation(env), case.arrays(env)
            runs.append((call.kernel, _memory(call, symbolic, op, arrays, env)))
            with np.errstate(all="ignore"):
                wanted.append((case, call, symbolic, op, evaluate_op(op, arrays, case.weights), env))
    ends = tuple(range(max(len(arrays) for _, arrays in runs) - 1)) if flush else ()
    for after, (case, call, symbolic, op, want, env) in zip(run_kernels(runs, isa, flush=ends), wanted, strict=True):
        for index, expected in zip(call.writes, want, strict=True):
            result = op.results[list(symbolic.results).index(call.arguments[index])]
            got, where = logical(after[index], type_of(result)), f"{call.kernel.name} at {env}"
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=case.atol, err_msg=where)
            else:
                np.testing.assert_array_equal(got, expected, err_msg=where)


def _memory(
    call: Call, symbolic: Operation, op: Operation, arrays: Sequence[np.ndarray], env: Sizes
) -> list[np.ndarray]:
    """The arguments of a call at sizes `env`, with these at the end; what is written is full of ones."""
    found = []
    for index, argument in enumerate(call.arguments):
        if isinstance(argument, Packed):
            found.append(np.ascontiguousarray(argument.build()))
        elif index in call.writes:
            type_ = type_of(op.results[list(symbolic.results).index(argument)])
            found.append(np.full(int(type_.nbytes), 0xFF, np.uint8).view(type_.dtype))  # pyright: ignore
        else:
            place = list(symbolic.operands).index(argument)
            found.append(physical(arrays[place], type_of(op.operands[place])))
    return [*found, np.array([env[name] for name in call.kernel.symbols], np.int64)]


__all__ = ["Sized", "at", "check_sized", "normal"]
