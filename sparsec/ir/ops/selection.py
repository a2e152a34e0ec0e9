"""Which blocks of keys a block of queries looks at, found at run time."""

from __future__ import annotations

from xdsl.dialects.builtin import BoolAttr, IntegerAttr, i32
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from sparsec.ir.dims import Dim, ceildiv, floordiv
from sparsec.ir.ops.base import SpOp, boolean, integer, type_of
from sparsec.ir.types import ShapeAttr, TensorType


@irdl_op_definition
class SelectBlocksOp(SpOp):
    """The `keep` blocks of keys with the highest pooled scores, for each block of queries of each head.

    query [1, heads·D, B·Sq, 1], key [1, kv_heads·D, B·Sk, 1], as in `sp.attention` → i32 [B, heads, query blocks,
    keep], ascending; −1 fills rows that have fewer. The mean query of a block of `block` tokens times the mean key of
    one is the score of a pair of blocks (the softmax that papers take of a row leaves its order as it is). The first
    block, the sink, and the one where the queries themselves stand are always among them; with `causal`, none is after
    that one. The last query stands at the last key. Of equal scores the lower block wins.

    MInference (Jiang et al., arXiv 2407.02490) selects by such means in its block-sparse heads; SeerAttention (Gao et
    al., arXiv 2410.13276) passes them through a trained layer first; XAttention (Xu et al., arXiv 2503.16428) sums
    along antidiagonals instead. The sink is StreamingLLM's (Xiao et al., arXiv 2309.17453).
    """

    name = "sp.select_blocks"
    query = operand_def(TensorType)
    key = operand_def(TensorType)
    heads = prop_def(IntegerAttr)
    kv_heads = prop_def(IntegerAttr)
    sequences = prop_def(ShapeAttr)
    block = prop_def(IntegerAttr)
    keep = prop_def(IntegerAttr)
    causal = prop_def(BoolAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        query: SSAValue,
        key: SSAValue,
        heads: int,
        kv_heads: int,
        sequences: Dim,
        block: int,
        keep: int,
        causal: bool = False,
    ):
        super().__init__(
            operands=[query, key],
            properties={
                "heads": integer(heads),
                "kv_heads": integer(kv_heads),
                "sequences": ShapeAttr((sequences,)),
                "block": integer(block),
                "keep": integer(keep),
                "causal": boolean(causal),
            },
            result_types=[TensorType(_shape(type_of(query), heads, sequences, block, keep), i32)],
        )

    def infer(self) -> list[TensorType]:
        heads, kv_heads = self.heads.value.data, self.kv_heads.value.data
        query, key = type_of(self.query), type_of(self.key)
        if floordiv(query.shape[1], heads) != floordiv(key.shape[1], kv_heads):
            raise ValueError(f"heads of the query and of the key differ: {query} in {heads}, {key} in {kv_heads}")
        block, keep = self.block.value.data, self.keep.value.data
        if block < 1 or keep < 1:
            raise ValueError(f"cannot keep {keep} blocks of {block}")
        return [TensorType(_shape(query, heads, self.sequences.data[0], block, keep), i32)]


def _shape(query: TensorType, heads: int, sequences: Dim, block: int, keep: int) -> tuple[Dim, ...]:
    return sequences, heads, ceildiv(floordiv(query.shape[2], sequences), block), keep
