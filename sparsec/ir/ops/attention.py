"""Attention as one op: scores, softmax and the sum of values, with no [queries, keys] value between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import BoolAttr, IntegerAttr, f32, i1, i32
from xdsl.ir import Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.dims import Dim, ceildiv, floordiv
from sparsec.ir.ops.base import SpOp, boolean, check_region, identity_region, integer, type_of
from sparsec.ir.types import ShapeAttr, TensorType


@dataclass(frozen=True)
class AttentionShape:
    """The sizes of an attention: `depth` is of a head of queries and keys, `value_depth` of one of values."""

    sequences: Dim
    heads: int
    kv_heads: int
    queries: Dim
    keys: Dim
    depth: int
    value_depth: int

    @property
    def scores(self) -> tuple[Dim, ...]:
        """The shape of all scores, to which extra operands are broadcast; it is never a value."""
        return self.sequences, self.heads, self.queries, self.keys


@irdl_op_definition
class AttentionOp(SpOp):
    """softmax over the keys of `score`(query · key), times value; operands in token form (see docs/design.md).

    query [1, heads·D, B·Sq, 1], key [1, kv_heads·D, B·Sk, 1], value [1, kv_heads·Dv, B·Sk, 1] → [1, heads·Dv, B·Sq, 1].
    Token b·S + s is token s of sequence b. Head h reads channels h·D to h·D + D of the query, and those of head
    h // (heads / kv_heads) of key and value. The region maps the product of a query and a key, and one element of each
    extra operand (broadcast to [B, heads, Sq, Sk]), to the score. A query all of whose scores are −inf gives NaN, as
    softmax does, or with `guard` zero.

    Of two more operands, either may say which keys count; the scores of all others are −inf. `mask` i1
    [1 or heads, Sq, Sk] is true where a key counts; its format (sparsec/masks.py) says which tiles hold any.
    `selection` i32 [B, heads, ceil(Sq / block), kept] lists, for each `block` queries, the blocks of as many keys,
    ascending and then −1 for none.
    """

    name = "sp.attention"
    query = operand_def(TensorType)
    key = operand_def(TensorType)
    value = operand_def(TensorType)
    extras = var_operand_def(TensorType)
    mask = opt_operand_def(TensorType)
    selection = opt_operand_def(TensorType)
    heads = prop_def(IntegerAttr)
    kv_heads = prop_def(IntegerAttr)
    sequences = prop_def(ShapeAttr)
    guard = prop_def(BoolAttr)
    block = opt_prop_def(IntegerAttr)
    score = region_def("single_block")
    result = result_def(TensorType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())

    def __init__(
        self,
        query: SSAValue,
        key: SSAValue,
        value: SSAValue,
        heads: int,
        sequences: Dim = 1,
        kv_heads: int | None = None,
        guard: bool = False,
        extras: Sequence[SSAValue] = (),
        score: Region | None = None,
        mask: SSAValue | None = None,
        selection: SSAValue | None = None,
        block: int = 0,
    ):
        kv_heads = heads if kv_heads is None else kv_heads
        channels = floordiv(type_of(value).shape[1], kv_heads) * heads
        super().__init__(
            operands=[query, key, value, list(extras), mask, selection],
            properties={
                "heads": integer(heads),
                "kv_heads": integer(kv_heads),
                "sequences": ShapeAttr((sequences,)),
                "guard": boolean(guard),
                **({"block": integer(block)} if selection is not None else {}),
            },
            regions=[score or identity_region([f32, *(type_of(extra).element for extra in extras)])],
            result_types=[TensorType((1, channels, type_of(query).shape[2], 1), f32)],
        )

    @property
    def shape(self) -> AttentionShape:
        """Raises ValueError, with the reason, where the operands do not divide into heads and sequences."""
        heads, kv_heads, sequences = self.heads.value.data, self.kv_heads.value.data, self.sequences.data[0]
        if min(heads, kv_heads) < 1 or heads % kv_heads:
            raise ValueError(f"{heads} heads do not divide into {kv_heads} groups")
        parts = []
        for name, count in (("query", heads), ("key", kv_heads), ("value", kv_heads)):
            type_ = type_of(getattr(self, name))
            if type_.rank != 4 or type_.shape[0] != 1 or type_.shape[3] != 1 or type_.element != f32:
                raise ValueError(f"{name} is {type_}, not f32 in token form [1, channels, tokens, 1]")
            parts += [_part(type_.shape[1], count, f"channels of {name}", "heads")]
            parts += [_part(type_.shape[2], sequences, f"tokens of {name}", "sequences")]
        depth, queries, key_depth, keys, value_depth, value_keys = parts
        if depth != key_depth:
            raise ValueError(f"heads of the query have {depth} channels, of the key {key_depth}")
        if keys != value_keys:
            raise ValueError(f"there are {keys} keys for {value_keys} values")
        return AttentionShape(sequences, heads, kv_heads, queries, keys, int(depth), int(value_depth))

    def infer(self) -> list[TensorType]:
        shape = self.shape
        if shapes.broadcast(shape.scores, *(type_of(extra).shape for extra in self.extras)) != shape.scores:
            raise ValueError(f"an operand of the score is larger than the scores {shapes.format_shape(shape.scores)}")
        (element,) = check_region(self.score, [f32, *(type_of(extra).element for extra in self.extras)])
        if element != f32:
            raise ValueError(f"the score is {element}, not f32")
        self._check_kept(shape)
        return [TensorType((1, shape.heads * shape.value_depth, type_of(self.query).shape[2], 1), f32)]

    def _check_kept(self, shape: AttentionShape) -> None:
        if self.mask is not None:
            mask = type_of(self.mask)
            whole = [TensorType((heads, shape.queries, shape.keys), i1) for heads in (1, shape.heads)]
            if TensorType(mask.shape, mask.element) not in whole:
                raise ValueError(f"the mask is {mask}, should be {whole[1]}, or for 1 head")
        if (self.selection is None) != (self.block is None):
            raise ValueError("a selection of blocks and their size go together")
        if self.selection is not None and self.block is not None:
            selection, count = type_of(self.selection), ceildiv(shape.queries, self.block.value.data)
            wanted = (shape.sequences, shape.heads, count)
            if selection.rank != 4 or selection.shape[:3] != wanted or selection.element != i32:
                raise ValueError(f"the selection is {selection}, should be i32 [{', '.join(map(str, wanted))}, kept]")


def _part(total: Dim, count: Dim, what: str, parts: str) -> Dim:
    size = floordiv(total, count)
    if size * count != total:
        raise ValueError(f"{total} {what} do not divide into {count} {parts}")
    return size
