"""Convolutions, pools and resizes that kernels do not know become ones that they know.

    sp.conv [N, C, L]                          ⇒  sp.reshape, sp.conv [N, C, 1, L], sp.reshape     (pool, resize alike)
    sp.conv_transpose, strides s, t            ⇒  sp.conv to s·t·M channels, then depth to space:
                                                  sp.reshape, sp.transpose, sp.reshape, sp.slice
    sp.pool over the whole image, no padding   ⇒  sp.reduce over the image
    sp.pool of a large window, k × l           ⇒  sp.pool 1 × l, sp.pool k × 1
    sp.conv ["n", C, 1, 1] of one tap          ⇒  sp.reshape, sp.matmul ["n", C], sp.reshape

A transposed convolution writes output o = s·q + r (phase r < s) as the sum over j of x[q − j] · w[s·j + r]: for each
phase a convolution with every s-th tap, flipped. All phases together are one convolution, absent taps being zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import ArrayAttr
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriter, PatternRewriteWalker, RewritePattern

from sparsec.ir import (
    ConvOp,
    ConvTransposeOp,
    MapOp,
    MatmulOp,
    PoolOp,
    ReduceOp,
    ReshapeOp,
    ResizeOp,
    SliceOp,
    TensorType,
    TransposeOp,
    WeightOp,
    type_of,
)
from sparsec.ir.dims import Dim, Sym
from sparsec.ir.ops import ints, real, values
from sparsec.model import Model
from sparsec.passes.base import Pass, like, name_of
from sparsec.passes.contractions import bias_operand, grouped, has_weight, per_output, weight_of
from sparsec.target import Target
from sparsec.weights import WeightStore

# Kernels write out all taps: 13 × 13, the largest in common use (spatial pyramids), take 0.5 s to compile.
LARGE_WINDOW = 13 * 13


@dataclass(frozen=True)
class LegalizeSpatial(Pass):
    def apply(self, model: Model, target: Target | None) -> None:
        patterns: list[RewritePattern] = [LowerConvTranspose(model.weights), GlobalPool(), SplitPool(), ToTwoAxes()]
        patterns.append(OnePixel(model.weights))
        PatternRewriteWalker(GreedyRewritePatternApplier(patterns)).rewrite_module(model.module)


class GlobalPool(RewritePattern):
    """One window that is the image is a reduction."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, PoolOp) or type_of(op.input).shape[2:] != values(op.kernel_shape):
            return
        if any((*values(op.pads), *values(op.overhang))) or any(step != 1 for step in values(op.dilations)):
            return
        kind = {"average": "mean", "max": "max"}[op.kind.data]
        rewriter.replace(op, like(ReduceOp(op.input, kind, range(2, type_of(op.input).rank), keepdims=True), op))


class SplitPool(RewritePattern):
    """A large window goes over columns, then over rows. Averages allow it too: their divisors are rows × columns."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, PoolOp) or type_of(op.input).rank != 4:
            return
        if min(values(op.kernel_shape)) == 1 or np.prod(values(op.kernel_shape)) <= LARGE_WINDOW:
            return
        columns = _along(op, op.input, 1)
        rewriter.replace(op, [like(columns, op), like(_along(op, columns.result, 0), op)])


def _along(op: PoolOp, value: SSAValue, axis: int) -> PoolOp:
    """The pool of `value` along one spatial axis alone."""

    def only(sizes: tuple[int, ...], other: int) -> list[int]:
        return [size if index % 2 == axis else other for index, size in enumerate(sizes)]

    kernel, strides, dilations = (only(values(sizes), 1) for sizes in (op.kernel_shape, op.strides, op.dilations))
    pads, overhang = only(values(op.pads), 0), only(values(op.overhang), 0)
    return PoolOp(value, op.kind.data, kernel, strides, dilations, pads, overhang, bool(op.count_pads))


class ToTwoAxes(RewritePattern):
    """Ops on [N, C, L] work on [N, C, 1, L]."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConvOp | PoolOp | ResizeOp) or type_of(op.operands[0]).rank != 3:
            return
        taller = [_taller(value) for value in op.operands]
        rewriter.insert([reshape for reshape in taller if isinstance(reshape, ReshapeOp)])
        operands = [value.result if isinstance(value, ReshapeOp) else value for value in taller]
        result = type_of(op.results[0])
        new = op.create(
            operands=operands,
            properties={**op.properties, **_second_axis(op)},
            attributes=op.attributes.copy(),
            regions=[region.clone() for region in op.regions],
            result_types=[TensorType(_insert(result.shape, 2, 1), result.element)],
        )
        rewriter.replace(op, [new, like(ReshapeOp(new.results[0], result.shape), op)])


