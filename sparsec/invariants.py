"""What must hold between the steps of the compiler, each as one named function from a model to its problems.

Cheap invariants are checked after every pass; those in `EXPENSIVE`, which read all weights, with SPARSEC_VERIFY=1.
A pass may establish further ones (`ESTABLISHED`), which then hold for the rest of the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.traits import is_side_effect_free
from xdsl.utils.exceptions import VerifyException

from sparsec import debug, formats
from sparsec.ir import (
    Contraction,
    ConvOp,
    ConvTransposeOp,
    PoolOp,
    RelayoutOp,
    SpOp,
    TensorType,
    WeightOp,
    node_name,
    type_of,
)
from sparsec.ir.dims import symbols
from sparsec.ir.ops import KERNEL
from sparsec.ir.shapes import format_shape
from sparsec.model import Model

Invariant = Callable[[Model], list[str]]


class BrokenInvariant(Exception):
    """A fault of sparsec itself: a step left the model in a state that no later step expects."""


def types_verify(model: Model) -> list[str]:
    """xDSL's verifier: operands are defined before their uses, results have the types that the ops infer."""
    try:
        model.module.verify()
    except VerifyException as error:
        return [str(error)]
    return []


def main_is_plain(model: Model) -> list[str]:
    """main is one block of sp ops that ends in func.return, and each input and output has a name of its own."""
    problems = [f"{op.name} is no op of sp" for op in _ops(model) if not isinstance(op, SpOp | ReturnOp)]
    if not isinstance(model.main.body.block.last_op, ReturnOp):
        problems.append("main does not end in func.return")
    signature = model.main.function_type
    for names, ports in ((model.input_names, signature.inputs), (model.output_names, signature.outputs)):
        if len(names) != len(ports) or len(set(names)) != len(names):
            problems.append(f"{len(ports)} ports are called {', '.join(names)}")
    return problems


def no_dead_ops(model: Model) -> list[str]:
    """Every op has a reader."""
    return [
        f"{_where(op)} has no reader"
        for op in _ops(model)
        if is_side_effect_free(op) and not any(result.first_use for result in op.results)
    ]


def weights_are_stored(model: Model) -> list[str]:
    """Every sp.weight names an array of the store with the shape and the element type of its result."""
    problems = []
    for op in _weights(model):
        found, type_ = model.weights.kind(op.key), type_of(op.result)
        if found is None:
            problems.append(f"weight @{op.key} is not in the store")
        elif found != (type_.shape, type_.dtype):
            problems.append(f"weight @{op.key} is {found[1]} {format_shape(found[0])}, its type is {type_}")
    return problems


def panels_agree(model: Model) -> list[str]:
    """Panels hold whole rows in whole vectors; images of one size have one layout in an op, relayouts apart."""
    problems = []
    seen: dict[tuple, object] = {}
    for op in _ops(model):
        images = [*op.operands, *op.results]
        if isinstance(op, ConvOp):  # into panels, it may gather a row-major input
            images = [op.result, *op.extras, *([op.lhs] if type_of(op.lhs).panel else [])]
        tensors = [type_of(value) for value in images if not isinstance(value.owner, WeightOp)]
        for type_ in tensors:
            if type_.panel and (problem := _panel_problem(type_, seen)):
                problems.append(f"{_where(op)}: {problem}")
        if not isinstance(op, RelayoutOp | ReturnOp) and (mixed := _mixed(op, tensors)):
            problems.append(f"{_where(op)} mixes layouts: {mixed}")
    return problems


def _panel_problem(type_: TensorType, seen: dict[tuple, object]) -> str:
    panel = type_.panel
    assert panel is not None, "only asked about panels"
    width = type_.shape[-1]
    if type_.rank != 4 or not isinstance(width, int):
        return f"{type_} cannot lie in panels"
    if panel.rows < 1 or panel.stride < panel.rows * width or panel.stride % 16:
        return f"{panel.rows} rows of {width} do not fit a stride of {panel.stride}, which must divide by 16"
    if panel.pairs and (type_.element != f32 or type_.shape[1] % 2 != 0):
        return f"{type_} cannot lie in pairs of channels"
    sizes = panel.rows, panel.stride
    if seen.setdefault(type_.shape[2:], sizes) != sizes:
        return f"images of {format_shape(type_.shape[2:])} have several panel layouts"
    return ""


