"""The tensor IR: the `sp` dialect of xDSL, its types, sizes and textual form."""

from io import StringIO

from xdsl.context import Context
from xdsl.dialects.arith import Arith
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.dialects.math import Math
from xdsl.ir import Dialect
from xdsl.parser import Parser
from xdsl.printer import Printer

from sparsec.ir.ops import (
    AttentionOp,
    ConcatOp,
    Contraction,
    ConvOp,
    ConvTransposeOp,
    CumsumOp,
    DeinterleaveOp,
    ExpandOp,
    GatherOp,
    InterleaveOp,
    LrnOp,
    MapOp,
    MatmulOp,
    NormOp,
    PadOp,
    PoolOp,
    ReduceOp,
    RelayoutOp,
    ReshapeOp,
    ResizeOp,
    ScatterOp,
    SelectBlocksOp,
    SliceOp,
    SoftmaxOp,
    SpOp,
    TopkOp,
    TransposeOp,
    WeightOp,
    YieldOp,
    identity_region,
    node_name,
    type_of,
)
from sparsec.ir.types import Format, FormatAttr, Level, Panel, PanelAttr, ShapeAttr, TensorType, parse_format

Sp = Dialect(
    "sp",
    [
        AttentionOp,
        ConcatOp,
        ConvOp,
        ConvTransposeOp,
        CumsumOp,
        DeinterleaveOp,
        ExpandOp,
        GatherOp,
        InterleaveOp,
        LrnOp,
        MapOp,
        MatmulOp,
        NormOp,
        PadOp,
        PoolOp,
        ReduceOp,
        RelayoutOp,
        ReshapeOp,
        ResizeOp,
        ScatterOp,
        SelectBlocksOp,
        SliceOp,
        SoftmaxOp,
        TopkOp,
        TransposeOp,
        WeightOp,
        YieldOp,
    ],
    [FormatAttr, PanelAttr, ShapeAttr, TensorType],
)


def context() -> Context:
    """An xDSL context with every dialect that the tensor IR uses."""
    result = Context()
    for dialect in (Builtin, Func, Arith, Math, Sp):
        result.load_dialect(dialect)
    return result


def parse_module(text: str) -> ModuleOp:
    """Read a module from its textual form and verify it. Raises xDSL's ParseError or VerifyException."""
    module = Parser(context(), text).parse_module()
    module.verify()
    return module


def print_module(module: ModuleOp) -> str:
    """The textual form of a module."""
    stream = StringIO()
    Printer(stream).print_op(module)
    return stream.getvalue() + "\n"


__all__ = [
    "AttentionOp",
    "ConcatOp",
    "Contraction",
    "ConvOp",
    "ConvTransposeOp",
    "CumsumOp",
    "ExpandOp",
    "Format",
    "FormatAttr",
    "GatherOp",
    "InterleaveOp",
    "Level",
    "LrnOp",
    "MapOp",
    "MatmulOp",
    "NormOp",
    "PadOp",
    "Panel",
    "PanelAttr",
    "PoolOp",
    "ReduceOp",
    "RelayoutOp",
    "ReshapeOp",
    "ResizeOp",
    "ScatterOp",
    "SelectBlocksOp",
    "ShapeAttr",
    "SliceOp",
    "SoftmaxOp",
    "Sp",
    "SpOp",
    "TensorType",
    "TopkOp",
    "TransposeOp",
    "WeightOp",
    "YieldOp",
    "context",
    "identity_region",
    "node_name",
    "parse_format",
    "parse_module",
    "print_module",
    "type_of",
]
