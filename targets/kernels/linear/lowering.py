"""Linear layers: `sp.matmul` by a constant matrix, and `sp.conv` on one pixel: the same with tokens = batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import FloatAttr, StringAttr
from xdsl.ir import Operation

from sparsec.ir import Contraction, ConvOp, Format, Level, MatmulOp, WeightOp, type_of
from sparsec.ir.ops import KERNEL, values
from sparsec.target import Candidate
from sparsec.targets.kernels import ways as ways_of
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.epilogue import Epilogue, epilogue_of
from sparsec.targets.kernels.linear.gated import LinearGated
from sparsec.targets.kernels.linear.kernel import LinearKernel
from sparsec.targets.kernels.linear.skip import LinearSkip
from sparsec.targets.kernels.linear.table import (
    SKIP,
    arm_kernels,
    bf16_kernels,
    f16_kernels,
    kernels,
    skip_kernels,
    variants,
)
from sparsec.targets.kernels.region import Body, element
from sparsec.targets.kernels.ways import Way
from sparsec.weights import WeightStore
from sparsec.zeros import AFTER_RELU, NONZEROS, nonzeros, vanishing_factor

KernelT = TypeVar("KernelT", bound=LinearKernel)


def accepts(op: Operation) -> bool:
    """Whether `op` multiplies rows of f32 by one constant matrix of f32."""
    if not isinstance(op, MatmulOp | ConvOp) or not isinstance(op.rhs.owner, WeightOp):
        return False
    types = [type_of(value) for value in (op.lhs, op.rhs, op.result)]
    if any(element(type_.element) != "f32" for type_ in types):
        return False
    if isinstance(op, ConvOp):
        return _one_pixel(op)
    return not bool(op.transpose_a) and prod(types[1].static_shape[:-2]) == 1


def takes_panels(op: Operation) -> bool:
    """Rows are contiguous in row-major tensors only."""
    return False


def candidates(op: Operation, weights: WeightStore, target: Any) -> list[Candidate]:
    """The dense kernel and the sparse ones, and others that were measured, best first."""
    return ways_of.candidates(ways(op, weights, target), target)


def ways(op: Operation, weights: WeightStore, target: Any) -> list[Way]:
    """Every kernel that runs `op`: those of the table first, then the variants that tuning may choose."""
    assert isinstance(op, MatmulOp | ConvOp), "accepts() asked for contractions"
    matrix, table = _matrix(op, weights), [*_kernels(op), *_kernels(op, arm_kernels)]
    if target.precision == "bf16":
        table = [*table, *_kernels(op, bf16_kernels)]
    if target.precision == "f16":
        table = [*table, *_kernels(op, f16_kernels)]
    skipping = _skipping(op, target.precision)
    table = [*table, *_wide(skipping, target.threads)]
    if target.precision == "f32":
        table = [*table, *_gated(op)]
    names = {kernel.name for kernel in table}
    found = {kernel.name: kernel for kernel in (*table, *_kernels(op, variants), *skipping)}
    return [
        Way(name, _format(kernel, _turned(op)), kernel, matrix, type(kernel).__name__, kernel.sizes, name in names)
        for name, kernel in found.items()
        if kernel.suits(target.isas[0])
    ]


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """One call: rows, packed weights, operands of the epilogue, result. The kernel is the one that `op` names."""
    assert isinstance(op, MatmulOp | ConvOp), "accepts() asked for contractions"
    chosen = op.attributes.get(KERNEL)
    skips = (partial(skip_kernels, precision=precision) for precision in SKIP)
    tables = variants, arm_kernels, bf16_kernels, f16_kernels, *skips, kernels
    rows: dict[str, LinearKernel] = {kernel.name: kernel for table in tables for kernel in _kernels(op, table)}
    rows |= {kernel.name: kernel for kernel in _gated(op)}
    kernel = rows[chosen.data] if isinstance(chosen, StringAttr) else _kernels(op)[0]
    weight = op.rhs.owner
    assert isinstance(weight, WeightOp), "accepts() asked for constant weights"
    key = f"linear:{kernel.layout}:{weight.key}:{'kn' if _turned(op) else 'nk'}"
    packed = Packed(key, lambda: kernel.pack(_matrix(op, weights)))
    arguments = (op.lhs, packed, *op.extras, op.result)
    return [Call(kernel, arguments, (len(arguments) - 1,))]


def _skipping(op: Contraction, precision: str) -> list[LinearSkip]:
    """The kernels that skip the weights of zeros, where the first operand has more of them than by chance."""
    share = nonzeros(op)
    if share is None:
        return []
    table = partial(skip_kernels, precision=precision)
    return [replace(kernel, nonzeros=share) for kernel in _kernels(op, table)]


def _gated(op: Contraction) -> list[LinearGated]:
    """The kernel that skips results which the epilogue makes zero, where it does."""
    factor = vanishing_factor(op)
    if factor is None:
        return []
    known = [use.operation.attributes.get(NONZEROS) for use in op.result.uses]
    share = next((share.value.data for share in known if isinstance(share, FloatAttr)), AFTER_RELU)
    body = Body.of(factor)

    def table(tokens: int, m: int, k: int, epilogue: Epilogue) -> list[LinearGated]:
        return [LinearGated(tokens, m, k, epilogue, body, share)] if tokens == 1 and m * k else []

    return [*_kernels(op, table)]


def _wide(kernels: Sequence[LinearSkip], threads: int) -> Sequence[LinearSkip]:
    """The kernel of the widest panels of which each thread has one; without any, that of the most panels."""
    enough = [kernel for kernel in kernels if kernel.chunks >= threads]
    return enough[-1:] or kernels[:1]


def _format(kernel: LinearKernel, turned: bool) -> Format:
    """Which weights are stored, as levels of [M, K], or of [K, M]."""
    m, k = (1, 0) if turned else (0, 1)
    return Format((Level(m, "dense"), Level(k, "compressed" if kernel.sparse else "dense")))


def _kernels(op: Contraction, table: Callable[..., Sequence[KernelT]] = kernels) -> Sequence[KernelT]:
    """Every kernel of `table` that runs `op`."""
    shape = type_of(op.result).static_shape
    axis = 1 if isinstance(op, ConvOp) else len(shape) - 1
    k = type_of(op.lhs).static_shape[1 if isinstance(op, ConvOp) else -1]
    return table(prod(shape[:axis]), shape[axis], k, epilogue_of(op, axis))


def _turned(op: Contraction) -> bool:
    """Whether the weight is [K, M]."""
    return isinstance(op, MatmulOp) and not bool(op.transpose_b)


def _matrix(op: Contraction, weights: WeightStore) -> np.ndarray:
    """The weight as [M, K]."""
    assert isinstance(op.rhs.owner, WeightOp), "accepts() asked for constant weights"
    weight = weights.of(op.rhs.owner)
    matrix = weight.reshape(weight.shape[:2] if isinstance(op, ConvOp) else weight.shape[-2:])
    return matrix.T if _turned(op) else matrix


def _one_pixel(op: ConvOp) -> bool:
    """Whether a convolution has one group, one tap and one pixel."""
    spatial = [*type_of(op.lhs).shape[2:], *type_of(op.rhs).shape[2:], *type_of(op.result).shape[2:]]
    return op.groups.value.data == 1 and all(dim == 1 for dim in spatial) and not any(values(op.pads))


__all__ = ["accepts", "candidates", "lower", "takes_panels", "ways"]