def _mixed(op: Operation, tensors: Iterable[TensorType]) -> str:
    layouts: dict[object, object] = {}
    for type_ in tensors:
        sizes = type_.panel and (type_.panel.rows, type_.panel.stride)
        if layouts.setdefault((type_.shape, type_.element), sizes) != sizes:
            return f"{format_shape(type_.shape)} in panels and row-major"
    if isinstance(op, ConvOp) and type_of(op.lhs).panel and not type_of(op.result).panel:
        return f"{type_of(op.lhs)} to {type_of(op.result)}"
    return ""


def formats_fit(model: Model) -> list[str]:
    """Every format says fully how the axes of its weight are stored."""
    problems = []
    for op in _weights(model):
        if (format := type_of(op.result).format) is not None:
            try:
                formats.check(format, type_of(op.result).static_shape)
            except ValueError as error:
                problems.append(f"weight @{op.key}: {error}")
    return problems


def formats_hold_the_weights(model: Model) -> list[str]:
    """Packing a weight in its format and unpacking it gives the weight, so all non-zeros are stored."""
    problems = []
    for op in _weights(model):
        if (format := type_of(op.result).format) is not None:
            array = model.weights.of(op)
            try:
                if not np.array_equal(formats.unpack(formats.pack(array, format)), array, equal_nan=True):
                    problems.append(f"weight @{op.key} is not what {format} stores")
            except ValueError as error:
                problems.append(f"weight @{op.key}: {error}")
    return problems


def sizes_are_fixed(model: Model) -> list[str]:
    """No symbol is left in any type but those whose ranges are known."""
    values: list[SSAValue] = [*model.main.body.block.args, *(result for op in _ops(model) for result in op.results)]
    names = {name for value in values for dim in type_of(value).shape for name in symbols(dim)} - model.ranges.keys()
    return [f"the sizes {', '.join(sorted(names))} are not fixed"] if names else []


def spatial_ops_are_legal(model: Model) -> list[str]:
    """No transposed convolution, and no convolution or pool over one axis, is left for targets."""
    problems = []
    for op in _ops(model):
        one_axis = isinstance(op, ConvOp | PoolOp) and type_of(op.operands[0]).rank == 3
        if one_axis or (isinstance(op, ConvTransposeOp) and isinstance(op.rhs.owner, WeightOp)):
            problems.append(f"{_where(op)} should have been legalised")
    return problems


def kernels_are_chosen(model: Model) -> list[str]:
    """Every contraction names its kernel."""
    contractions = (op for op in _ops(model) if isinstance(op, Contraction))
    return [f"{_where(op)} has no kernel" for op in contractions if KERNEL not in op.attributes]


CHEAP: tuple[Invariant, ...] = (types_verify, main_is_plain, no_dead_ops, weights_are_stored, panels_agree, formats_fit)
EXPENSIVE: tuple[Invariant, ...] = (formats_hold_the_weights,)
ESTABLISHED: dict[str, tuple[Invariant, ...]] = {
    "legalize_spatial": (spatial_ops_are_legal,),
    "choose_formats": (sizes_are_fixed, kernels_are_chosen),
}


def structure(model: Model) -> list[tuple]:
    """All that `types_verify` reads, to tell whether a step changed it, in a tenth of the verifier's time."""
    return [
        (
            op,
            op.parent,
            tuple(op.operands),
            tuple(op.attributes.items()),
            tuple(op.properties.items()),
            [result.type for result in op.results],
            [argument.type for region in op.regions for block in region.blocks for argument in block.args],
        )
        for op in model.module.walk()
    ]


def verify(model: Model, done: Iterable[str] = (), changed: bool = True) -> None:
    """Check what must hold after the steps `done` (the last one is to blame).

    Types need no check where the last step has not `changed` the `structure`. Raises BrokenInvariant, naming step,
    invariant and op.
    """
    done = tuple(done)
    expensive = EXPENSIVE if debug.verify_all() else ()
    for invariant in (*CHEAP, *expensive, *(found for name in done for found in ESTABLISHED.get(name, ()))):
        if invariant is types_verify and not changed:
            continue
        if problems := invariant(model):
            step = f"after {done[-1]}" if done else "at the start"
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise BrokenInvariant(f"{step}, {invariant.__name__} does not hold:{lines}")


def _ops(model: Model) -> Iterator[Operation]:
    return iter(model.main.body.block.ops)


def _weights(model: Model) -> Iterator[WeightOp]:
    return (op for op in _ops(model) if isinstance(op, WeightOp))


def _where(op: Operation) -> str:
    return op.name if node_name(op) == op.name else f"{node_name(op)} ({op.name})"
