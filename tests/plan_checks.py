"""Plans are checked by running them: who owns each byte of the arena, op by op."""

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from sparsec.ir import ConcatOp, ConvOp, MapOp, ReshapeOp, SliceOp, WeightOp, type_of
from sparsec.ir.ops import CHAIN, INSIDE, inputs_inside
from sparsec.model import Model
from sparsec.passes import MemoryPlan
from sparsec.passes.plan_memory import ALIGNMENT, images_of, root
from sparsec.target import Buffer


def check_plan(model: Model, plan: MemoryPlan) -> None:
    """Every op must find its operands as they were written, and write beside them.

    Maps may write over one, and convolutions over a residual.
    """
    owner = {("arena", 0): np.full(plan.arena_bytes // ALIGNMENT, -1)}
    owner |= {("local", loop): np.full(nbytes // ALIGNMENT, -1) for loop, nbytes in plan.local_bytes.items()}
    outputs: dict[int, SSAValue] = {}
    held: dict[SSAValue, np.ndarray] = {}  # the owners of its blocks when it was written
    for count, op in enumerate(model.main.body.block.ops):
        for operand in op.operands:
            if not isinstance(operand.owner, WeightOp):
                assert_holds(operand, plan, held, owner, outputs)
        if isinstance(op, ReshapeOp):
            assert plan.buffer(op.result) == plan.buffer(op.input)
            if op.input in held:
                held[op.result] = held[op.input]
        elif not isinstance(op, WeightOp):
            for result in op.results:
                write(result, op, plan, count, owner, outputs)
                if memory_of(plan.buffer(result)) in owner:
                    held[result] = owner[memory_of(plan.buffer(result))][blocks(result, plan)]
    last = model.main.body.block.last_op
    assert isinstance(last, ReturnOp)
    places = [plan.buffer(value) for value in last.operands]
    assert [(place.space, place.index) for place in places] == [("output", i) for i in range(len(places))]


def memory_of(buffer: Buffer) -> tuple[str, int]:
    """The arena, or what a loop has in its place."""
    return buffer.space, buffer.index


def assert_holds(value: SSAValue, plan: MemoryPlan, held: dict, owner: dict, outputs: dict) -> None:
    buffer = plan.buffer(value)
    assert buffer.nbytes == type_of(value).nbytes
    if memory_of(buffer) in owner:
        assert (owner[memory_of(buffer)][blocks(value, plan)] == held[value]).all()
    elif buffer.space == "output":
        assert outputs[buffer.index] is root(value)


def write(result: SSAValue, op, plan: MemoryPlan, name: int, owner: dict, outputs: dict) -> None:
    buffer = plan.buffer(result)
    assert buffer.space in ("arena", "output", "window", "local")
    if buffer.space == "window":
        return
    if buffer.space == "output":
        assert buffer.index not in outputs
        outputs[buffer.index] = result
        return
    assert buffer.offset % ALIGNMENT == 0
    mine = set(blocks(result, plan))
    inside = [op.inputs[index] for index in inputs_inside(op)] if isinstance(op, ConcatOp) else []
    for operand in inside:
        assert set(blocks(operand, plan)) <= mine
        mine -= set(blocks(operand, plan))
    for operand in op.operands:
        if isinstance(operand.owner, WeightOp) or memory_of(plan.buffer(operand)) != memory_of(buffer):
            continue
        theirs = set(blocks(operand, plan))
        if isinstance(op, SliceOp) and INSIDE in op.attributes:
            assert mine <= theirs
            return
        added = isinstance(op, ConvOp) and operand in op.extras and CHAIN not in op.attributes
        over = (isinstance(op, MapOp) or added) and mine == theirs and operand.type == result.type
        assert over or not mine & theirs
    owner[memory_of(buffer)][list(mine)] = name


def blocks(value: SSAValue, plan: MemoryPlan) -> np.ndarray:
    """The blocks of the arena that a value takes, panel by panel where these lie apart; those of a round in a loop."""
    buffer, panel = plan.buffer(value), type_of(value).panel
    local = images_of(root(value).owner) if buffer.space == "local" else 0
    if panel is None or not panel.pitch:
        nbytes = local * buffer.image_bytes or buffer.nbytes
        return np.arange(buffer.offset // ALIGNMENT, -(-(buffer.offset + nbytes) // ALIGNMENT))
    images, panels, channels, stride = (int(dim) for dim in type_of(value).physical_shape)
    images = local or images
    starts = buffer.offset + 4 * panel.pitch * np.arange(images * panels)
    return np.add.outer(starts, np.arange(0, 4 * channels * stride, ALIGNMENT)).ravel() // ALIGNMENT
