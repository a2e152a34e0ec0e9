"""`sp.attention` on values in token form, in panels or row-major."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation, SSAValue

from sparsec.ir import AttentionOp, WeightOp, type_of
from sparsec.ir.dims import fixed
from sparsec.ir.ops import KERNEL
from sparsec.target import Candidate
from sparsec.targets.kernels.attention import amx
from sparsec.targets.kernels.attention.blocks import walk_of
from sparsec.targets.kernels.attention.kernel import KEYS, Attention
from sparsec.targets.kernels.attention.scores import Extra, turn
from sparsec.targets.kernels.attention.tokens import Tokens, cuts_panels
from sparsec.targets.kernels.attention.walk import QUERIES, Dense
from sparsec.targets.kernels.call import Argument, Call, Packed
from sparsec.targets.kernels.region import Body, element
from sparsec.weights import WeightStore


def accepts(op: Operation) -> bool:
    """Whether these kernels run `op`: operands that differ by query and key are f32 or booleans, masks constants."""
    if not isinstance(op, AttentionOp):
        return False
    sizes_known = all(isinstance(size, int) for size in op.shape.scores)
    if op.mask is not None and not (sizes_known and isinstance(op.mask.owner, WeightOp)):
        return False
    if op.selection is not None and not sizes_known:
        return False
    return all(_extra(value).element in ("f32", "i1") for value in op.extras if _extra(value).staged)


def takes_panels(op: Operation) -> bool:
    """Queries, keys, values and results may be in panels."""
    return True


def takes_parts(op: Operation) -> bool:
    """They may lie inside other values."""
    return True


def mask_tile(op: Operation) -> tuple[int, int]:
    """The queries and keys of the tiles that are computed or left out."""
    return QUERIES, KEYS


def candidates(op: Operation, weights: WeightStore, target: Any) -> Sequence[Candidate]:
    """The one kernel, with its predicted time."""
    assert isinstance(op, AttentionOp)
    shape = op.shape
    bf16 = target.precision == "bf16" and amx.fits(shape.depth, shape.value_depth, KEYS)
    call = _call(op, weights, bf16)
    sizes = [fixed(type_of(value).nbytes) for value in (op.query, op.key, op.value, op.result)]
    return [Candidate(call.kernel.name, None, target.predicted(call.kernel, sum(sizes[:3]), sizes[3]))]


def lower(op: Operation, weights: WeightStore) -> list[Call]:
    """The call that runs an `sp.attention`, by the kernel that was chosen."""
    assert isinstance(op, AttentionOp)
    chosen = op.attributes.get(KERNEL)
    return [_call(op, weights, isinstance(chosen, StringAttr) and chosen.data.startswith("attention_bf16"))]


def _call(op: AttentionOp, weights: WeightStore, bf16: bool) -> Call:
    shape = op.shape
    sizes = (
        (op.query, shape.depth, shape.queries),
        (op.key, shape.depth, shape.keys),
        (op.value, shape.value_depth, shape.keys),
        (op.result, shape.value_depth, shape.queries),
    )
    q, k, v, y = (Tokens.of(type_of(value), depth, shape.sequences, length) for value, depth, length in sizes)
    extras = tuple(_extra(value) for value in op.extras)
    walk, lists = walk_of(op, weights, KEYS)
    if isinstance(walk, Dense):
        walk = replace(walk, cut=cuts_panels(k, v, KEYS))
    kernel = Attention(shape, q, k, v, y, Body.of(op.score), extras, bool(op.guard), walk, bf16=bf16)
    operands = [_operand(value, extra, weights) for value, extra in zip(op.extras, extras, strict=True)]
    arguments = (op.query, op.key, op.value, *operands, *lists, op.result)
    return Call(kernel, arguments, (len(arguments) - 1,))


def _extra(value: SSAValue) -> Extra:
    type_ = type_of(value)
    return Extra.of(type_.shape, element(type_.element), isinstance(value.owner, WeightOp))


def _operand(value: SSAValue, extra: Extra, weights: WeightStore) -> Argument:
    """A value, or a constant turned."""
    if not extra.turned:
        return value
    owner = value.owner
    assert isinstance(owner, WeightOp)
    return Packed(f"{owner.key}, turned for attention", lambda: turn(weights.of(owner)))
