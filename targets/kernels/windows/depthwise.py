"""Depthwise convolution: `sp.conv` with one group a channel, in panels or row-major, with its epilogue.

Vectors are runs of output columns. The taps of a channel stay in registers, source vectors are loaded once a strip, and
windows of stride 2 read their columns split into even and odd ones by one shuffle each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from xdsl.dialects.arith import AddfOp
from xdsl.ir import Operation, Region, SSAValue

from sparsec.ir import ConvOp, TensorType, type_of
from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.kernels.call import Call
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import Body, element
from sparsec.targets.kernels.strips import Tap
from sparsec.targets.kernels.windows.blocks import Channel, Place, Sums
from sparsec.targets.kernels.windows.windows import Window, WindowKernel
from sparsec.weights import WeightStore


def accepts(op: Operation) -> bool:
    """Whether this is a 2-D f32 convolution of each channel by itself whose epilogue these kernels can run."""
    if not isinstance(op, ConvOp) or type_of(op.lhs).rank != 4:
        return False
    types = [type_of(value) for value in (op.lhs, op.rhs, op.result)]
    if any(element(type_.element) != "f32" for type_ in types):
        return False
    return op.groups.value.data == types[0].shape[1] and all(
        _reach(type_of(extra), types[2]) is not None for extra in op.extras
    )


def takes_panels(op: Operation) -> bool:
    """Depthwise kernels read and write panels wherever they run at all."""
    return accepts(op)


def takes_pairs(op: Operation, values: Collection[SSAValue]) -> bool:
    """Source and result together, each channel from its own."""
    assert isinstance(op, ConvOp)
    (call,) = lower(op, WeightStore())
    kernel = call.kernel
    assert isinstance(kernel, Depthwise)
    plain = not kernel.large and kernel.source.channels == kernel.target.channels
    return set(values) == {op.lhs, op.result} and plain and all(extra.reach != "result" for extra in kernel.extras)


def takes_parts(op: Operation) -> bool:
    """Values that lie inside others are read and written where they are."""
    return True


def lower(op: ConvOp, weights: WeightStore) -> list[Call]:
    """One call: source, taps as they lie in the weight [M, 1, kh, kw], operands of the epilogue, result."""
    result = type_of(op.result)
    extras = tuple(Extra(element(t.element), _reach(t, result) or "") for t in map(type_of, op.extras))
    planes = Planes.of(type_of(op.lhs)), Planes.of(result)
    kernel = Depthwise(*planes, Window.of(op), "f32", extras, *_seeded(op.epilogue, extras))
    arguments = (op.lhs, op.rhs, *op.extras, op.result)
    return [Call(kernel, arguments, (len(arguments) - 1,))]


@dataclass(frozen=True)
class Extra:
    """An operand of the epilogue: its element type, and what it has an element for: `scalar`, `channel` or `result`."""

    element: str
    reach: str


@dataclass(frozen=True)
class Depthwise(WindowKernel):
    """Depthwise convolution of `source`; output channel m reads channel m // (M / C).

    Sums start from the extra `seed`, or from nothing.
    """

    extras: tuple[Extra, ...]
    epilogue: Body
    seed: int | None

    @property
    def name(self) -> str:
        kind = "bf16" if self.source.pairs else "f32"
        return f"dwconv_{kind}_{self.window}_{self.target.height}x{self.target.width}x{self.target.channels}"

    @property
    def operands(self) -> list[str]:
        return [self.stored, "f32", *(extra.element for extra in self.extras), self.stored]

    @property
    def functions(self) -> int:  # type: ignore[override]
        return self.epilogue.long_ops

    def channel(self, b: Builder, arguments: Sequence[Ref], image: Index, channel: Index) -> Channel:
        _, weights, *extras, _ = arguments
        kh, kw = self.window.kernel
        loaded = [self._extra(b, *pair, channel) for pair in zip(self.extras, extras, strict=True)]
        return Taps(b, self, weights + channel * (kh * kw), loaded)

    def _extra(self, b: Builder, extra: Extra, ref: Ref, channel: Index) -> Value | Ref:
        if extra.reach == "result":
            return ref
        return b.load(ref, channel if extra.reach == "channel" else 0)


class Taps(Channel):
    """Multiplies taps by the weights of one channel and adds them up."""

    def __init__(self, b: Builder, kernel: Depthwise, weights: Ref, extras: Sequence[Value | Ref]) -> None:
        self._b, self._kernel, self._weights, self._extras = b, kernel, weights, extras
        kh, kw = kernel.window.kernel
        self._weight = [] if kernel.large else [[b.load(weights, y * kw + x) for x in range(kw)] for y in range(kh)]
        seed = None if kernel.seed is None else extras[kernel.seed]
        self._seed = seed if isinstance(seed, Value) else None

    def add(self, sums: Sums, taps: Callable[[int], Tap], users: Sequence[tuple[int, int]]) -> None:
        for column in range(self._kernel.window.kernel[1]):
            tap = taps(column)
            for row, line in users:
                weight = self._b.broadcast(self._weight[line][column], tap.value.lanes)
                total = sums.get(row)
                if total is None and self._seed is not None:
                    total = self._b.broadcast(self._seed, tap.value.lanes)
                sums[row] = self._multiply(weight, tap, total)

    def _multiply(self, weight: Value, tap: Tap, total: Value | None) -> Value:
        """total + weight · tap. Masked arithmetic leaves the sum alone where the tap is beyond the border."""
        b = self._b
        if tap.mask is None or not b.isa.masked_arithmetic:
            value = tap.filled(b, 0.0)
            return weight * value if total is None else b.fma(weight, value, total)
        if total is None:
            return b.select(tap.mask, weight * tap.value, 0.0)
        return b.select(tap.mask, b.fma(weight, tap.value, total), total)

    def start(self, lanes: int) -> list[Value]:
        return [self.nothing(lanes)]

    def take(self, state: list[Value], tap: Tap, line: Index, column: Index) -> None:
        weight = self._b.load(self._weights, line * self._kernel.window.kernel[1] + column)
        state[0] = self._multiply(self._b.broadcast(weight, tap.value.lanes), tap, state[0])

    def nothing(self, lanes: int) -> Value:
        return self._b.broadcast(self._seed, lanes) if self._seed is not None else self._b.constant(0.0, "f32", lanes)

    def finish(self, value: Value, place: Place) -> Value:
        extras = [place.load(extra) if isinstance(extra, Ref) else extra for extra in self._extras]
        return self._kernel.epilogue.emit(self._b, [value, *extras])[0]


def _seeded(epilogue: Region, extras: Sequence[Extra]) -> tuple[Body, int | None]:
    """The epilogue, without the addition of an f32 per channel that sums can start from, and the number of that extra.

    A bias then costs nothing: 1 of 11 instructions a vector for 3 × 3 taps.
    """
    region = epilogue.clone()
    total, *arguments = region.block.args
    first = region.block.first_op
    if not isinstance(first, AddfOp) or len(list(total.uses)) != 1 or total not in first.operands:
        return Body.of(epilogue), None
    other = next((index for index, value in enumerate(arguments) if value in first.operands), None)
    if other is None or extras[other] != Extra("f32", "channel"):
        return Body.of(epilogue), None
    first.result.replace_all_uses_with(total)
    region.block.erase_op(first)
    return Body.of(region), other


def _reach(extra: TensorType, result: TensorType) -> str | None:
    """What an operand of the epilogue has one element for; None for what these kernels do not load."""
    shape = (1,) * (4 - extra.rank) + extra.shape
    if all(dim == 1 for dim in shape):
        return "scalar"
    if shape == (1, result.shape[1], 1, 1):
        return "channel"
    if shape == result.shape and extra.panel == result.panel:
        return "result"
    return None