@dataclass
class OnePixel(RewritePattern):
    """A convolution on one pixel, of a number of images that only a run tells, is a linear layer of as many tokens."""

    weights: WeightStore

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConvOp) or not has_weight(op) or not isinstance(type_of(op.lhs).shape[0], Sym):
            return
        spatial = [*type_of(op.lhs).shape[2:], *type_of(op.rhs).shape[2:], *type_of(op.result).shape[2:]]
        if op.groups.value.data != 1 or any(values(op.pads)) or any(dim != 1 for dim in spatial):
            return
        array = weight_of(op, self.weights)
        weight = self.weights.add(f"{name_of(op, 1)}.matrix", array.reshape(array.shape[:2]))
        flat = [_without_pixels(value, array.ndim - 2) for value in (op.lhs, *op.extras)]
        lhs, *extras = (made.results[0] if isinstance(made, ReshapeOp) else made for made in flat)
        product = like(MatmulOp(lhs, weight.result, False, True, extras, op.epilogue.clone()), op)
        reshapes = [made for made in flat if isinstance(made, ReshapeOp)]
        rewriter.replace(op, [weight, *reshapes, product, ReshapeOp(product.result, type_of(op.result).shape)])


def _without_pixels(value: SSAValue, axes: int) -> ReshapeOp | SSAValue:
    """[N, C, 1, 1] as [N, C], [M, 1, 1] as [M]; shorter shapes broadcast as before."""
    shape = type_of(value).shape
    return ReshapeOp(value, shape[:-axes]) if len(shape) > axes else value


def _taller(value: SSAValue) -> ReshapeOp | SSAValue:
    """[N, C, L] as [N, C, 1, L], [M, 1] as [M, 1, 1]; shorter shapes broadcast as before."""
    shape = type_of(value).shape
    return ReshapeOp(value, _insert(shape, len(shape) - 1, 1)) if len(shape) > 1 else value


def _second_axis(op: Operation) -> dict:
    """The properties that speak of spatial axes, with an axis of size 1 before the one that there is."""
    if isinstance(op, ResizeOp):
        found = {"scales": ArrayAttr(_insert(op.scales.data, 2, real(1.0)))}
        if op.roi is not None:
            ends = _insert(op.roi.data[3:], 2, real(1.0))
            found["roi"] = ArrayAttr((*_insert(op.roi.data[:3], 2, real(0.0)), *ends))
        return found
    assert isinstance(op, ConvOp | PoolOp), "see ToTwoAxes"
    low, high = values(op.pads)
    found = {"strides": ints([1, *values(op.strides)]), "dilations": ints([1, *values(op.dilations)])}
    if isinstance(op, PoolOp):
        found["kernel_shape"] = ints([1, *values(op.kernel_shape)])
        found["overhang"] = ints([0, *values(op.overhang)])
    return {**found, "pads": ints([0, low, 0, high])}


