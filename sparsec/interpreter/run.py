"""Running ops and models: one function an op, in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from sparsec import ir
from sparsec.errors import SparsecError, UsageError
from sparsec.interpreter import movement, reductions, windows
from sparsec.interpreter.attention import attention, select_blocks
from sparsec.interpreter.resize import resize
from sparsec.interpreter.scalars import evaluate_region
from sparsec.ir import MapOp, ShapeAttr, TensorType, WeightOp, node_name, type_of
from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.shapes import format_shape
from sparsec.model import Model
from sparsec.weights import WeightStore

Inputs: TypeAlias = "Sequence[np.ndarray] | Mapping[str, np.ndarray]"


def _map(op: MapOp, *inputs: np.ndarray) -> np.ndarray:
    return evaluate_region(op.body, inputs)[0]


OPS: dict[type[Operation], Callable[..., np.ndarray | list[np.ndarray]]] = {
    ir.AttentionOp: attention,
    ir.ConcatOp: movement.concat,
    ir.ConvOp: windows.conv,
    ir.ConvTransposeOp: windows.conv_transpose,
    ir.CumsumOp: reductions.cumsum,
    ir.DeinterleaveOp: movement.deinterleave,
    ir.ExpandOp: movement.expand,
    ir.GatherOp: movement.gather,
    ir.InterleaveOp: movement.interleave,
    ir.LrnOp: reductions.lrn,
    ir.MapOp: _map,
    ir.MatmulOp: windows.matmul,
    ir.NormOp: reductions.norm,
    ir.PadOp: movement.pad,
    ir.PoolOp: windows.pool,
    ir.ReduceOp: reductions.reduce,
    ir.RelayoutOp: movement.relayout,
    ir.ReshapeOp: movement.reshape,
    ir.ResizeOp: resize,
    ir.ScatterOp: movement.scatter,
    ir.SelectBlocksOp: select_blocks,
    ir.SliceOp: movement.slice_,
    ir.SoftmaxOp: reductions.softmax,
    ir.TopkOp: reductions.topk,
    ir.TransposeOp: movement.transpose,
}


def evaluate_op(op: Operation, operands: Sequence[np.ndarray], weights: WeightStore) -> list[np.ndarray]:
    """The results of `op`, in the shapes and element types that its result types state (sizes must be fixed).

    Results may be views of operands. Raises SparsecError, naming node and op, where the op has no meaning or fails.
    """
    try:
        if isinstance(op, WeightOp):
            found: np.ndarray | list[np.ndarray] = weights.of(op)
        else:
            found = OPS[type(op)](op, *operands)
        found = found if isinstance(found, list) else [found]
        return [_fit(array, type_of(result)) for array, result in zip(found, op.results, strict=True)]
    except KeyError as error:
        reason = f"no weight called {error}" if isinstance(op, WeightOp) else "the interpreter does not know this op"
        raise SparsecError(f"{node_name(op)}: {op.name}: {reason}") from error
    except (ValueError, IndexError, TypeError, SparsecError) as error:
        raise SparsecError(f"{node_name(op)}: {op.name}: {error}") from error


def run(model: Model, inputs: Inputs) -> list[np.ndarray]:
    """The outputs of `model`, in order, for inputs in order or by name; symbolic sizes are taken from the inputs.

    Values are forgotten after their last use.
    Raises UsageError where inputs do not fit, SparsecError where an op fails.
    """
    arrays = _in_order(model, inputs)
    main = _fix_sizes(model, arrays)
    block = main.body.block
    uses = Counter(operand for op in block.ops for operand in op.operands)
    values: dict[SSAValue, np.ndarray] = dict(zip(block.args, arrays, strict=True))
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        if isinstance(op, ReturnOp):
            return [np.array(array, order="C") for array in operands]
        uses.subtract(op.operands)
        for operand in set(op.operands):
            if not uses[operand]:
                del values[operand]
        results = evaluate_op(op, operands, model.weights)
        values.update((value, array) for value, array in zip(op.results, results, strict=True) if uses[value])
    raise SparsecError(f"{model.name}: main does not end in func.return")


def _fit(array: np.ndarray, type_: TensorType) -> np.ndarray:
    """`array` broadcast to the type's shape (regions may leave axes of 1). Raises ValueError where it does not fit."""
    shape = type_.static_shape
    if array.dtype != type_.dtype:
        raise ValueError(f"the result is {array.dtype}, its type says {type_.dtype}")
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"the result is {format_shape(array.shape)}, its type says {format_shape(shape)}") from None


def _in_order(model: Model, inputs: Inputs) -> list[np.ndarray]:
    names = model.input_names
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise UsageError(f"{model.name} takes inputs {', '.join(names)}, not {', '.join(inputs)}")
        return [np.asarray(inputs[name]) for name in names]
    if len(inputs) != len(names):
        raise UsageError(f"{model.name} takes {len(names)} inputs ({', '.join(names)}), not {len(inputs)}")
    return [np.asarray(array) for array in inputs]


def _fix_sizes(model: Model, arrays: Sequence[np.ndarray]) -> FuncOp:
    """The main function with symbols replaced by the sizes of the inputs, once those fit."""
    found: dict[str, Dim] = {}
    for name, value, array in zip(model.input_names, model.main.body.block.args, arrays, strict=True):
        type_ = type_of(value)
        for dim, size in zip(type_.shape, array.shape, strict=False):
            for symbol in symbols(dim):
                if str(dim) == symbol:
                    found.setdefault(symbol, size)
        if array.shape != type_.substitute(found).shape or array.dtype != type_.dtype:
            wanted = f"{type_.dtype} {format_shape(type_.substitute(found).shape)}"
            raise UsageError(f"input {name} is {array.dtype} {format_shape(array.shape)}, should be {wanted}")
    return substitute(model.module.clone(), found) if found else model.main


def substitute(module: ModuleOp, sizes: Mapping[str, Dim]) -> FuncOp:
    """Replace symbols by sizes in every type and size of `module`, in place; returns its main function."""
    for op in module.walk():
        blocks = [block for region in op.regions for block in region.blocks]
        for value in (*op.results, *(arg for block in blocks for arg in block.args)):
            if isinstance(value.type, TensorType):
                Rewriter.replace_value_with_new_type(value, value.type.substitute(dict(sizes)))
        for name, attribute in op.properties.items():
            if isinstance(attribute, ShapeAttr):
                op.properties[name] = ShapeAttr(tuple(evaluate(dim, sizes) for dim in attribute.data))
    main = Model(module).main
    returned = main.body.block.last_op
    assert returned is not None, "a function has a terminator"
    main.properties["function_type"] = FunctionType.from_lists(
        [arg.type for arg in main.body.block.args], [operand.type for operand in returned.operands]
    )
    return main
