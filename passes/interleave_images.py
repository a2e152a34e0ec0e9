"""Small images of a batch are interleaved, so that neither vectors nor tiles of registers hold padding.

    %y = sp.conv(%x, @w), 3×3 [16, C, 7, 7]    ⇒   %i = sp.interleave(%x) {images = 16} [1, C, 7, 112]
    %z = sp.conv(%y, @v), 1×1                      %y = sp.conv(%i, @w), 3×3, dilations 1, 16, pads 1, 16
                                                   %z = sp.conv(%y, @v), 1×1
                                                   %d = sp.deinterleave(%z)

Pixel w of image i is column w · images + i. So 1×1 layers, maps and residuals stay what they are, windows have
dilations and pads of whole pixels, and all images share what is read of the weights. Convolutions of one tap and a
stride get the pixels that they read (`step`); a mean of all pixels becomes two pools. What else reads or makes the
values of a region does so in images that lie apart.

Regions are connected ops on images of one size; each is interleaved where the target predicts that to be faster, beside
one image after another. 7 × 7 pixels fill 4 vectors of AVX-512 to 77 %, 16 such images 49 vectors: sparse 3x3 layers of
512 channels take 3.7 ms instead of 4.9, 1x1 layers 0.8 of their time, and interleaving 512 channels takes 0.14 ms. At
14 × 14 pixels, which fill 94 %, ResNet-50 would take 3 % longer: what layers hand on leaves the L2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import (
    ConcatOp,
    ConvOp,
    DeinterleaveOp,
    InterleaveOp,
    MapOp,
    PoolOp,
    ReduceOp,
    ReshapeOp,
    SliceOp,
    TensorType,
    type_of,
)
from sparsec.ir.dims import Dim, fixed, product
from sparsec.ir.ops import values
from sparsec.ir.shapes import interleave
from sparsec.model import Model
from sparsec.passes.base import Pass, like
from sparsec.passes.interleavable import Key, key_of, regions, streams
from sparsec.target import Target
from sparsec.weights import WeightStore

_MOST = 64  # images that are interleaved
_LINE = 16  # floats, and images, of which windows over pixels begin on whole lines
_GAIN = 0.05  # of a region's time that must be won
_CONVERTED = 3.0  # what a byte costs that is interleaved, in bytes that come from beyond the cache

Ints = Sequence[int]


@dataclass(frozen=True)
class InterleaveImages(Pass):
    needs_target = True

    def apply(self, model: Model, target: Target | None) -> None:
        assert target is not None, "panels and predictions are the target's"
        ops = list(model.main.body.block.ops)
        for region in regions(ops):
            key = key_of(region[0])
            images = key and _together(key, target)
            if key and images and _Prediction(region, key, images, target, model.weights).gains():
                _Rewriter(region, images).rewrite()


def _together(key: Key, target: Target) -> int:
    """How many images are interleaved: such that least is padded, by lines where that can be, and few; 0 for none."""
    images, height, width = key
    sizes = [size for size in range(2, min(images, _MOST) + 1) if images % size == 0]
    padding = {size: found for size in sizes if (found := _padding(target, height, width * size))}
    return min(padding, key=lambda size: (round(padding[size], 2), size % _LINE != 0, size), default=0)


def _padding(target: Target, height: int, width: int) -> float | None:
    """What an image takes in panels, in its pixels."""
    if (encoding := target.panel(height, width)) is None:
        return None
    panel = encoding.data
    return -(-height // panel.rows) * panel.stride / (height * width)


@dataclass(frozen=True)
class _Prediction:
    """Times of a region with images one after another, and interleaved."""

    region: Sequence[Operation]
    key: Key
    images: int
    target: Target
    weights: WeightStore

    def gains(self) -> bool:
        """Whether enough is gained: without less padding nothing is. Only convolutions and conversions count."""
        _, height, width = self.key
        apart, joined = (_padding(self.target, height, width * images) for images in (1, self.images))
        if apart is None or joined is None or joined > apart * (1 - _GAIN):
            return False
        convs = [op for op in self.region if isinstance(op, ConvOp)]
        before, after = sum(map(self._apart, convs)), sum(map(self._joined, convs))
        return after + self._conversions() < (1 - _GAIN) * before

    def _apart(self, op: ConvOp) -> float:
        """Seconds of one image after another, as loops over images keep near what layers hand on."""
        types = [self._typed(value, (1, *type_of(value).shape[1:])) for value in (op.lhs, *op.extras)]
        return self.key[0] * self._seconds(op, types, values(op.strides), values(op.dilations), values(op.pads))

    def _joined(self, op: ConvOp) -> float:
        """Seconds of all images, interleaved."""
        shapes = [_joined_shape(value, op, self.images) for value in (op.lhs, *op.extras)]
        types = [self._typed(value, shape) for value, shape in zip((op.lhs, *op.extras), shapes, strict=True)]
        return self._seconds(op, types, (1, 1), *_window(op, self.images))

    def _typed(self, value: SSAValue, shape: Sequence[Dim]) -> TensorType:
        """The type of `value` with another shape, in panels if these are images."""
        if type_of(value).rank != 4 or shape[2:] == (1, 1):
            return type_of(value)
        height, width = shape[2:]
        return TensorType(shape, f32, self.target.panel(height, fixed(width)))

    def _seconds(self, op: ConvOp, types: Sequence[TensorType], strides: Ints, dilations: Ints, pads: Ints) -> float:
        """Seconds of the best kernel for a convolution as `op`, of operands of these types."""
        lhs, *extras = Block(arg_types=types).args
        new = ConvOp(lhs, op.rhs, strides, dilations, pads, op.groups.value.data, extras, op.epilogue.clone())
        new.result._type = self._typed(new.result, type_of(new.result).shape)
        found = self.target.candidates(new, self.weights)
        new.erase()
        return min((candidate.seconds for candidate in found), default=float("inf"))

    def _conversions(self) -> float:
        """Seconds of interleaving what the region reads, and taking apart what others read of it."""
        inside = {op.results[0] for op in self.region}
        entering = {(value, _step(op, value)) for op in self.region for value in streams(op) if value not in inside}
        pixels = sum(_size(value) for value, _ in entering)  # with a step, too, all lines are read
        members = set(self.region)
        for value in inside:
            if not isinstance(value.owner, ReduceOp) and any(use.operation not in members for use in value.uses):
                pixels += _size(value)
        return 8 * pixels * _CONVERTED * self.target.cache.far_byte


class _Rewriter:
    """Puts a region on interleaved images; `_forms` are values in that form, of every so many rows and columns."""

    def __init__(self, region: Sequence[Operation], images: int):
        self._region, self._images = region, images
        self._forms: dict[tuple[SSAValue, int], SSAValue] = {}

    def rewrite(self) -> None:
        members = set(self._region)
        for op in self._region:
            new = like(self._new(op), op)
            self._insert(op, new)
            self._forms[op.results[0], 1] = new.results[0]
            outside = [use for use in op.results[0].uses if use.operation not in members]
            if outside:
                apart = self._apart(op, new.results[0])
                for use in outside:
                    use.operation.operands[use.index] = apart
        for op in reversed(self._region):
            Rewriter.erase_op(op)

    def _insert(self, before: Operation, new: Operation) -> SSAValue:
        Rewriter.insert_op(like(new, before), InsertPoint.before(before))
        return new.results[0]

    def _form(self, value: SSAValue, op: Operation) -> SSAValue:
        """`value` interleaved, as `op` reads it."""
        key = value, _step(op, value)
        if key not in self._forms:
            self._forms[key] = self._insert(op, InterleaveOp(value, self._images, key[1]))
        return self._forms[key]

    def _apart(self, op: Operation, value: SSAValue) -> SSAValue:
        """The result of `op`, which is `value` interleaved, of images that lie apart."""
        apart = self._insert(op, DeinterleaveOp(value, self._images))
        shape = type_of(op.results[0]).shape
        return apart if type_of(apart).shape == shape else self._insert(op, ReshapeOp(apart, shape))

    def _new(self, op: Operation) -> Operation:
        images = streams(op)
        operands = [self._form(value, op) if value in images else value for value in op.operands]
        match op:
            case ConvOp():
                lhs, rhs, *extras = operands
                window = _window(op, self._images)
                return ConvOp(lhs, rhs, (1, 1), *window, op.groups.value.data, extras, op.epilogue.clone())
            case MapOp():
                return MapOp(operands, op.body.clone())
            case PoolOp():
                dilations, pads = _window(op, self._images)
                kind, kernel = op.kind.data, values(op.kernel_shape)
                return PoolOp(operands[0], kind, kernel, (1, 1), dilations, pads, None, bool(op.count_pads))
            case ConcatOp():
                return ConcatOp(operands, 1)
            case SliceOp():
                shape = (*type_of(operands[0]).shape[:1], type_of(op.result).shape[1], *type_of(operands[0]).shape[2:])
                return SliceOp(operands[0], [0, values(op.starts)[1], 0, 0], [1] * 4, shape)
            case ReduceOp():
                return self._mean(op, operands[0])
        raise TypeError(f"{op.name} does not work on interleaved images")

    def _mean(self, op: ReduceOp, value: SSAValue) -> PoolOp:
        """The means of columns, and of these along rows."""
        height, width = (fixed(size) for size in type_of(op.input).shape[2:])
        columns = PoolOp(value, "average", (height, 1), (1, 1), (1, 1), [0] * 4)
        self._insert(op, columns)
        return PoolOp(columns.result, "average", (1, width), (1, 1), (1, self._images), [0] * 4)


def _window(op: ConvOp | PoolOp, images: int) -> tuple[Ints, Ints]:
    """Dilations and pads where a pixel is as many columns as there are images."""
    (rows, columns), pads = values(op.dilations), values(op.pads)
    return (rows, columns * images), (pads[0], pads[1] * images, pads[2], pads[3] * images)


def _step(op: Operation, value: SSAValue) -> int:
    """Every how many pixels an op reads an operand: a residual has the size of the result."""
    return values(op.strides)[0] if isinstance(op, ConvOp) and value is op.lhs else 1


def _joined_shape(value: SSAValue, op: ConvOp, images: int) -> tuple[Dim, ...]:
    """The shape of an operand, interleaved if it is an image."""
    shape = type_of(value).shape
    if value is not op.lhs and shape != type_of(op.result).shape:
        return shape
    return interleave(shape, images, _step(op, value))


def _size(value: SSAValue) -> int:
    return fixed(product(type_of(value).shape))