def _insert(items: Sequence, index: int, item) -> tuple:
    return *items[:index], item, *items[index:]


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution as a convolution: tap t of phase r is tap taps[r, t] of the kernel, or none.

    Output o of the transposed convolution is output o + start of the phases, interleaved.
    """

    taps: np.ndarray
    dilation: int
    low: int
    high: int
    start: int

    @classmethod
    def of(cls, kernel: int, stride: int, dilation: int, low: int, high: int, output_padding: int) -> Axis:
        extent = (kernel - 1) * dilation + 1
        if stride == 1:  # the dilation can stay
            taps, step = np.arange(kernel)[None, ::-1], dilation
        else:
            count = -(-extent // stride)
            places = stride * np.arange(count)[::-1] + np.arange(stride)[:, None]
            exists = (places % dilation == 0) & (places < extent)
            taps, step = np.where(exists, places // dilation, kernel), 1
        reach = (taps.shape[1] - 1) * step
        pad = max(0, reach - low // stride)
        behind = max(0, (extent + output_padding - high - 1) // stride)
        return cls(taps, step, pad, behind, low - stride * (reach - pad))

    @property
    def phases(self) -> int:
        return self.taps.shape[0]


@dataclass
class LowerConvTranspose(RewritePattern):
    weights: WeightStore

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ConvTransposeOp) or not has_weight(op):
            return
        view = grouped(op, weight_of(op, self.weights))
        rank, pads = view.ndim - 3, values(op.pads)
        geometry = (view.shape[3:], values(op.strides), values(op.dilations), pads[:rank], pads[rank:])
        axes = [Axis.of(*sizes) for sizes in zip(*geometry, values(op.output_padding), strict=True)]
        weight = self.weights.add(f"{name_of(op, 1)}.phases", _phase_weight(view, axes))
        extras = self._repeated(op, int(np.prod([axis.phases for axis in axes])))
        conv = ConvOp(
            op.lhs,
            weight.result,
            [1] * rank,
            [axis.dilation for axis in axes],
            [*(axis.low for axis in axes), *(axis.high for axis in axes)],
            op.groups.value.data,
            [extra.result for extra in extras or []],
            op.epilogue.clone() if extras is not None else None,
        )
        new = [weight, *(extras or []), conv, *_depth_to_space(conv.result, axes, type_of(op.result).shape)]
        if extras is None:
            new.append(MapOp([new[-1].results[0], *op.extras], op.epilogue.clone()))
        rewriter.replace(op, [like(made, op) if not isinstance(made, WeightOp) else made for made in new])

    def _repeated(self, op: ConvTransposeOp, phases: int) -> list[WeightOp] | None:
        """The operands of the epilogue, once for each phase; None where one is not a number per channel."""
        vectors = [
            per_output(op, self.weights.of(extra.owner)) if isinstance(extra.owner, WeightOp) else None
            for extra in op.extras
        ]
        if any(vector is None for vector in vectors):
            return None
        return [bias_operand(op, np.repeat(vector, phases), self.weights) for vector in vectors if vector is not None]


def _phase_weight(view: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """[groups, M, C, *kernel] as [groups · M · phases, C, *taps]."""
    for index, axis in enumerate(axes):
        place = 3 + 2 * index
        absent = [(0, 0)] * view.ndim
        absent[place] = (0, 1)
        view = np.take(np.pad(view, absent), axis.taps, axis=place)
    rank = len(axes)
    phases, taps = [3 + 2 * i for i in range(rank)], [4 + 2 * i for i in range(rank)]
    view = view.transpose(0, 1, *phases, 2, *taps)
    return np.ascontiguousarray(view).reshape(-1, *view.shape[2 + rank :])


def _depth_to_space(value: SSAValue, axes: Sequence[Axis], shape: tuple[Dim, ...]) -> list[Operation]:
    """Interleave the phases of [N, M · phases, *spatial], then crop to `shape`."""
    made: list[Operation] = []
    rank, spatial = len(axes), type_of(value).shape[2:]
    if any(axis.phases > 1 for axis in axes):
        split = ReshapeOp(value, [*shape[:2], *(axis.phases for axis in axes), *spatial])
        order = [place for axis in range(rank) for place in (2 + rank + axis, 2 + axis)]
        mixed = TransposeOp(split.result, [0, 1, *order])
        spatial = tuple(size * axis.phases for size, axis in zip(spatial, axes, strict=True))
        joined = ReshapeOp(mixed.result, [*shape[:2], *spatial])
        made, value = [split, mixed, joined], joined.result
    if spatial != shape[2:]:
        made.append(SliceOp(value, [0, 0, *(axis.start for axis in axes)], [1] * (2 + rank), shape))
    return made
