"""The operations of the `sp` dialect, by topic; `base` tells what they share."""

from sparsec.ir.ops.base import (
    CHAIN,
    KERNEL,
    NODE,
    WINDOW,
    RelayoutOp,
    SpOp,
    UnaryOp,
    WeightOp,
    YieldOp,
    boolean,
    identity_region,
    integer,
    ints,
    node_name,
    real,
    type_of,
    values,
)
from sparsec.ir.ops.contraction import Contraction, ConvOp, ConvTransposeOp, MatmulOp
from sparsec.ir.ops.indexing import GatherOp, ScatterOp
from sparsec.ir.ops.movement import ConcatOp, ExpandOp, PadOp, ReshapeOp, SliceOp, TransposeOp
from sparsec.ir.ops.pointwise import MapOp
from sparsec.ir.ops.reduction import CumsumOp, LrnOp, NormOp, ReduceOp, SoftmaxOp, TopkOp
from sparsec.ir.ops.windows import PoolOp, ResizeOp

__all__ = [
    "CHAIN",
    "KERNEL",
    "NODE",
    "WINDOW",
    "ConcatOp",
    "Contraction",
    "ConvOp",
    "ConvTransposeOp",
    "CumsumOp",
    "ExpandOp",
    "GatherOp",
    "LrnOp",
    "MapOp",
    "MatmulOp",
    "NormOp",
    "PadOp",
    "PoolOp",
    "ReduceOp",
    "RelayoutOp",
    "ReshapeOp",
    "ResizeOp",
    "ScatterOp",
    "SliceOp",
    "SoftmaxOp",
    "SpOp",
    "TopkOp",
    "TransposeOp",
    "UnaryOp",
    "WeightOp",
    "YieldOp",
    "boolean",
    "identity_region",
    "integer",
    "ints",
    "node_name",
    "real",
    "type_of",
    "values",
]
