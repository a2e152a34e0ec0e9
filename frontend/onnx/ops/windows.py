"""Pooling, and the geometry of sliding windows: strides, dilations, pads, `auto_pad`, `ceil_mode`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.registry import operator
from sparsec.ir import PoolOp, ReduceOp
from sparsec.ir.dims import Dim


@dataclass(frozen=True)
class Window:
    """Kernel, strides, dilations (one per spatial axis), pads (all lows, then all highs)."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def extent(self, axis: int) -> int:
        """How many elements a window reaches over."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def pads_of(node: Node, rank: int) -> list[int]:
    pads = node.integers("pads") or [0] * (2 * rank)
    if len(pads) != 2 * rank or not all(0 <= pad < 2**31 for pad in pads):
        node.invalid(f"has pads {pads}; {2 * rank} numbers from 0 to 2^31 are needed")
    return pads


def need_plane(node: Node, rank: int) -> None:
    """Raises UnsupportedModel for volumes."""
    if rank > 2:
        node.unsupported(f"slides over {rank} axes; only 1 and 2 are supported")


def window_of(node: Node, x: SSAValue, kernel: list[int]) -> Window:
    """The window of a convolution or pooling over `x`."""
    spatial = dims_of(x)[2:]
    need_plane(node, len(spatial))
    kernel = node.positive("kernel_shape", kernel)
    strides = node.positive("strides", node.integers("strides") or [1] * len(kernel))
    dilations = node.positive("dilations", node.integers("dilations") or [1] * len(kernel))
    if not len(spatial) == len(kernel) == len(strides) == len(dilations):
        node.invalid(f"slides a window of {kernel} (strides {strides}, dilations {dilations}) over {len(spatial)} axes")
    auto = node.choice("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if auto == "VALID":
        return Window(kernel, strides, dilations, [0] * (2 * len(kernel)))
    window = Window(kernel, strides, dilations, pads_of(node, len(kernel)))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return Window(kernel, strides, dilations, _same_pads(node, window, spatial, auto == "SAME_UPPER"))
    return window


def _same_pads(node: Node, window: Window, spatial: Sequence[Dim], upper: bool) -> list[int]:
    """Pads such that there are ceil(size / stride) windows; the odd one goes to the end with `upper`."""
    lows, highs = [], []
    for axis, dim in enumerate(spatial):
        stride, extent = window.strides[axis], window.extent(axis)
        if stride == 1:
            total = extent - 1
        else:
            size = node.fixed(dim, f"auto_pad with stride {stride}")
            total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        lows.append(total // 2 if upper else total - total // 2)
        highs.append(total - lows[-1])
    return [*lows, *highs]


@operator("MaxPool", "AveragePool")
def pool(node: Node):
    x = node.input()
    if node.wants(1):
        node.unsupported("also returns the indices of the maxima")
    kind = "max" if node.op == "MaxPool" else "average"
    if kind == "average":
        node.need_float(x)
    return _pool(node, x, kind, bool(node.integer("count_include_pad")))


def _pool(node: Node, x: SSAValue, kind: str, count_pads: bool) -> SSAValue:
    window = window_of(node, x, node.integers("kernel_shape") or [])
    overhang = _overhang(node, window, dims_of(x)[2:]) if node.integer("ceil_mode") else [0] * window.rank
    return node.emit(
        PoolOp(x, kind, window.kernel, window.strides, window.dilations, window.pads, overhang, count_pads)
    )


def _overhang(node: Node, window: Window, spatial: Sequence[Dim]) -> list[int]:
    """How far the last window of each axis reaches beyond the padded input, with ceil_mode."""
    result: list[int] = []
    for axis, dim in enumerate(spatial):
        stride, extent = window.strides[axis], window.extent(axis)
        low, high = window.pads[axis], window.pads[window.rank + axis]
        if not isinstance(dim, int) and extent >= high + stride:
            result.append(stride - 1)
            continue
        size = node.fixed(dim, "ceil_mode")
        count = -(-(size + low + high - extent) // stride) + 1
        if (count - 1) * stride >= size + low:  # the last window would lie in the padding only
            count -= 1
        result.append(max(0, (count - 1) * stride + extent - (size + low + high)))
    return result


@operator("LpPool")
def lp_pool(node: Node):
    """(Σ |x|^p)^(1/p) over windows: an average of powers, times the number of elements, which counts the pads."""
    x, p = node.input(), node.positive("p", [node.integer("p", 2)])[0]
    kernel = node.integers("kernel_shape") or []
    count = 1
    for size in kernel:
        count *= size
    powers = node.map([x], lambda x: x * x if p == 2 else x.abs() if p == 1 else x.abs().pow(float(p)))
    mean = _pool(node, powers, "average", count_pads=True)
    if node.integer("ceil_mode") and any(_overhang(node, window_of(node, x, kernel), dims_of(x)[2:])):
        node.unsupported("has windows that reach beyond its input (ceil_mode)")
    return node.map([mean], lambda m: root(m * float(count), p))


def root(x, p: int):
    """The p-th root of a scalar in a region."""
    return x.call("sqrt") if p == 2 else x if p == 1 else x.pow(1.0 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node):
    x = node.input()
    node.need_float(x)
    axes = list(range(2, len(dims_of(x))))
    if node.op == "GlobalLpPool":
        p = node.positive("p", [node.integer("p", 2)])[0]
        powers = node.map([x], lambda x: x * x if p == 2 else x.abs() if p == 1 else x.abs().pow(float(p)))
        return node.map([node.emit(ReduceOp(powers, "sum", axes, True))], lambda s: root(s, p))
    return node.emit(ReduceOp(x, "mean" if node.op == "GlobalAveragePool" else "max", axes, True))
