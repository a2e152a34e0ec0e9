"""Activations get the target's panel layout wherever that saves more conversions than it costs.

    %y = sp.conv(%x, @w)    ⇒   %p = sp.relayout(%x) : !sp.tensor<[1, 64, 56, 56], f32, #sp.panel<rows = 2, …>>
    %z = sp.map(%y)             %y = sp.conv(%p, @w) : !sp.tensor<[…], f32, #sp.panel<…>>
    return %z                   %z = sp.map(%y)      : !sp.tensor<[…], f32, #sp.panel<…>>
                                %r = sp.relayout(%z), return %r

Convolutions whose kernels take panels get them. Ops that work in both layouts (maps, concatenations and slices of
channels, pools, resizes, reductions over the image…) follow their neighbours: each is moved to the side that leaves
fewer elements to convert, until no move helps. The function's inputs and outputs, and weights, are row-major.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.dialects.builtin import f32
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import (
    AttentionOp,
    ConcatOp,
    Contraction,
    ConvOp,
    DeinterleaveOp,
    FormatAttr,
    GatherOp,
    InterleaveOp,
    LrnOp,
    MapOp,
    NormOp,
    PadOp,
    PanelAttr,
    PoolOp,
    ReduceOp,
    RelayoutOp,
    ResizeOp,
    SelectBlocksOp,
    SliceOp,
    SoftmaxOp,
    WeightOp,
    type_of,
)
from sparsec.ir.dims import Dim, product
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.base import Pass, like
from sparsec.target import Target

_SWEEPS = 10


@dataclass(frozen=True)
class AssignLayouts(Pass):
    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "layouts are the target's"
        ops = list(model.main.body.block.ops)
        choice = _Choice(target, ops)
        choice.improve()
        for op in ops:
            if op in choice.in_panels:
                for result in op.results:
                    _set_encoding(result, choice.panel(result))
        _convert(ops, choice)


class _Choice:
    """Which ops work on panels."""

    def __init__(self, target: Target, ops: list[Operation]):
        self._target = target
        self._panels: dict[tuple[Dim, Dim], PanelAttr | None] = {}
        able = [op for op in ops if self._is_able(op)]
        self._movable = [op for op in able if not isinstance(op, Contraction)]
        self.in_panels: set[Operation] = set(able)

    def panel(self, value: SSAValue) -> PanelAttr | None:
        """The panel layout of `value`, if it has one."""
        type_ = type_of(value)
        if type_.rank != 4 or type_.element != f32:
            return None
        height, width = type_.shape[2:]
        if not isinstance(width, int):
            return None
        if (height, width) not in self._panels:
            self._panels[height, width] = self._target.panel(height, width)
        return self._panels[height, width]

    def wants(self, op: Operation, value: SSAValue) -> PanelAttr | None:
        """The layout in which `op` reads `value`.

        A convolution of several taps packs what it reads anyway, so it takes the function's inputs as they are.
        """
        if op not in self.in_panels or value not in _images(op):
            return None
        return None if isinstance(value, BlockArgument) and _packs(op, value) else self.panel(value)

    def improve(self) -> None:
        """Move ops to row-major or back while that converts fewer elements; on a tie, row-major has no padding."""
        for _ in range(_SWEEPS):
            moved = False
            for op in self._movable:
                inside = op in self.in_panels
                gain = self._converted(op, inside) - self._converted(op, not inside)
                if gain > 0 or (gain == 0 and inside):
                    self.in_panels ^= {op}
                    moved = True
            if not moved:
                return

    def _converted(self, op: Operation, inside: bool) -> int:
        """How many elements around `op` change their layout, with `op` in panels or not."""
        total = 0
        for value in dict.fromkeys(op.operands):
            if value in _images(op) and (value.owner in self.in_panels) != inside:
                total += _size(value)
        for value in op.results:
            if self.panel(value) and any(
                (use.operation in self.in_panels and value in _images(use.operation)) != inside for use in value.uses
            ):
                total += _size(value)
        return total

    def _is_able(self, op: Operation) -> bool:
        """Whether `op` can work on panels: the target has kernels, and all its images have a panel layout."""
        if not _keeps_pixels(op) or not self._target.takes_panels(op):
            return False
        images = [*_images(op), *(() if _removes_pixels(op) else op.results)]
        return all(self.panel(value) for value in images)


def _keeps_pixels(op: Operation) -> bool:
    """Whether `op` is one that pixels innermost in panels suit."""
    image = op.result if isinstance(op, MapOp) else next(iter(op.operands), None)
    if image is None or type_of(image).rank != 4:
        return False
    match op:
        case AttentionOp() | ConvOp() | PoolOp() | ResizeOp() | PadOp() | LrnOp() | NormOp() | SoftmaxOp():
            return True
        case SelectBlocksOp() | InterleaveOp() | DeinterleaveOp():
            return True
        case MapOp():
            return all(_fits(value, op) for value in op.inputs)
        case ConcatOp():
            return op.axis.value.data == 1
        case SliceOp():
            whole = zip(type_of(op.input).shape, type_of(op.result).shape, values(op.steps), strict=True)
            return all(size == part and step == 1 for i, (size, part, step) in enumerate(whole) if i != 1)
        case GatherOp():
            return op.kind.data == "take" and op.axis.value.data == 1 and type_of(op.indices).rank == 1
        case ReduceOp():
            over_images = {2, 3} & set(values(op.axes))
            return over_images == {2, 3} or (not over_images and bool(op.keepdims))
    return False


def _removes_pixels(op: Operation) -> bool:
    return isinstance(op, SelectBlocksOp) or (isinstance(op, ReduceOp) and {2, 3} <= set(values(op.axes)))


def _packs(op: Operation, value: SSAValue) -> bool:
    """Whether `op` is a convolution that gathers `value` into tiles: not depthwise, and more than one tap."""
    if not isinstance(op, ConvOp) or value in op.extras:
        return False
    return op.groups.value.data == 1 and product(type_of(op.rhs).shape[2:]) != 1


def _fits(value: SSAValue, op: MapOp) -> bool:
    """Whether a map in panels can read `value`: an image, a number per channel (and image), or a scalar."""
    return _is_image(value, op) or all(dim == 1 for dim in type_of(value).shape[-2:])


def _is_image(value: SSAValue, op: MapOp) -> bool:
    """Whether `value` has all pixels of the result, and all of its channels or one."""
    shape, whole = type_of(value).shape, type_of(op.result).shape
    return shape in (whole, (whole[0], 1, *whole[2:]))


def _images(op: Operation) -> list[SSAValue]:
    """The operands that `op`, where it works on panels, reads in panels; the others it reads row-major."""
    match op:
        case Contraction():
            full = [extra for extra in op.extras if type_of(extra).shape == type_of(op.result).shape]
            return [op.lhs, *full]
        case MapOp():
            return [value for value in op.inputs if _is_image(value, op)]
        case AttentionOp():
            return [op.query, op.key, op.value]
        case GatherOp():
            return [op.input]
        case ReturnOp() | WeightOp():
            return []
    return list(op.operands)


def _size(value: SSAValue) -> int:
    size = product(type_of(value).shape)
    return size if isinstance(size, int) else 1


def _set_encoding(value: SSAValue, encoding: Attribute | None) -> None:
    Rewriter.replace_value_with_new_type(value, type_of(value).with_encoding(encoding))


def _convert(ops: Iterable[Operation], choice: _Choice) -> None:
    """Insert a relayout before the first op that reads a value in another layout than it has."""
    converted: dict[tuple[SSAValue, Attribute | None], SSAValue] = {}
    for op in ops:
        for index, value in enumerate(op.operands):
            wanted, encoding = choice.wants(op, value), type_of(value).encoding
            if isinstance(encoding, FormatAttr) or wanted == (encoding if isinstance(encoding, PanelAttr) else None):
                continue
            if (value, wanted) not in converted:
                relayout = like(RelayoutOp(value, wanted), op)
                Rewriter.insert_op(relayout, InsertPoint.before(op))
                converted[value, wanted] = relayout.result
            op.operands[index] = converted[value, wanted]
