"""`sp.matmul` of two activations, or of a constant left side."""

from __future__ import annotations

from math import prod

from xdsl.ir import Operation

from sparsec.ir import MatmulOp, type_of
from sparsec.ir.dims import is_symbolic
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.epilogue import epilogue_of
from sparsec.targets.kernels.matmul.kernel import Matmul
from sparsec.targets.kernels.matmul.sized import SizedMatmul
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.space import Space, broadcast_strides
from sparsec.weights import WeightStore


def accepts(op: Operation) -> bool:
    """Whether `op` multiplies matrices of f32."""
    if not isinstance(op, MatmulOp):
        return False
    return all(element(type_of(value).element) == "f32" for value in (op.lhs, op.rhs, op.result))


def takes_panels(op: Operation) -> bool:
    """Matrices are row-major."""
    return False


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """One call: both sides, operands of the epilogue, result."""
    assert isinstance(op, MatmulOp)
    a, b, y = (type_of(value).shape for value in (op.lhs, op.rhs, op.result))
    turned_a, turned_b = bool(op.transpose_a), bool(op.transpose_b)
    n, m, k = y[-2], y[-1], a[-2] if turned_a else a[-1]
    # One matrix per batch, so that the strides of the last two axes fall away.
    strides = (broadcast_strides((*shape[:-2], prod(shape[-2:])), (*y[:-2], prod(shape[-2:]))) for shape in (a, b))
    batch = Space(y[:-2], tuple(s[:-1] for s in strides)).merged()
    if not turned_a and len(batch.sizes) == 1 and batch.strides[0] == (n * k,) and batch.strides[1] == (0,):
        batch, n = Space((), ((), ())), n * batch.sizes[0]
    kind = SizedMatmul if any(map(is_symbolic, (n, m, k))) else Matmul
    kernel = kind(batch, n, m, k, turned_a, turned_b, epilogue_of(op))
    arguments = (op.lhs, op.rhs, *op.extras, op.result)
    return [Call(kernel, arguments, (len(arguments) - 1,))]
