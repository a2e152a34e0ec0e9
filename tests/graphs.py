"""Random graphs of the tensor IR and a small target, for tests of passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from sparsec.chains import Walk
from sparsec.ir import (
    AttentionOp,
    ConcatOp,
    Contraction,
    ConvOp,
    ConvTransposeOp,
    ExpandOp,
    GatherOp,
    MapOp,
    MatmulOp,
    PadOp,
    Panel,
    PanelAttr,
    PoolOp,
    ReduceOp,
    ReshapeOp,
    ResizeOp,
    SliceOp,
    SoftmaxOp,
    SpOp,
    TensorType,
    TransposeOp,
    WeightOp,
    YieldOp,
    parse_format,
    shapes,
    type_of,
)
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.contractions import weight_of
from sparsec.target import Cache, Candidate, Target

CSR = parse_format("d0: dense, d1: compressed")
Scalars = Callable[[Block, Sequence[SSAValue]], SSAValue]


class FakeTarget(Target):
    """Panels for images of 4 pixels or more; CSR is cheaper than dense below a quarter of non-zeros.

    Convolutions go through images panel by panel, and bytes beyond a cache of 16 KB are slow. They take any of their
    images in pairs, pools both or none. They, maps and movements take images inside others.
    """

    name = "fake"
    cache = Cache(16384, 1e-8)

    def panel(self, height: int, width: int) -> PanelAttr | None:
        if height * width < 4:
            return None
        rows = min(2, height)
        return PanelAttr(Panel(rows, -(-rows * width // 16) * 16))

    def takes_panels(self, op: Operation) -> bool:
        return isinstance(op, ConvOp | PoolOp | MapOp | ConcatOp | SliceOp | ReduceOp | ResizeOp | GatherOp)

    def takes_pairs(self, op: Operation, values: Collection[SSAValue]) -> bool:
        return isinstance(op, ConvOp) or (isinstance(op, PoolOp) and len(values) == 2)

    def takes_parts(self, op: Operation) -> bool:
        return isinstance(op, ConvOp | MapOp | ConcatOp | SliceOp)

    def overwrites(self, op: Operation, weights) -> Sequence[SSAValue]:
        return op.extras if isinstance(op, ConvOp) else ()

    def mask_tile(self, op: Operation) -> tuple[int, int]:
        return 2, 4

    def candidates(self, op: Operation, weights) -> list[Candidate]:
        if isinstance(op, AttentionOp):
            mask = op.mask and op.mask.owner
            density = weights.mask_of(mask).density if isinstance(mask, WeightOp) else 1.0
            return [Candidate("attention_blocks" if mask else "attention", None, 1e-6 * density)]
        if not isinstance(op, Contraction):
            return [Candidate(op.name, None, 1e-6)]
        array = weight_of(op, weights)
        density = np.count_nonzero(array) / array.size
        dense = Candidate("gemm_f32_dense", None, 1e-6, "all elements")
        sparse = Candidate("spmm_f32_csr", CSR, 4e-6 * density, f"{density:.2f} of the elements")
        return sorted([dense, sparse], key=lambda candidate: candidate.seconds)

    def walk(self, op: Operation, weights) -> Walk | None:
        if not isinstance(op, ConvOp) or (panel := type_of(op.result).panel) is None:
            return None
        (images, _, height, _), (_, _, source, _) = (type_of(value).static_shape for value in (op.result, op.lhs))
        stride, pad, dilation = (values(sizes)[0] for sizes in (op.strides, op.pads, op.dilations))
        reach = (type_of(op.rhs).static_shape[2] - 1) * dilation + 1
        return Walk(images, height, panel.rows, 1, source, stride, pad, reach)

    def splits_by(self, op: Operation, weights, images: int) -> bool:
        return isinstance(op, ConvOp | PoolOp | MapOp)

    def build(self, plan, kernels, weights, output, emit) -> None:
        raise NotImplementedError


class Graph:
    """Builds a model op by op."""

    def __init__(self, seed: int, shapes: Sequence[Sequence[int]]):
        self.random = np.random.default_rng(seed)
        self.block = Block(arg_types=[TensorType(shape, f32) for shape in shapes])
        self.model = Model(ModuleOp([]))

    def add(self, op: SpOp) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def weight(self, array: np.ndarray) -> SSAValue:
        return self.add(self.model.weights.add("w", np.asarray(array, np.float32)))

    def normal(self, *shape: int, sparsity: float = 0.0) -> np.ndarray:
        array = self.random.standard_normal(shape, np.float32)
        return np.where(self.random.random(shape) < sparsity, np.float32(0), array)

    def map(self, inputs: Sequence[SSAValue], scalars: Scalars) -> SSAValue:
        block = Block(arg_types=[f32] * len(inputs))
        block.add_op(YieldOp(scalars(block, block.args)))
        return self.add(MapOp(inputs, Region(block)))

    def finish(self, outputs: Sequence[SSAValue]) -> Model:
        self.block.add_op(ReturnOp(*outputs))
        signature = ([arg.type for arg in self.block.args], [value.type for value in outputs])
        self.model.module.body.block.add_op(FuncOp("main", signature, Region(self.block)))
        self.model.module.verify()
        return self.model

    def inputs(self) -> list[np.ndarray]:
        return [self.normal(*type_of(arg).static_shape) for arg in self.block.args]


def number(block: Block, value: float) -> SSAValue:
    op = arith.ConstantOp(FloatAttr(value, f32))
    block.add_op(op)
    return op.result


def apply(block: Block, op: Operation) -> SSAValue:
    block.add_op(op)
    return op.results[0]


def relu(block: Block, args: Sequence[SSAValue]) -> SSAValue:
    return apply(block, arith.MaximumfOp(args[0], number(block, 0.0)))


def sigmoid(block: Block, args: Sequence[SSAValue]) -> SSAValue:
    exp = apply(block, math.ExpOp(apply(block, arith.NegfOp(args[0]))))
    one = number(block, 1.0)
    return apply(block, arith.DivfOp(one, apply(block, arith.AddfOp(one, exp))))


def product(block: Block, args: Sequence[SSAValue]) -> SSAValue:
    return apply(block, arith.MulfOp(args[0], args[1]))


def total(block: Block, args: Sequence[SSAValue]) -> SSAValue:
    return apply(block, arith.AddfOp(args[0], args[1]))


def scale_shift(block: Block, args: Sequence[SSAValue]) -> SSAValue:
    return apply(block, arith.AddfOp(product(block, args), args[2]))


SHAPES = ((1, 3, 8, 8), (2, 4, 7, 5))


def random_model(
    seed: int, length: int = 12, outputs: int = 2, shapes: Sequence[Sequence[int]] = SHAPES
) -> tuple[Model, list[np.ndarray]]:
    """A model of about `length` ops that convolutional networks have, and inputs for it."""
    graph = Graph(seed, shapes)
    pool: list[SSAValue] = list(graph.block.args)
    for _ in range(length):
        source = pool[-1 - int(graph.random.exponential(1.5)) % len(pool)]
        kinds = _IMAGE_STEPS if type_of(source).rank == 4 else _OTHER_STEPS
        made = kinds[graph.random.integers(len(kinds))](graph, source, pool)
        if made is not None:
            pool.append(made)
    count = min(outputs, len(pool))
    return graph.finish(pool[-count:]), graph.inputs()


def _conv(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    _, c, h, w = type_of(x).static_shape
    random = graph.random
    kernel = int(random.choice([k for k in (1, 2, 3) if k <= min(h, w)]))
    groups = int(random.choice([g for g in (1, 1, 1, c, 2) if c % g == 0]))
    m = groups * int(random.integers(1, 5)) if groups < c else c
    weight = graph.normal(m, c // groups, kernel, kernel, sparsity=random.choice([0, 0.5, 0.9]))
    weight[random.random(m) < 0.2] = 0
    weight[:, random.random(c // groups) < 0.2] = 0
    pads = random.integers(0, kernel, 4).tolist() if random.random() < 0.5 else [0] * 4
    stride = int(random.integers(1, 3))
    dilation = 2 if kernel > 1 and 2 * kernel <= min(h, w) and random.random() < 0.3 else 1
    y = graph.add(ConvOp(x, graph.weight(weight), [stride] * 2, [dilation] * 2, pads, groups))
    if random.random() < 0.5:
        y = graph.map([y, graph.weight(graph.normal(m, 1, 1, sparsity=0.3))], total)
    return y


def _conv_transpose(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    _, c, h, w = type_of(x).static_shape
    random = graph.random
    if max(h, w) > 12:
        return None
    kernel, stride, dilation = (random.integers(1, high, 2).tolist() for high in (5, 4, 3))
    padding = [int(random.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
    groups = int(random.choice([g for g in (1, 2) if c % g == 0]))
    pads = random.integers(0, 3, 4).tolist()
    array = graph.normal(c, int(random.integers(1, 4)), *kernel)
    shape = shapes.conv_transpose((1, c, h, w), array.shape, stride, dilation, pads, padding, groups)
    if min(shape) < 1:  # pyright: ignore[reportArgumentType]
        return None
    return graph.add(ConvTransposeOp(x, graph.weight(array), stride, dilation, pads, padding, groups))


def _batch_norm(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    c = type_of(x).static_shape[1]
    constants = [graph.weight(graph.normal(c, 1, 1, sparsity=sparsity)) for sparsity in (0.1, 0.3)]
    return graph.map([x, *constants], scale_shift)


def _activation(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    if graph.random.random() < 0.5:
        return graph.map([x], relu)
    return graph.map([x, graph.map([x], sigmoid)], product)


def _combine(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    alike = [value for value in pool if value.type == x.type and value is not x]
    return graph.map([x, alike[-1]], total if graph.random.random() < 0.7 else product) if alike else None


def _gate(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    mean = graph.add(ReduceOp(x, "mean", [2, 3], keepdims=True))
    c = type_of(x).static_shape[1]
    narrow = graph.add(ConvOp(mean, graph.weight(graph.normal(c, c, 1, 1)), [1, 1], [1, 1], [0] * 4))
    return graph.map([x, graph.map([narrow], sigmoid)], product)


def _pool(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    kernel = [min(2, size) for size in type_of(x).static_shape[2:]]
    if graph.random.random() < 0.2:
        kernel = list(type_of(x).static_shape[2:])
    kind = str(graph.random.choice(["max", "average"]))
    pads = [0, 0, *(int(graph.random.integers(0, k)) for k in kernel)]
    return graph.add(PoolOp(x, kind, kernel, [1, 2], [1, 1], pads, count_pads=bool(graph.random.integers(2))))


def _split_and_join(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    n, c, h, w = type_of(x).static_shape
    if c < 2:
        return None
    cut = int(graph.random.integers(1, c))
    first = graph.add(SliceOp(x, [0] * 4, [1] * 4, [n, cut, h, w]))
    second = graph.add(SliceOp(x, [0, cut, 0, 0], [1] * 4, [n, c - cut, h, w]))
    if graph.random.random() < 0.5:
        first = graph.map([first], relu)
    return graph.add(ConcatOp([first, second], 1))


def _join(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    """The channels of values with as many images and pixels, one of which others read too."""
    n, _, *pixels = type_of(x).static_shape
    images = [value for value in pool if type_of(value).rank == 4 and value is not x]
    alike = [
        value for value in images if type_of(value).static_shape[2:] == (*pixels,) and type_of(value).shape[0] == n
    ]
    return graph.add(ConcatOp([x, *alike[-int(graph.random.integers(1, 3)) :]], 1)) if alike else None


def _shuffle(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    n, c, h, w = type_of(x).static_shape
    halves = 2 if c % 2 == 0 else 1
    split = graph.add(ReshapeOp(x, [n, halves, c // halves, h, w]))
    return graph.add(ReshapeOp(graph.add(TransposeOp(split, [0, 2, 1, 3, 4])), [n, c, h, w]))


def _resize(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue | None:
    n, c, h, w = type_of(x).static_shape
    if max(h, w) > 10:
        return None
    return graph.add(ResizeOp(x, [n, c, 2 * h, 2 * w], [1, 1, 2, 2], coordinates="asymmetric", nearest_mode="floor"))


def _pad(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    return graph.add(PadOp(x, [0, 0, 1, 0], [0, 0, 0, 2]))


def _flatten(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    n, c = type_of(x).static_shape[:2]
    mean = graph.add(ReduceOp(x, "mean", [2, 3], keepdims=True))
    return graph.add(ReshapeOp(mean, [n, c]))


def _one_axis(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    n, c, h, w = type_of(x).static_shape
    flat = graph.add(ReshapeOp(x, [n, c, h * w]))
    kernel = min(3, h * w)
    y = graph.add(ConvOp(flat, graph.weight(graph.normal(4, c, kernel)), [1], [1], [1, 0]))
    return graph.map([y, graph.weight(graph.normal(4, 1))], total)


def _linear(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    k, m = type_of(x).static_shape[-1], int(graph.random.integers(1, 9))
    weight = graph.normal(m, k, sparsity=0.5)
    weight[graph.random.random(m) < 0.3] = 0
    y = graph.add(MatmulOp(x, graph.weight(weight), transpose_b=True))
    return graph.map([y, graph.weight(graph.normal(m))], total)


def _softmax(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    return graph.add(SoftmaxOp(x, [type_of(x).rank - 1]))


def _back_and_forth(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    perm = [*range(1, type_of(x).rank), 0]
    turned = graph.map([graph.add(TransposeOp(x, perm))], relu)
    return graph.add(TransposeOp(turned, np.argsort(perm).tolist()))


def _broadcast(graph: Graph, x: SSAValue, pool: list[SSAValue]) -> SSAValue:
    one = graph.weight(graph.normal(*[1] * type_of(x).rank))
    return graph.map([x, graph.add(ExpandOp(one, type_of(x).shape))], total)


_IMAGE_STEPS = [
    *(_conv, _conv, _conv, _conv_transpose, _batch_norm, _batch_norm, _activation, _activation, _combine, _combine),
    *(_gate, _pool, _split_and_join, _join, _join, _shuffle, _resize, _pad, _flatten, _one_axis, _back_and_forth),
    _broadcast,
]
_OTHER_STEPS = [_linear, _linear, _softmax, _combine, _activation, _back_and_forth, _broadcast]
